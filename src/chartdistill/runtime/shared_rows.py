"""Rows that people make, which nothing can make again: a file that only grows, and that several processes add to.

In: rows, made under a lock from all rows that are there. Out: the same rows, in the order they were written. Must hold:
a row is on disk (fsync) when `add` returns; a row of another process is seen before one is added; what a kill left of a
row is never read as one, and never thrown away: it is set aside, beside the file, before the next row is written.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Generic, TypeVar

from pydantic import ValidationError

from chartdistill.errors import InputError
from chartdistill.runtime.file_lock import hold
from chartdistill.runtime.run_folder import disk_errors, make_folder, private_opener
from chartdistill.schema import Row

RowT = TypeVar("RowT", bound=Row)


class SharedRows(Generic[RowT]):
    """One file of rows. Safe for several threads, processes and browsers at once."""

    def __init__(self, path: Path, kind: type[RowT]) -> None:
        self.path = path
        self._kind: type[RowT] = kind
        self._guard = threading.Lock()
        self._rows: list[RowT] = []
        self._offset = self._inode = 0

    @property
    def set_aside(self) -> Path:
        """Where the torn ends of killed writes are kept."""
        return self.path.with_name(f"{self.path.stem}.torn")

    def rows(self) -> list[RowT]:
        """All whole rows; a torn last line is left out. Empty where there is no file.

        Raises:
            InputError: a line is no such row; names file and line.
        """
        with self._guard:
            try:
                with open(self.path, "rb") as stream:
                    self._read(stream)
            except FileNotFoundError:
                self._rows, self._offset = [], 0
            except OSError as error:
                raise InputError(f"{self.path} cannot be read: {error.strerror}. Check its permissions.") from error
            return list(self._rows)

    def add(self, make: Callable[[Sequence[RowT]], Sequence[RowT]]) -> list[RowT]:
        """Add the rows that `make` returns, given all rows there are; no other process adds any meanwhile.

        What `make` raises goes through, and nothing is added then.

        Raises:
            ArtefactError: the disk is full, or the file cannot be written.
            InputError: a line of the file is no such row.
        """
        with self._guard, disk_errors(self.path):
            make_folder(self.path.parent)
            with open(self.path, "ab+", opener=private_opener) as stream:
                hold(stream, fcntl.LOCK_EX, self.path)
                self._read(stream)
                self._cut_torn_end(stream)
                added = list(make(tuple(self._rows)))
                if added:
                    self._write(stream, "".join(row.line() + "\n" for row in added).encode())
                    self._rows += added
                return added

    def _read(self, stream: IO[bytes]) -> None:
        """Take up what was added since the last time."""
        there = os.fstat(stream.fileno())
        if there.st_ino != self._inode or there.st_size < self._offset:  # another file, or cut by hand
            self._rows, self._offset, self._inode = [], 0, there.st_ino
        stream.seek(self._offset)
        for line in stream:
            if not line.endswith(b"\n"):
                break
            try:
                row = self._kind.model_validate_json(line)
            except ValidationError as error:
                problem = error.errors(include_input=False)[0]
                where = ".".join(str(part) for part in problem["loc"]) or "line"
                raise InputError(
                    f"{self.path}:{self._line_number(stream)}: not a {self._kind.__name__} row: {where}: "
                    f"{problem['msg']}. The file was edited or damaged. Keep a copy of it, take this line out and try "
                    "again; all other lines stay valid."
                ) from None
            self._rows.append(row)
            self._offset += len(line)

    def _line_number(self, stream: IO[bytes]) -> int:
        stream.seek(0)
        return stream.read(self._offset).count(b"\n") + 1

    def _cut_torn_end(self, stream: IO[bytes]) -> None:
        stream.seek(self._offset)
        if torn := stream.read():
            with open(self.set_aside, "ab", opener=private_opener) as beside:
                beside.write(torn + b"\n")
                beside.flush()
                os.fsync(beside.fileno())
            stream.truncate(self._offset)

    def _write(self, stream: IO[bytes], lines: bytes) -> None:
        is_new = self._offset == 0
        left = memoryview(lines)
        try:
            # Past the stream's buffer: what found no room on the disk would stay there, and be written as it is closed.
            while left:
                left = left[os.write(stream.fileno(), left) :]
            os.fsync(stream.fileno())
        except OSError:
            os.ftruncate(stream.fileno(), self._offset)  # nobody was told that it is there
            raise
        self._offset += len(lines)
        if is_new:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
