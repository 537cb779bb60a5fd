"""Bytes -> text, and what is not text at all, by name.

In: the bytes of one file, or text whose stray bytes were kept aside. Out: text, how it was read and how many bytes had
to be repaired; or why this is no text, and what to do. Must hold: one stray byte never changes how the rest of a file
is read; what cannot be read becomes U+FFFD, one for each character lost, and is counted.

A file in UTF-8 with strays is told from one in Windows-1252 by what no Windows-1252 text holds: two or three characters
that are one of UTF-8's own for é or µ ("Ã©", "Âµ"). Statistical guessing (charset-normalizer) names one encoding for
the whole file, which is how one byte comes to spoil all others.
"""

from __future__ import annotations

import base64
import codecs
import re
from dataclasses import dataclass

REPAIRED = "utf-8, repaired"
"""The encoding named for UTF-8 with stray bytes."""
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r")) + b"\x7f"
_MAX_CONTROL_SHARE = 0.1
"""Of the bytes: above this it is not text in any encoding we try."""
_MAX_CONTROL_SHARE_OF_ODD_BYTES = 0.02
"""The same for bytes that are not UTF-8: compressed data has every control character now and then."""
_STRAY = "[\udc80-\udcff]"
"""Bytes that are not UTF-8, as Python's `surrogateescape` keeps them."""
_IS_STRAY = re.compile(_STRAY)
_UTF8_OWN = re.compile("[\x80-\xff\u2000-\u2fff\uf000-\uffff\U00010000-\U0010ffff]")
_BEYOND_ASCII = re.compile("[\u0100-\ud7ff\ue000-\U0010ffff]")
# What is left of a character of UTF-8 that was cut: in Windows-1252 it would read "â€", "ðŸ", "Ã" or "Â".
_CUT = re.compile(f"\udce2[\udc80-\udcbf]|[\udcf0-\udcf4][\udc80-\udcbf]{{1,2}}|[\udcc2\udcc3]|{_STRAY}")
_CUT_AT_END = re.compile("[\udcc2-\udcf4][\udc80-\udcbf]{0,2}\\Z")

