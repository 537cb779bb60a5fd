"""Whether the head of a GGUF file is what its own counts say, before a library believes them.

The package gguf asks no count whether the file has room for it: a damaged length is read as a list of 2^60 empty
entries, until the memory ends. So the metadata are walked once here, no further than the file goes.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

VERSIONS = (2, 3)
"""Those that the package gguf reads; 1 had other counts, and no file of today has it."""
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Type of a value -> its bytes."""
_MOST_ENTRIES = 1 << 22
"""In one list; the largest vocabularies have a tenth of it."""
_DEEPEST = 4
"""Lists within lists; no known file has any."""


class UnknownVersionError(ValueError):
    """The file is of a version that cannot be read."""


def check_head(path: Path, size: int) -> None:
    """Walk the metadata of a file of `size` bytes that begins with GGUF's mark.

    Raises:
        ValueError: what is beyond the end of the file, or is no GGUF. Holds no value of the file but counts.
        UnknownVersionError: it is of another version.
        OSError: it cannot be read.
    """
    if size < _Head.BEGINS:
        raise ValueError("its head is cut off")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _Head(data).walk()


class _Head:
    BEGINS = 24
    """Bytes of mark, version and the two counts."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at, self._order = data, 4, "<"

    def walk(self) -> None:
        version = self._number("I", "the version")
        if version & 0xFFFF == 0:  # written on a machine that puts the high byte first
            self._order = ">"
            version = int.from_bytes(version.to_bytes(4, "little"), "big")
        if version not in VERSIONS:
            raise UnknownVersionError(str(version))
        self._number("Q", "the number of weights")
        for number in range(1, self._number("Q", "the number of metadata") + 1):
            what = f"metadata entry {number}"
            self._skip(self._number("Q", what), what)
            self._value(self._number("I", what), what, 0)

    def _value(self, kind: int, what: str, depth: int) -> None:
        if kind == _STRING:
            self._skip(self._number("Q", what), what)
        elif kind == _ARRAY and depth < _DEEPEST:
            of, length = self._number("I", what), self._number("Q", what)
            if length > _MOST_ENTRIES:
                raise ValueError(f"{what} is a list of {length:,} entries; the most are {_MOST_ENTRIES:,}")
            if of in _SIZES:
                self._skip(length * _SIZES[of], what)
                return
            for _ in range(length):
                self._value(of, what, depth + 1)
        elif kind in _SIZES:
            self._skip(_SIZES[kind], what)
        else:
            raise ValueError(f"{what} is of the unknown type {kind}")

    def _number(self, form: str, what: str) -> int:
        start = self._at
        self._skip(struct.calcsize("<" + form), what)
        return int(struct.unpack_from(self._order + form, self._data, start)[0])

    def _skip(self, size: int, what: str) -> None:
        if size > len(self._data) - self._at:
            raise ValueError(f"{what} goes beyond its end")
        self._at += size
