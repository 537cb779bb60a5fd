"""Run folders: rows, manifests. Verbs meet only here.

Rules held by this module: folders are 0700 and files 0600; a file appears whole or not at all (written beside,
synced, renamed); a row is durable once `RowWriter.write` returned; a torn last line is cut off, not read; a
manifest is written last, so its presence means complete.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar

from pydantic import ValidationError

from chartdistill.errors import ArtefactError, InputError
from chartdistill.runtime.machine import machine_facts
from chartdistill.schema import Label, Prediction, Row, ThoughtRow, content_hash

RowT = TypeVar("RowT", bound=Row)
KeyedRowT = TypeVar("KeyedRowT", Label, Prediction, ThoughtRow)
MANIFEST = "manifest.json"
JOURNAL = ".journal.jsonl"
"""Ending of the files that `Journal` adds to."""
MADE_BY = "made_by"
"""In the manifest of a folder that not its own verb wrote: which command did."""


def private_umask() -> None:
    """From here on this process and its children make files 0600 and folders 0700."""
    os.umask(0o077)


def make_folder(path: Path) -> Path:
    """Create a private folder (and parents)."""
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def link_folder(link: Path, target: Path) -> None:
    """Let `link` lead to a folder. One that leads elsewhere is made anew: its run folder was moved, or is a copy and
    must not read what the first one goes on with."""
    target = target.resolve()
    with disk_errors(link):
        if link.is_symlink() and Path(os.readlink(link)) != target:
            link.unlink()
        if not link.exists():
            link.symlink_to(target, target_is_directory=True)


_NO_PLACE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT, errno.ENAMETOOLONG,
    errno.ELOOP, errno.ENOTEMPTY,
)  # fmt: skip
"""What is wrong with the place where something is to be written."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into an error that says what to do."""
    try:
        yield
    except Exception as error:
        number = _errno_of(error)
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ArtefactError(
                f"the disk is full while writing {path}. What was finished is kept: free space and run the same "
                "command again to go on."
            ) from error
        # In words alone "no such file" may be one that a library wanted to read.
        if number in _NO_PLACE and (isinstance(error, OSError) or number != errno.ENOENT):
            raise ArtefactError(
                f"cannot write {path}: {os.strerror(number)}. Choose another place, or fix its permissions."
            ) from error
        raise


def _errno_of(error: Exception) -> int | None:
    """Libraries in Rust (safetensors, tokenizers) raise no OSError, and give its number in words; torch gives none."""
    if isinstance(error, OSError):
        return error.errno
    if re.search(r"inline_container\.cc.*(unexpected pos|failed writing)", str(error)):
        return errno.ENOSPC
    said = re.search(r"\(os error (\d+)\)", str(error))
    return None if said is None else int(said[1])


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    write_lines(path, (text.encode(),))


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file whole or not at all, piece by piece."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with disk_errors(path):
        try:
            with open(temporary, "wb", opener=private_opener) as stream:
                stream.writelines(lines)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def private_opener(path: str, flags: int) -> int:
    """For `open`: a file that it makes is 0600."""
    return os.open(path, flags, 0o600)


