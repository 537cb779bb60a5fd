"""labels/thoughts.jsonl: what the teacher thought, where a config asks for it; one row per label, beside labels.jsonl.

Shards have a file each, which are taken over as their labels are. Must hold: a label that is on disk has its thoughts
on disk; a run that keeps none has no such file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from chartdistill.runtime.run_folder import Journal, journal_of, read_rows
from chartdistill.schema import Task, ThoughtRow

THOUGHTS = "thoughts.jsonl"
_OF_SHARD = "thoughts-of-shard-*.jsonl"


class ThoughtFile:
    """The thoughts beside one file of labels.

    Args:
        labels: that file; thoughts of labels.jsonl stand in thoughts.jsonl, those of a shard in a file of its own.
        wanted: whether any are kept; else what earlier ones left is removed.
    """

    def __init__(self, labels: Path, wanted: bool) -> None:
        self._folder = labels.parent
        self.path = self._folder / (THOUGHTS if labels.stem == "labels" else f"thoughts-of-{labels.name}")
        self._wanted, self._stack = wanted, ExitStack()
        self._journal: Journal[ThoughtRow] | None = None

    def __enter__(self) -> ThoughtFile:
        if not self._wanted:
            self.path.unlink(missing_ok=True)
            self.path.with_name(f"{self.path.stem}.journal.jsonl").unlink(missing_ok=True)
            return self
        self._journal = self._stack.enter_context(Journal(self.path, ThoughtRow))
        for path in self._others():
            if path.exists():
                rows = read_rows(path, ThoughtRow, grows=True)
                self._journal.add([row for row in rows if row.key not in self._journal])
        return self

    def _others(self) -> list[Path]:
        """Files whose labels are taken over, and so their thoughts, also of shards that were killed. A shard takes over
        none of its own division, which may be written now, and has no label of it."""
        whole = self._folder / THOUGHTS
        shards = sorted(self._folder.glob(_OF_SHARD))
        if self.path == whole:
            return shards
        division = self.path.name.rpartition("-of-")[2].split(".")[0]
        return [*(path for path in shards if f"-of-{division}." not in path.name), journal_of(whole), whole]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, thoughts: Mapping[str, ThoughtRow]) -> None:
        """Those of labels that will be written next; they replace what was thought before of the same label."""
        if self._journal is not None and thoughts:
            self._journal.add(list(thoughts.values()))

    def finish(self, keys: Iterable[str]) -> None:
        """Write the file: the rows of these labels, in this order."""
        if self._journal is not None:
            self._journal.finish(key for key in keys if key in self._journal)


def remove_shard_thoughts(folder: Path) -> None:
    """Delete the files of all shards in labels/."""
    for path in folder.glob(_OF_SHARD):
        path.unlink(missing_ok=True)


def read_rationales(folder: Path, tasks: Mapping[str, Task]) -> Iterator[tuple[str, str]]:
    """(label key, what was thought before its list; where there was none, before its gate), from labels/."""
    path = folder / THOUGHTS
    for row in read_rows(path, ThoughtRow) if path.exists() else ():
        task = tasks[row.task]
        for asked in ((task.question, task.extraction_question), (task.gate_question,)):
            found = [thought.text for thought in row.thoughts if thought.question in asked]
            if found:
                yield row.key, "\n\n".join(found)
                break
