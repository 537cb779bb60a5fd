"""Records divided over several processes: each writes the rows of its shard into a file of its own, for one to merge.

On several machines: `chartdistill label CONFIG --shard I/N` writes labels/shard-I-of-N.jsonl in one shared run folder;
plain `chartdistill label CONFIG` takes over the rows of all such files, asks for what is missing, and removes them. On
one machine `label` and `evaluate` start a process for each engine (engines/side_by_side.py), and do the same with what
these write. A record's shard follows from its id alone, so processes need not know of each other. Must hold: shards can
be written at the same time, but none by two processes, and none while another verb writes to the run folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from chartdistill.errors import ArtefactError, ConfigError
from chartdistill.runtime.file_lock import hold
from chartdistill.runtime.run_folder import (
    Journal,
    disk_errors,
    journal_of,
    make_folder,
    private_opener,
    read_rows,
)
from chartdistill.runtime.run_locks import LOCK, require_no_erasure
from chartdistill.schema import Label, Prediction, content_hash

AnswerT = TypeVar("AnswerT", Label, Prediction)
_ROWS_PER_WRITE = 1000


@dataclass(frozen=True)
class Shard:
    """Shard `index` (from 0) of `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `I/N`.

        Raises:
            ConfigError: not two whole numbers, or I is not one of 0 to N-1.
        """
        match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
        if match is None or int(match[1]) >= int(match[2]):
            raise ConfigError(
                f"--shard {text!r} is not I/N, two whole numbers with I from 0 to N-1. Four machines take 0/4, 1/4, "
                "2/4 and 3/4."
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def file_name(self) -> str:
        """Of its rows, in the folder of the shards."""
        return f"shard-{self.index}-of-{self.count}.jsonl"

    def holds(self, record_id: str) -> bool:
        """Whether a record belongs to this shard."""
        return int(content_hash(record_id), 16) % self.count == self.index

    @contextmanager
    def lock(self, run_dir: Path, folder: Path, within: bool = False) -> Iterator[None]:
        """Hold this shard; other shards can be held at the same time, the run folder as a whole (`run_locks.lock`) not.

        Args:
            folder: of the shards, in the run folder.
            within: the process that started this one holds the run folder, for it.

        Raises:
            ArtefactError: another process holds this shard or the run folder, or an erasure in it was interrupted.
        """
        if not within:
            require_no_erasure(run_dir)
        own = make_folder(folder) / f".{self.file_name}.lock"
        who = f"pid {os.getpid()} on {socket.gethostname()}"
        others = _locked(run_dir / LOCK, fcntl.LOCK_SH, f"writing to {run_dir}", "writing shards")
        with (
            nullcontext() if within else others,
            _locked(own, fcntl.LOCK_EX, f"writing shard {self} in {folder}", who),
        ):
            yield


@contextmanager
def _locked(path: Path, how: int, doing: str, who: str) -> Iterator[None]:
    """Hold a lock file, with `who` in it for whoever is refused. Released by the system if we are killed."""
    with disk_errors(path), open(path, "a+", encoding="utf-8", opener=private_opener) as stream:
        try:
            hold(stream, how | fcntl.LOCK_NB, path)
        except BlockingIOError:
            stream.seek(0)
            other = stream.read().strip() or "unknown"
            raise ArtefactError(f"another process ({other}) is {doing}. Wait for it to end.") from None
        stream.truncate(0)
        stream.write(who)
        stream.flush()
        yield


@dataclass
class Taken:
    """Rows that were taken over."""

    rows: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Of these rows, by the first word of the failure."""


@dataclass(frozen=True)
class ShardedFile(Generic[AnswerT]):
    """A file of rows that shards write parts of."""

    target: Path
    """The whole."""
    folder: Path
    """Of the shards."""
    kind: type[AnswerT]

    def path(self, shard: Shard) -> Path:
        """Where a shard writes its rows."""
        return self.folder / shard.file_name

    def take_over(self, journal: Journal[AnswerT], shard: Shard | None = None, count: int | None = None) -> Taken:
        """Add to a journal the rows it lacks that shards, or earlier runs, have finished.

        Rows go by their key, so those of other options do no harm. One that failed is left out: it is asked again.

        Args:
            shard: the one that `journal` is of; None for the whole.
            count: shards of this division were just written: what failed in them is taken over too, after all else.
        """
        rows = (
            row for path in [*self._earlier(shard), *_shards_in(self.folder, shard)] for row in self._whole_rows(path)
        )
        finished = (row for row in rows if row.failure is None and (shard is None or shard.holds(row.record)))
        taken = Taken()
        _take(journal, finished, taken)
        if count is not None:
            own = [self.path(Shard(index, count)) for index in range(count)]
            rows = (row for path in own if path.exists() for row in self._whole_rows(path))
            _take(journal, (row for row in rows if row.failure is not None), taken)
        return taken

    def finished_keys(self, shard: Shard) -> set[str]:
        """Keys of the rows that a shard need not ask for: finished by whomever, or failed in the shard's own file,
        which is written when all of it was asked."""
        found: set[str] = set()
        for path in [*self._whole(), *self.folder.glob("shard-*.jsonl")]:
            own = path == self.path(shard)
            found.update(row.key for row in self._whole_rows(path) if own or row.failure is None)
        return found

    def _whole_rows(self, path: Path) -> Iterator[AnswerT]:
        """Of a file that was copied in part what is there: the rest is asked for again."""
        return read_rows(path, self.kind, grows=True)

    def remove_shards(self) -> None:
        """Delete the files of all shards. The run folder must be held."""
        for path in [*self.folder.glob("shard-*.jsonl"), *self.folder.glob(".shard-*")]:
            path.unlink(missing_ok=True)

    def _earlier(self, shard: Shard | None) -> list[Path]:
        """What a shard takes over of the whole; the whole has its own already."""
        return [] if shard is None else self._whole()

    def _whole(self) -> list[Path]:
        """The whole as it was, and its journal."""
        return [path for path in (journal_of(self.target), self.target) if path.exists()]


def _shards_in(folder: Path, but: Shard | None) -> list[Path]:
    """Files of shards, but for those of the same division as `but`: they are being written, and have no row of it."""
    paths = sorted(folder.glob("shard-*.jsonl"))
    return paths if but is None else [path for path in paths if f"-of-{but.count}." not in path.name]


def _take(journal: Journal[AnswerT], rows: Iterator[AnswerT], taken: Taken) -> None:
    while window := list(islice(rows, _ROWS_PER_WRITE)):
        lacking = {row.key: row for row in window if row.key not in journal}
        journal.add(list(lacking.values()))
        taken.rows += len(lacking)
        taken.failures.update(row.failure.split(":")[0] for row in lacking.values() if row.failure is not None)