class RowWriter:
    """Write rows to a JSONL file.

    `append=False` builds the file beside its final place and renames it on a clean exit, so readers never see half
    of it; with the rename its folder is no longer complete, until the verb writes the manifest. After an error nothing
    has changed; `refused`: where the rows go then, for what explains the error. `append=True` adds to the file, each
    `write` durable (fsync) before it returns: for resumable stages.
    """

    def __init__(self, path: Path, append: bool = False, refused: Path | None = None) -> None:
        self.path = path
        self._append, self._refused = append, refused
        self._target = path if append else path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._stream: IO[str] | None = None
        self.num_rows = 0

    def __enter__(self) -> RowWriter:
        make_folder(self.path.parent)
        with disk_errors(self.path):
            if self._append:
                cut_torn_line(self.path)
            mode = "a" if self._append else "w"
            self._stream = open(self._target, mode, encoding="utf-8", newline="\n", opener=private_opener)
        return self

    def write(self, *rows: Row) -> None:
        """Write rows; with `append` they are on disk when this returns."""
        assert self._stream is not None
        with disk_errors(self.path):
            self._stream.write("".join(row.line() + "\n" for row in rows))
            if self._append:
                self._stream.flush()
                os.fsync(self._stream.fileno())
        self.num_rows += len(rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None
        try:
            with disk_errors(self.path):
                try:
                    self._stream.flush()
                    os.fsync(self._stream.fileno())
                finally:
                    self._stream.close()
                if not self._append and kind is None:
                    if not self.path.name.startswith("."):  # a hidden file is the verb's own, and no result
                        unfinish(self.path.parent)
                    os.replace(self._target, self.path)
                elif self._refused is not None and kind is not None and issubclass(kind, InputError):
                    os.replace(self._target, self._refused)
        finally:
            if not self._append:
                self._target.unlink(missing_ok=True)


def cut_torn_line(path: Path) -> None:
    """Cut off a last line that has no newline: a write that was interrupted."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as stream:
        end = stream.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            step = min(65536, position)
            position -= step
            stream.seek(position)
            newline = stream.read(step).rfind(b"\n")
            if newline >= 0:
                position += newline + 1
                break
        if position < end:
            stream.truncate(position)


def read_rows(path: Path, kind: type[RowT], grows: bool = False) -> Iterator[RowT]:
    """Read rows one at a time. `grows`: rows are added to the file, as to a journal; a torn last line is left out.

    Raises:
        ArtefactError: the file is missing.
        InputError: a line is not a row of this kind, or torn; names file and line, never the text.
    """
    if not path.exists():
        raise ArtefactError(f"{path} is missing. Run the verb that writes it first (see `chartdistill --help`).")
    with path.open("rb") as stream:  # what is no UTF-8 is a fault of its line
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                if grows or path.name.endswith(JOURNAL):
                    return
                raise InputError(
                    f"{path}:{number}: the file breaks off within this row: it was copied in part. Put it back whole, "
                    f"or delete {MANIFEST} beside it and run the verb that wrote it, which keeps what it can."
                )
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                problem = error.errors(include_input=False)[0]
                where = ".".join(str(part) for part in problem["loc"]) or "line"
                raise InputError(
                    f"{path}:{number}: not a {kind.__name__} row: {where}: {problem['msg']}. "
                    "The file was edited or made by another version; delete its folder and run the verb again."
                ) from None


def write_manifest(folder: Path, fingerprint: str, started: float, **facts: Any) -> dict[str, Any]:
    """Write manifest.json, the last act of a verb. `facts`: counts, resolved options, versions."""
    seconds = round(time.monotonic() - started, 3)
    manifest = {"fingerprint": fingerprint, "seconds": seconds, **facts, "machine": machine_facts()}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=2, default=str) + "\n")
    return manifest


def amend_manifest(folder: Path, name: str, fact: Any) -> None:
    """Set one fact of a finished folder's manifest, or take it out (None). All else stays, the fingerprint too.

    For what a later verb finds out about an artefact; nothing is written where nothing would change.
    """
    manifest = read_manifest(folder)
    if manifest is None or manifest.get(name) == fact:
        return
    amended = {key: value for key, value in manifest.items() if key != name}
    if fact is not None:
        amended[name] = fact
    write_text(folder / MANIFEST, json.dumps(amended, indent=2, default=str) + "\n")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest, or None when the folder is not complete.

    Raises:
        ArtefactError: it is damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_bytes())
    except ValueError:
        manifest = None
    if isinstance(manifest, dict) and isinstance(manifest.get("fingerprint"), str):
        return manifest
    raise ArtefactError(
        f"{path} is damaged: it is no JSON object with a `fingerprint`. Put it back from a copy, or delete it and run "
        f"the verb that makes {folder} again."
    )


def require_manifest(folder: Path, verb: str) -> dict[str, Any]:
    """The manifest of a finished verb, or an error naming the verb to run."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise ArtefactError(f"{folder} is not complete: run `chartdistill {verb} CONFIG` first.")
    return manifest


def is_done(folder: Path, fingerprint: str) -> bool:
    """Whether this folder was completed from exactly these inputs."""
    return finished(folder, fingerprint) is not None


def finished(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The manifest of a folder that was completed from exactly these inputs; else None."""
    manifest = read_manifest(folder)
    return manifest if manifest is not None and manifest.get("fingerprint") == fingerprint else None


def begin(folder: Path) -> float:
    """Make a verb's folder ready to be written and return the start time.

    What an earlier run completed there stays complete: only the first file that changes unfinishes it (`RowWriter`, or
    `unfinish` by verbs that write otherwise). So a slip that a verb refuses costs nothing that was finished.
    """
    make_folder(folder)
    for leftover in folder.glob(".*.partial"):  # of a killed run: record text that nobody reads again
        leftover.unlink(missing_ok=True)
    return time.monotonic()


def unfinish(folder: Path) -> None:
    """Mark a folder as in progress: what is in it changes from here on."""
    with disk_errors(folder):
        (folder / MANIFEST).unlink(missing_ok=True)


def fingerprint(*parts: Any) -> str:
    """What a verb's output depends on, as one hash. Paths count by their bytes, folders by all their files'."""
    return content_hash([_path_hash(part) if isinstance(part, Path) else part for part in parts])


def _path_hash(path: Path) -> str:
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        digest.update(str(file.relative_to(path)).encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def versions_of(*names: str) -> dict[str, str]:
    """Versions of packages, for manifests; those that are not installed are left out."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def count_by(names: Iterable[str]) -> dict[str, int]:
    """Counts by name, most frequent first, for manifests."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def journal_of(target: Path) -> Path:
    """Where the rows of a file stand until all are finished."""
    return target.with_name(f"{target.stem}{JOURNAL}")


class Journal(Generic[KeyedRowT]):
    """Finished rows of an interruptible verb, by content key.

    While the verb runs, rows are appended, durably, to a file beside the target; `finish` writes the target in a
    given order and drops the journal. An earlier target of other options begins the journal, so whatever is still
    wanted from it is not computed again; it stays as it is until then. Memory: one key and one file offset per row.
    """

    def __init__(self, target: Path, kind: type[KeyedRowT]) -> None:
        self._target = target
        self._kind: type[KeyedRowT] = kind
        self._path = journal_of(target)
        if not self._path.exists() and target.exists():
            beside = self._path.with_name(f".{self._path.name}.{os.getpid()}.partial")
            with disk_errors(self._path):
                shutil.copyfile(target, beside)
                os.replace(beside, self._path)
        self._offsets: dict[str, int] = {}
        self._writer = RowWriter(self._path, append=True)

    def __enter__(self) -> Journal[KeyedRowT]:
        self._writer.__enter__()
        with self._path.open("rb") as stream:
            offset = 0
            for line in stream:
                with suppress(ValueError):  # what a power cut left of a row (zeros, say): it is asked for again
                    row = json.loads(line)
                    if row.get("failure") is None:
                        self._offsets[row["key"]] = offset
                offset += len(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def __contains__(self, key: str) -> bool:
        return key in self._offsets

    def add(self, rows: Sequence[KeyedRowT]) -> None:
        """Add finished rows; they survive a kill from here on."""
        offset = self._path.stat().st_size
        for row in rows:
            self._offsets[row.key] = offset
            offset += len(row.line().encode()) + 1
        self._writer.write(*rows)

    def finish(self, keys: Iterable[str]) -> None:
        """Write the target: one row per key, in this order."""
        with self._path.open("rb") as stream, RowWriter(self._target) as out:
            for key in keys:
                stream.seek(self._offsets[key])
                out.write(self._kind.model_validate_json(stream.readline()))
        self._path.unlink()
