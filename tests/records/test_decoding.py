"""Decoding: a stray byte spoils nothing but itself, whole files keep their encoding, and what is no text has a name."""

from __future__ import annotations

import base64
import random
import zlib

import pytest

from chartdistill.records.decoding import REPAIRED, Decoded, Unreadable, decode, foreign_format

TEXT = "Ménière’s disease, 50 µg at 38 °C – “fine”"


@pytest.mark.parametrize(
    ("stray", "read"),
    [
        (b"doesn\x92t", "doesn’t"),
        (b"\x93quoted\x94 \x96 \x85", "“quoted” – …"),
        (b"50 \xb5g, 38 \xb0C", "50 µg, 38 °C"),
        (b"p\xe2t\xe9, fianc\xe9\x92s", "pâté, fiancé’s"),
        (b"MU\xd1OZ", "MUÑOZ"),
        (b"caf\xe9\n", "café\n"),
        (b"it\xe2\x80s", "it\ufffds"),  # a curly quote that lost its last byte
        (b"daily\xc3", "daily\ufffd"),
        (b"5 \xc2g", "5 \ufffdg"),
        (b"end\xe2\x80", "end\ufffd"),
        (b"end\xf0\x9f\x98", "end\ufffd"),
        (b"end\xe2", "end\ufffd"),
        (b"\x81", "\ufffd"),  # in Windows-1252 no character
    ],
)
def test_a_stray_byte_changes_no_other(stray: bytes, read: str) -> None:
    found = decode(TEXT.encode() + b" " + stray)
    assert isinstance(found, Decoded)
    assert (found.text, found.encoding) == (f"{TEXT} {read}", REPAIRED)
    assert found.repaired == sum(byte > 127 for byte in stray)
    if "\ufffd" not in read and not read.endswith("\n"):
        before = decode(stray + b" " + TEXT.encode())
        assert isinstance(before, Decoded) and before.text == f"{read} {TEXT}"


@pytest.mark.parametrize("text", ["50 µg", "Привет, врач", "Λόγος", "zażółć gęślą jaźń", "😀 ok", "漢字"])
def test_one_character_of_utf8_is_enough_to_know_it(text: str) -> None:
    assert decode(text.encode() + b" it\x92s") == Decoded(f"{text} it’s", REPAIRED, 1)
    assert decode(text.encode()) == Decoded(text, "utf-8")


@pytest.mark.parametrize(
    "text", [TEXT, "naïve café, déjà vu", "50 µg", "it’s", "CAFÉ’S crème brûlée", "Ñandú – “über”", "100 € … ½ tablet"]
)
def test_windows_1252_is_read_as_a_whole(text: str) -> None:
    assert decode(text.encode("cp1252")) == Decoded(text, "cp1252")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_read_with_and_without_its_mark(codec: str) -> None:
    found = decode(TEXT.encode(codec))
    assert isinstance(found, Decoded) and found.text == TEXT and found.encoding == codec


def test_control_characters_do_not_make_a_text_binary_but_bytes_do() -> None:
    assert decode(b"speci\0c plan, \0uoxetine 20 mg daily") == Decoded("speci\0c plan, \0uoxetine 20 mg daily", "utf-8")
    rng = random.Random(0)
    for size in (40, 400, 4000):
        for data in (rng.randbytes(size), zlib.compress(rng.randbytes(size)), bytes(range(256)) * 2):
            assert decode(data) == Unreadable("binary", "the bytes are not text; convert the file to plain UTF-8 text")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"%PDF-1.7\n1 0 obj <</Type /Catalog>>", "pdf"),
        (b"PK\x03\x04\x14\0\x06\0" + bytes(22) + b"word/document.xml", "docx"),
        (b"PK\x03\x04\x14\0\x06\0" + bytes(22) + b"xl/workbook.xml", "xlsx"),
        (b"PK\x03\x04" + b"a" * 100, "zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"Normal.dotm", "doc"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"\x1f\x8b\x08" + b"a" * 100, "gzip"),
    ],
)
def test_documents_are_named_in_files_and_cells(data: bytes, reason: str) -> None:
    found = decode(data)
    assert isinstance(found, Unreadable) and found.reason == reason and "convert it" in found.detail
    inside = foreign_format("\n" + data.decode("latin-1"))
    assert inside is not None and inside.reason == reason
    encoded = foreign_format(base64.encodebytes(data + b"x" * 200).decode())
    assert encoded is not None and encoded.reason == "base64"


@pytest.mark.parametrize(
    "text",
    [
        "PK levels were drawn.", "BZhang seen today", "GIF8", "aspirin\nmetformin\nlisinopril\n" * 9, "A" * 400,
        "See <?xml> in the notes", '<?xml version="1.0"?><note><text>Has gout.</text></note>',
    ],
)  # fmt: skip
def test_a_text_is_no_document(text: str) -> None:
    assert foreign_format(text) is None


def test_xml_that_keeps_its_values_in_attributes_is_named() -> None:
    found = foreign_format('<?xml version="1.0"?>\n<Bundle><dose value="5" unit="mg"/></Bundle>')
    assert found is not None and found.reason == "xml"
