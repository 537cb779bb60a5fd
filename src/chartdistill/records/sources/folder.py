"""A folder of text files -> entries, one per file.

In: a folder, read with its sub-folders in name order. Out: one entry or one rejection per file that matches.
Must hold: one file at a time is in memory; links cannot make the walk endless; nothing but regular files is opened.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, field_validator

from chartdistill.errors import InputError
from chartdistill.records.decoding import Unreadable, decode
from chartdistill.records.sources.entry import (
    MAX_BYTES,
    Source,
    SourceEntry,
    group_text,
    require_path,
    text_problem,
)
from chartdistill.schema import RejectedRecord

_SET_PATTERN = (
    "Where those are charts in plain text, say so in the config, with their own ending: "
    "records: [{type: folder, path: ..., pattern: '*.TXT'}]"
)
_REMEDIES = {
    ".pdf": "Make text of them first, for example with `pdftotext -layout chart.pdf chart.txt` (poppler-utils); "
    "scans need OCR (ocrmypdf)",
    ".docx": "Make text of them first, for example with `libreoffice --convert-to txt *.docx`",
    ".doc": "Make text of them first, for example with `libreoffice --convert-to txt *.doc`",
    ".jsonl": "Name the file itself, not its folder",
    ".csv": "Name the file itself, not its folder",
    ".tsv": "Name the file itself, not its folder",
    ".parquet": "Name the file itself, not its folder",
}
"""Ending -> what makes charts of such files."""


class FolderSource(Source):
    """Text files, one record each. The id is the path below the folder, without the suffix; with `group_folder` it is
    made of the file's hash instead, since ids stand in reports and the path names the group."""

    type: Literal["folder"] = "folder"
    path: Path
    """The folder."""
    pattern: str = "*.txt"
    """Which file names to read, in this folder and all below it; with a `/`, the end of the path must match."""
    group_folder: int | None = Field(default=None, exclude_if=lambda place: place is None)
    """Which folder on the way to a file says whose chart it is: 1 the first below `path`, 2 the next, -1 the one the
    file lies in. All charts below folders of one name stay on one side of the split."""

    @field_validator("group_folder")
    @classmethod
    def _is_a_place(cls, place: int | None) -> int | None:
        if place == 0:
            raise ValueError("0 is no folder below `path`; 1 is the first, -1 the one the file lies in")
        return place

    def grouped_by(self) -> str | None:
        """`group_folder`, where it is set."""
        return None if self.group_folder is None else f"group_folder: {self.group_folder}"

    def read(self, max_bytes: int = MAX_BYTES, scratch: Path | None = None) -> Iterator[SourceEntry | RejectedRecord]:
        """All matching files, in path order.

        Raises:
            InputError: the folder is missing or closed to you, or no file in it matches.
        """
        closed: RejectedRecord | None = None
        num_matching = 0
        names: Counter[str] = Counter()
        for path in self._files():
            if isinstance(path, RejectedRecord):
                closed = closed or path
                yield path
            else:
                num_matching += 1
                yield self._entry(path, max_bytes, names)
        if not num_matching and closed is not None:
            raise InputError(f"{closed.source} could not be looked into: {closed.detail}.")
        if not num_matching:
            raise InputError(
                f"{self.path} holds no file named {self.pattern!r}, nor do its sub-folders. {self._advice()}"
            )

    def _advice(self) -> str:
        """What to do where no file matches, by what is there instead."""
        others = [path for path in self._walk() if isinstance(path, Path) and not path.name.startswith(".")]
        if not others:
            return "It has no files at all: put one .txt file for each chart into it, or name another folder."
        endings = Counter(path.suffix for path in others)
        remedy = _REMEDIES.get(endings.most_common(1)[0][0].lower(), _SET_PATTERN)
        return f"It has {in_words(endings)}. {remedy}"

    def stamp(self) -> list[list[str | int]]:
        """Changes when a matching file appears, goes or changes."""
        stamps: list[list[str | int]] = []
        for path in self._files():
            if isinstance(path, RejectedRecord):
                stamps.append([path.source, path.reason])
                continue
            try:
                status = path.stat()
            except OSError as error:
                stamps.append([_name(path), error.errno or 0])
            else:
                stamps.append([_name(path), status.st_size, status.st_mtime_ns])
        return stamps

    def passed_over(self) -> Counter[str]:
        """Files whose names do not match; hidden ones are not counted."""
        return Counter(
            path.suffix
            for path in self._walk()
            if not isinstance(path, RejectedRecord) and not self._matches(path) and not path.name.startswith(".")
        )

    def _matches(self, path: Path) -> bool:
        return PurePosixPath(path).match(self.pattern)

    def _files(self) -> Iterator[Path | RejectedRecord]:
        for path in self._walk():
            if isinstance(path, RejectedRecord) or self._matches(path):
                yield path

    def _walk(self) -> Iterator[Path | RejectedRecord]:
        require_path(self.path, "a folder of text files")
        if not self.path.is_dir():
            raise InputError(f"{self.path} is not a folder; a source of type `folder` needs one.")
        seen: set[tuple[int, int]] = set()
        pending = [self.path]
        while pending:
            path = pending.pop()
            try:
                if not path.is_dir():
                    yield path
                    continue
                status = path.stat()
                names = sorted(os.listdir(path), reverse=True)
            except OSError as error:
                yield _unreadable(path, error)
                continue
            if (status.st_dev, status.st_ino) in seen:
                yield _rejected(
                    path, None, "symlink_loop", "this link leads to a folder that was already read; remove it"
                )
                continue
            seen.add((status.st_dev, status.st_ino))
            pending += [path / name for name in names]

    def _group(self, path: Path) -> str | None:
        folders, place = path.relative_to(self.path).parent.parts, self.group_folder
        if place is None or len(folders) < abs(place):
            return None
        return group_text(_name(Path(folders[place - 1 if place > 0 else place])))

    def _entry(self, path: Path, max_bytes: int, names: Counter[str]) -> SourceEntry | RejectedRecord:
        """One file; `names` counts the ids given, so that files with the same bytes get two."""
        hidden = self.group_folder is not None
        record_id = None if hidden else _name(path.relative_to(self.path).with_suffix(""))
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return _rejected(path, record_id, "unreadable", "not a regular file")
            if status.st_size > max_bytes:
                detail = f"{status.st_size} bytes; at most {max_bytes} are taken: split the file or raise max_bytes"
                return _rejected(path, record_id, "too_large", detail)
            data = path.read_bytes()
        except OSError as error:
            return _unreadable(path, error, record_id)
        decoded = decode(data)
        if isinstance(decoded, Unreadable):
            return _rejected(path, record_id, decoded.reason, decoded.detail)
        # Measured again in UTF-8: other encodings may need fewer bytes than that.
        problem = text_problem(decoded.text, max_bytes * 3)
        if problem is not None:
            return _rejected(path, record_id, *problem)
        if record_id is None:
            record_id = f"chart-{hashlib.sha256(data).hexdigest()[:12]}"
            names[record_id] += 1
            record_id += f"-{names[record_id]}" if names[record_id] > 1 else ""
        return SourceEntry(
            record_id, _name(path), decoded.text, self.split, encoding=decoded.encoding, repaired=decoded.repaired,
            group=self._group(path), filed_as=_name(path.relative_to(self.path).with_suffix("")) if hidden else None,
        )  # fmt: skip


def in_words(endings: Counter[str]) -> str:
    """How many files there are of which ending, the five most frequent."""
    number = endings.total()
    said = [f"{of} named *{ending or ' (no ending)'}" for ending, of in endings.most_common(5)]
    return f"{number:,} other file{'' if number == 1 else 's'}: {', '.join(said)}"


def _name(path: Path) -> str:
    """The path as text that UTF-8 can hold: file names may be any bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _unreadable(path: Path, error: OSError, record_id: str | None = None) -> RejectedRecord:
    if error.errno == errno.ELOOP:
        return _rejected(path, record_id, "symlink_loop", "this link leads back to itself; remove it")
    missing = path.is_symlink() and error.errno == errno.ENOENT
    why = "a link to a file that does not exist" if missing else os.strerror(error.errno or 0)
    return _rejected(path, record_id, "unreadable", f"{why}; fix the link or the permissions, then run again")


def _rejected(path: Path, record_id: str | None, reason: str, detail: str) -> RejectedRecord:
    return RejectedRecord(source=_name(path), id=record_id, reason=reason, detail=detail)
