"""Bytes of a request -> charts, or a sentence that quotes nothing of them."""

from __future__ import annotations

import json

import pytest

from chartdistill.serving.bodies import RefusedError, read_charts

SECRET = "Zqxjemide"
JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "kind", "texts", "is_one"),
    [
        (b'{"text": "Takes aspirin."}', JSON, ("Takes aspirin.",), True),
        (b'\xef\xbb\xbf{"text": "Takes aspirin."}', "application/json; charset=utf-8", ("Takes aspirin.",), True),
        (b'{"texts": ["a b", "c d"]}', JSON, ("a b", "c d"), False),
        (b'{"texts": ["a b"]}', "", ("a b",), False),
        (b'{"text": "{\\"text\\": 1}"}', JSON, ('{"text": 1}',), True),
        ("Na\u00efve 5 \u00b5g".encode(), "text/plain; charset=UTF-8", ("Na\u00efve 5 \u00b5g",), True),
        ("Caf\u00e9 diet.".encode("cp1252"), "text/plain", ("Caf\u00e9 diet.",), True),
        ("Takes aspirin.".encode("utf-16"), "Text/Plain", ("Takes aspirin.",), True),
        (b'{"text": "as it stands"}', "text/plain", ('{"text": "as it stands"}',), True),
    ],
)
def test_charts_that_are_read(body: bytes, kind: str, texts: tuple[str, ...], is_one: bool) -> None:
    charts = read_charts(body, kind, 1000)
    assert (charts.texts, charts.is_one, charts.reasons) == (texts, is_one, (None,) * len(texts))


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b"", JSON, 400, "JSON"),
        (b"Zqxjemide", JSON, 400, "JSON"),
        (b'{"text": "Zqxjemide"', JSON, 400, "JSON"),
        (b'{"text": "Zqxjemide"} x', JSON, 400, "JSON"),
        (b'{"text": "Zqxjemide\x01"}', JSON, 400, "JSON"),
        (b'{"text": "Zqxjemide \xff"}', JSON, 400, "UTF-8"),
        (json.dumps({"text": SECRET}).encode("utf-16"), JSON, 400, "UTF-8"),
        (b'{"Zqxjemide": 1, "Zqxjemide": 2}', JSON, 400, "twice"),
        (b'{"text": "a Zqxjemide", "text": "b"}', JSON, 400, "twice"),
        (b"[" * 100_000, JSON, 400, "nested"),
        (b'{"text": ' + b"9" * 5000 + b"}", JSON, 400, "JSON"),
        (b'["Zqxjemide"]', JSON, 422, "no object"),
        (b"null", JSON, 422, "no object"),
        (b"{}", JSON, 422, "no chart"),
        (b'{"Zqxjemide": "a"}', JSON, 422, "another key"),
        (b'{"text": "Zqxjemide", "filters": true}', JSON, 422, "another key"),
        (b'{"text": "a", "texts": ["Zqxjemide"]}', JSON, 422, "both"),
        (b'{"text": ["Zqxjemide"]}', JSON, 422, "must be text"),
        (b'{"text": null}', JSON, 422, "must be text"),
        (b'{"text": NaN}', JSON, 422, "must be text"),
        (b'{"texts": "Zqxjemide"}', JSON, 422, "not a list"),
        (b'{"texts": []}', JSON, 422, "not a list"),
        (b'{"texts": ["Zqxjemide", 5]}', JSON, 422, "must be text"),
        (b'{"text": ""}', JSON, 422, "no text"),
        (b'{"text": " \\n\\t "}', JSON, 422, "no text"),
        (b'{"text": "Zqxjemide \\ud800"}', JSON, 422, "surrogate"),
        (b'{"text": "%PDF-1.7 Zqxjemide"}', JSON, 422, "PDF"),
        (b"%PDF-1.7 Zqxjemide", "text/plain", 415, "PDF"),
        (bytes(range(32)) * 20, "text/plain", 415, "not text"),
        (b"", "text/plain", 422, "no text"),
        (b"Zqxjemide \xff", "text/plain; charset=utf-8", 400, "UTF-8"),
        (b"Zqxjemide", 'text/plain; charset="latin-1"', 415, "UTF-8"),
        (b"text=Zqxjemide", "application/x-www-form-urlencoded", 415, "application/json"),
        (b"Zqxjemide", "multipart/form-data; boundary=x", 415, "application/json"),
    ],
)
def test_what_is_no_chart_is_said_in_a_sentence_without_its_words(
    body: bytes, kind: str, status: int, words: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        read_charts(body, kind, 1000)
    assert refused.value.status == status
    assert words in refused.value.sentence and SECRET not in refused.value.sentence
    assert refused.value.sentence.endswith(".") and len(refused.value.sentence) < 250


def test_of_several_charts_one_that_is_none_spoils_no_other() -> None:
    charts = read_charts(b'{"texts": ["Takes aspirin.", " ", "%PDF-1.7", "\\ud800"]}', JSON, 1000)
    assert charts.reasons == (None, "empty", "pdf", "bad_text")
