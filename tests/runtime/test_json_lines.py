"""JSONL that people bring: what every reader of it gets, and what is wrong with the lines that it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chartdistill.curation.audit import BrokenLine, audit
from chartdistill.errors import InputError
from chartdistill.evaluation.score import score_files
from chartdistill.records import source_for
from chartdistill.runtime.json_lines import parse_json, read_json_lines
from chartdistill.schema import RejectedRecord

SECRET = "Zanthorpe"
GOOD = {
    "id": "a", "text": "Has gout.", "gold": {"diagnosis": ["gout"]},
    "prompt": "Has gout.\n\nLIST ALL DIAGNOSIS: ", "completion": " gout",
}  # fmt: skip
"""A line that sources and audits can use, and scores but for prompt and completion."""


def write(folder: Path, *lines: bytes) -> Path:
    path = folder / "a.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def line_of(**values: object) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}', {1: {"a": 1}, 3: {"a": 2}}),
        ('{"a": "é\u2028µ"}\n'.encode("utf-16"), {1: {"a": "é\u2028µ"}}),
        ("\ufeff[1]\r\n[2]\r\n".encode("utf-16-be"), {1: [1], 2: [2]}),
        ('{"a": "x\u2028y\x85z"}\n[1]\n'.encode(), {1: {"a": "x\u2028y\x85z"}, 2: [1]}),
        (b'{"a": 1}\n\xef\xbb\xbf{"a": 2}\n', {1: {"a": 1}, 2: {"a": 2}}),  # two files, one put behind the other
    ],
)
def test_lines_are_read_however_they_were_saved(tmp_path: Path, data: bytes, values: dict[int, object]) -> None:
    assert {line.number: line.parsed() for line in read_json_lines(write(tmp_path, data))} == values


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"a": "50 \xb5g Zanthorpe"}', "not UTF-8: byte 0xb5 at byte 10; save the file as UTF-8"),
        (b'{"a": "Zanthorpe', "not JSON: .* at character"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a": ' * 200_000, "nested too deep"),
        (b'{"a": "Zanthorpe", "a": "Zanthorpe 2"}', "key 'a' stands twice in one JSON object"),
        (b'{"a": {"b": [{"c": 1, "c": 1}]}}', "key 'c' stands twice"),
        (b'{"a": 1, "\\u0061": 2}', "key 'a' stands twice"),
        (b'{"' + b"Zanthorpe" * 5 + b'": 1, "' + b"Zanthorpe" * 5 + b'": 1}', "a key stands twice"),
    ],
)
def test_a_bad_line_is_named_and_spoils_no_other(tmp_path: Path, line: bytes, problem: str) -> None:
    bad, good = read_json_lines(write(tmp_path, line, b'\n{"a": 1}\n'))
    with pytest.raises(ValueError, match=problem) as caught:
        bad.parsed()
    assert SECRET not in str(caught.value)
    assert (good.number, good.parsed()) == (2, {"a": 1})


def test_two_objects_may_have_the_same_keys() -> None:
    assert parse_json('{"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}') == {"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_line_that_is_too_long_is_skipped(tmp_path: Path, encoding: str) -> None:
    text = f'{{"a": "{"é" * 3_000_000}"}}\n{{"a": 2}}\n'
    long, short = read_json_lines(write(tmp_path, text.encode(encoding)), 1000)
    assert long.too_long
    assert (short.number, short.value) == (2, {"a": 2})


def test_what_cannot_be_read_as_a_whole_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere cannot be read"):
        list(read_json_lines(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="not UTF-16 throughout"):
        list(read_json_lines(write(tmp_path, '{"a": 1}\n'.encode("utf-16") + b"\x00\xd8\x0a\x00")))


def _rejected_by_a_source(path: Path) -> list[str]:
    return [row.detail for row in source_for(path).read() if isinstance(row, RejectedRecord)]


def _broken_in_an_audit(path: Path) -> list[str]:
    return [row.error for row in audit(path) if isinstance(row, BrokenLine)]


def _refused_by_score(path: Path) -> list[str]:
    path.write_bytes(path.read_bytes().replace(_PROMPT, b""))
    try:
        score_files([write(path.parent / "p", line_of(record="a", task="diagnosis", items=["gout"]))], path)
    except InputError as error:
        return str(error).splitlines()[1:]
    return []


_PROMPT = line_of(prompt=GOOD["prompt"], completion=GOOD["completion"])[1:-1].join([b", ", b""])


@pytest.mark.parametrize("problems", [_rejected_by_a_source, _broken_in_an_audit, _refused_by_score])
@pytest.mark.parametrize(
    ("mark", "end", "bad", "said"),
    [
        (b"\xef\xbb\xbf", b"\r\n", b"", ""),
        (b"", b"\n", line_of(**GOOD).replace(b"Has", b"\x96"), "not UTF-8: byte 0x96"),
        (b"", b"\n", line_of(**GOOD).replace(b"Has", b"\\ud83d \\uDE00"), "half of a surrogate pair"),
        (b"", b"\r\n", b"[" * 200_000, "nested too deep"),
        (b"", b"\n", line_of(**GOOD).replace(b'"id"', b'"text": "", "id"'), "key 'text' stands twice"),
    ],
)
def test_sources_audits_and_scores_read_lines_alike(
    tmp_path: Path, problems: Callable[[Path], list[str]], mark: bytes, end: bytes, bad: bytes, said: str
) -> None:
    (tmp_path / "p").mkdir()
    found = problems(write(tmp_path, mark, line_of(**GOOD), end, bad, end))
    assert len(found) == bool(said)
    assert all(said in one for one in found)


def test_whole_surrogate_pairs_are_characters(tmp_path: Path) -> None:
    [line] = read_json_lines(write(tmp_path, b'{"a": "\\ud83d\\ude00"}'))
    assert line.parsed() == {"a": "\U0001f600"}
