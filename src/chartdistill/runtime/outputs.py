"""Files that a user names to be written (`--out`, `--unmatched`): one rule for every verb.

The folder must be there, and what stands at the place is never lost: a file is refused without `--overwrite`, and
replaced only by a whole new one; what is read is never written over. All is looked at before any work is done. What is
no regular file (`/dev/stdout`, a pipe) is written as it comes.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO

from chartdistill.errors import ArtefactError
from chartdistill.runtime.file_lock import hold
from chartdistill.runtime.run_folder import cut_torn_line, disk_errors, private_opener


def require_writable(option: str, path: Path, overwrite: bool = False, read: Iterable[Path | None] = ()) -> None:
    """That a file can be written at `path`, and that nothing is lost by it.

    Args:
        option: as the user types it, for the message: `--out`.
        overwrite: whether a file that is there may be replaced.
        read: files and folders that the verb reads; a file among or in them is never replaced.

    Raises:
        ArtefactError: what is wrong with the place, and what to do.
    """
    with disk_errors(path):
        if path.is_dir():
            raise ArtefactError(f"{option} {path} is a folder. Give the name of a file in it: {option} {path / 'NAME'}")
        if _is_special(path):
            return
        folder = _real(path).parent
        if not folder.is_dir():
            raise ArtefactError(
                f"{option} {path}: the folder {path.parent} does not exist. Make it (mkdir -p "
                f"{shlex.quote(str(path.parent))}), or give another place."
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ArtefactError(f"{option} {path}: the folder {path.parent} cannot be written to by you.")
        exists = path.exists()
    if not exists:
        return
    for source in read:
        if source is not None and source.exists() and _holds(source, path):
            raise ArtefactError(f"{option} {path} is read by this command ({source}); it would be lost. Give another.")
    if not overwrite:
        raise ArtefactError(
            f"{option} {path} exists and stays as it is. Give another name, or --overwrite to replace it once the new "
            "file is complete."
        )


def _holds(source: Path, path: Path) -> bool:
    return source.samefile(path) or (source.is_dir() and _real(path).is_relative_to(_real(source)))


def _real(path: Path) -> Path:
    """Behind all links; of a link that leads to itself, itself (`Path.resolve` has an error of its own for that)."""
    return Path(os.path.realpath(path))


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def left_beside(path: Path, ending: str) -> list[Path]:
    """What stands beside a file as `.NAME.MARK.ending`, with any mark: marks have no dot, or that of `answers.jsonl`
    would pass for that of `answers`."""
    first, last = f".{path.name}.", f".{ending}"
    found = []
    for other in path.parent.glob(f".*{last}"):
        mark = other.name[len(first) : -len(last)]
        if other.name == f"{first}{mark}{last}" and mark and "." not in mark:
            found.append(other)
    return sorted(found)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """A stream whose text stands at `path`, replacing what was there, when the block ends without an error."""
    if _is_special(path):
        with disk_errors(path), path.open("w", encoding="utf-8") as stream:
            yield stream
        return
    target = _real(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with disk_errors(path):
            for other in left_beside(target, "partial"):  # words of charts
                if of_dead_writer(other):
                    other.unlink(missing_ok=True)
            with open(beside, "w", encoding="utf-8", newline="\n", opener=private_opener) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def of_dead_writer(path: Path) -> bool:
    """Whether a half-written file (`.NAME.PID.partial`) is one that a killed process left: nobody reads it again."""
    found = re.search(r"\.([0-9]{1,7})\.partial$", path.name)
    if found is None:
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


class ResumableLines:
    """Lines of a file that takes long to make: what was written survives a kill, and is taken up by the same command.

    They grow in a hidden file beside `path`, each `write` durable when it returns, and are renamed by `finish`. `mark`:
    of all that decides the lines and their order; a file that was begun under another mark is thrown away.
    """

    def __init__(self, path: Path, mark: str) -> None:
        self._path, self._special = path, _is_special(path)
        self._target = path if self._special else _real(path)
        self._beside = self._target.with_name(f".{self._target.name}.{mark}.partial")
        self._stream: IO[str] | None = None
        self.num_lines = 0
        """There already when the file was opened."""

    def __enter__(self) -> ResumableLines:
        with disk_errors(self._path):
            if self._special:
                self._stream = self._target.open("w", encoding="utf-8")
                return self
            for other in left_beside(self._target, "partial"):
                if other != self._beside:
                    with other.open("a") as stream:
                        self._hold(stream)
                        other.unlink()
            self._stream = open(self._beside, "a", encoding="utf-8", newline="\n", opener=private_opener)
            self._hold(self._stream)
            cut_torn_line(self._beside)
            with self._beside.open("rb") as lines:
                self.num_lines = sum(1 for _ in lines)
        return self

    def _hold(self, stream: IO[str]) -> None:
        try:
            hold(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, self._path)
        except BlockingIOError:
            raise ArtefactError(
                f"another process is writing {self._path}. Wait for it to end, or give another."
            ) from None

    def write(self, lines: Sequence[str]) -> None:
        """Add whole lines; they are on disk when this returns."""
        assert self._stream is not None
        with disk_errors(self._path):
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
            if not self._special:
                os.fsync(self._stream.fileno())

    def read(self) -> Iterator[str]:
        """The lines that are there, one at a time; none of what is no regular file."""
        if not self._special:
            with self._beside.open(encoding="utf-8") as lines:
                yield from lines

    def keep(self, number: int) -> None:
        """Throw all lines away but the first ones."""
        if self._special or number >= self.num_lines:
            return
        assert self._stream is not None
        with disk_errors(self._path), self._beside.open("rb") as lines:
            self._stream.truncate(sum(len(line) for line in islice(lines, number)))
        self.num_lines = number

    def place(self) -> None:
        """Put a copy of the lines in the file's place; they themselves stay until `drop`."""
        if not self._special:
            with whole_file(self._path) as stream:
                stream.writelines(self.read())

    def finish(self) -> None:
        """Put the file in its place: it is complete."""
        if not self._special:
            with disk_errors(self._path):
                os.replace(self._beside, self._target)

    @property
    def so_far(self) -> Path:
        """The file of the lines that are there, until `finish`."""
        return self._beside

    def drop(self) -> None:
        """Remove the lines: what was to be made of them is made."""
        with disk_errors(self._path):
            self._beside.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None
        with disk_errors(self._path):  # closing writes once more what found no room before
            self._stream.close()