_BEGINNINGS = (
    (b"%PDF-", "pdf", "a PDF document"),
    (b"PK\x03\x04", "zip", "a ZIP archive (.docx, .xlsx and .odt files are such)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "doc", "a Microsoft Office document of before 2007 (.doc, .xls, .msg)"),
    (b"\x1f\x8b", "gzip", "gzip-compressed"),
    (b"BZh91AY&SY", "bzip2", "bzip2-compressed"),
    (b"\xfd7zXZ\0", "xz", "xz-compressed"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "a 7-Zip archive"),
    (b"\x89PNG", "image", "a PNG image"),
    (b"\xff\xd8\xff", "image", "a JPEG image"),
    (b"GIF87a", "image", "a GIF image"),
    (b"GIF89a", "image", "a GIF image"),
    (b"II*\0", "image", "a TIFF image"),
    (b"MM\0*", "image", "a TIFF image"),
    (b"PAR1\x15", "parquet", "a Parquet file"),
)
_IN_ZIP = ((b"word/", "docx", "a Word document (.docx)"), (b"xl/", "xlsx", "an Excel workbook (.xlsx)"))
_ZIP_LOOKED_AT = 4000
"""Bytes of a ZIP archive in which the first names of its files are looked for."""
_BASE64 = re.compile(r"\s*(?:data:[\w/.+-]*;base64,)?([A-Za-z0-9+/]{60})[A-Za-z0-9+/\r\n]*={0,2}\s*\Z")
_BASE64_LOOKED_AT = 200
_XML = re.compile(r"\s*<\?xml\b")
_XML_VALUE = re.compile(r"<[A-Za-z][\w:.-]*\s[^<>]*?\b(?:value|displayName|unit|code)\s*=")


@dataclass(frozen=True)
class Decoded:
    """Text, and how it was read."""

    text: str
    encoding: str
    repaired: int = 0
    """Bytes that were not of the encoding."""


@dataclass(frozen=True)
class Unreadable:
    """Why something is no text."""

    reason: str
    """Reason code: a format (`pdf`, `docx`, `image`, ...) or `binary`."""
    detail: str
    """What was found and what to do."""


def decode(data: bytes) -> Decoded | Unreadable:
    """The text of a file in UTF-8, UTF-16 (with byte order mark, or of Latin script), Windows-1252 or ISO 8859-1."""
    if (known := foreign_bytes(data)) is not None:
        return known
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _whole(data, "utf-16")
    num_controls = len(data) - len(data.translate(None, _CONTROL))
    if num_controls > _MAX_CONTROL_SHARE * len(data):
        codec = _utf16_without_mark(data)
        return _BINARY if codec is None else _whole(data, codec)
    text = data.removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape")
    num_strays = len(_IS_STRAY.findall(text))
    if not num_strays:
        return Decoded(text, "utf-8")
    if num_controls > _MAX_CONTROL_SHARE_OF_ODD_BYTES * len(data):
        return _BINARY
    if is_utf8_with_strays(text):
        cut = _CUT_AT_END.sub("\ufffd", text)
        return Decoded(repair_strays(cut)[0], REPAIRED, num_strays)
    decoded = _whole(data, "cp1252")
    return Decoded(data.decode("latin-1"), "latin-1") if isinstance(decoded, Unreadable) else decoded


def is_utf8_with_strays(text: str) -> bool:
    """Whether text decoded with `surrogateescape` is UTF-8 for the most part, rather than Windows-1252."""
    if _UTF8_OWN.search(text):
        return True
    return len(_BEYOND_ASCII.findall(text)) > len(_IS_STRAY.findall(text))


def repair_strays(text: str) -> tuple[str, int]:
    """Text decoded with `surrogateescape` -> (text, bytes repaired).

    A stray byte is read as Windows-1252, which text pasted into UTF-8 mostly is; one that Windows-1252 does not have,
    and the rest of a character of UTF-8 that was cut, as U+FFFD.
    """
    return _CUT.sub(_repaired, text), len(_IS_STRAY.findall(text))


def foreign_bytes(data: bytes) -> Unreadable | None:
    """What a file is whose beginning is that of a format that cannot be read; None for all others."""
    for beginning, reason, what in _BEGINNINGS:
        if not data.startswith(beginning):
            continue
        if reason == "zip":
            inside = (known[1:] for known in _IN_ZIP if known[0] in data[:_ZIP_LOOKED_AT])
            reason, what = next(inside, (reason, what))
        return Unreadable(reason, f"is {what}; convert it to plain UTF-8 text (Word, LibreOffice, pdftotext) first")
    return None


def foreign_format(text: str) -> Unreadable | None:
    """What a text is that holds a document of a format that cannot be read; None for a text."""
    beginning = text[:_BASE64_LOOKED_AT].lstrip("\ufeff \t\r\n")
    found = foreign_bytes(beginning.encode("latin-1", "replace"))
    if found is not None:
        return found
    if encoded := _BASE64.match(text):
        inside = foreign_bytes(base64.b64decode(encoded[1]))
        if inside is not None:
            return Unreadable("base64", inside.detail.replace(";", ", written as base64; decode and", 1))
    if _XML.match(text) and _XML_VALUE.search(text):
        return Unreadable(
            "xml", "is an XML document with values in attributes, which plain text would lose; export the notes as text"
        )
    return None


def _whole(data: bytes, codec: str) -> Decoded | Unreadable:
    try:
        return Decoded(data.decode(codec), codec)
    except UnicodeDecodeError:
        return _BINARY


def _utf16_without_mark(data: bytes) -> str | None:
    """Text of Latin script in UTF-16 has a NUL at every other byte."""
    half = len(data) / 2
    for first, codec in ((1, "utf-16-le"), (0, "utf-16-be")):
        if data[first::2].count(0) > 0.5 * half and data[1 - first :: 2].count(0) < 0.05 * half:
            return codec
    return None


def _repaired(match: re.Match[str]) -> str:
    if len(match[0]) > 1 or match[0] in "\udcc2\udcc3":
        return "\ufffd"
    return bytes([ord(match[0]) - 0xDC00]).decode("cp1252", "replace")


_BINARY = Unreadable("binary", "the bytes are not text; convert the file to plain UTF-8 text")
