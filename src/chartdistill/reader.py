"""The Python interface: a trained student reads a chart, and gives typed items with their places in it.

    with Reader("runs/demo") as reader:
        for item in reader.read(text).items:
            print(item.task, item.text, item.status, item.span)

Stable: names and meanings here change only with a major version, and are what `chartdistill predict` writes.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from chartdistill.config import Run, load_run
from chartdistill.errors import InputError
from chartdistill.evaluation.predict import Student
from chartdistill.records.sources.entry import is_encodable
from chartdistill.run_file import read_run
from chartdistill.runtime import privacy
from chartdistill.runtime.start import prepare_process


@dataclass(frozen=True, slots=True)
class FoundItem:
    """One thing found in a chart."""

    task: str
    """Name of the task that found it: `medication`."""
    text: str
    """As the student wrote it."""
    status: str | None
    """One of the task's statuses (`start`, `stop`, ...); None for tasks without."""
    span: tuple[int, int] | None
    """First character and the one behind the last, in the text that was given, of the mention that decides it. None:
    nothing in the chart bears the item out; do not trust it."""
    grounded: bool
    """Whether the chart has the item, and its numbers."""
    not_in_chart: tuple[str, ...] = ()
    """Numbers of the item that the chart does not have."""
    dosage: Mapping[str, Any] = field(default_factory=dict)
    """Of drugs: `dose`, `route`, `frequency`, `as_needed`, `duration`, as far as they are known."""
    confidence: float | None = None
    """Calibrated probability, 0 to 1, that text and status are right; where `Reader.warnings` says so, that the
    teacher's label has them. None where the run has no calibration."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in one chart."""

    items: tuple[FoundItem, ...]
    """In the order of the tasks, then of the answer."""
    failures: Mapping[str, str]
    """Task -> why it has no answer. A task without items and without failure has none in this chart."""

    def of(self, task: str) -> tuple[FoundItem, ...]:
        """The items of one task."""
        return tuple(item for item in self.items if item.task == task)


class Reader:
    """The student of a run folder in which `train` has finished.

    The engine starts with the first chart (half a minute on a CPU with vLLM) and ends with `close`, the `with` block or
    the program. From the first `Reader` on the process is offline: connections to other machines are refused, as in
    every process of chartdistill, but for hosts that the config allows.

    Args:
        run_dir: the run folder.
        config: read tasks, models and engine from this file instead of from what training left beside the adapter.
        filters: put the config's filters on the answers, as `predict --filters`.

    Raises:
        ArtefactError: the folder has no trained student.
        ModelError: the student's model is not on this machine.
        ConfigError: `config` is wrong, or not what the student was trained with.
    """

    def __init__(self, run_dir: str | Path, config: str | Path | None = None, filters: bool = False) -> None:
        prepare_process()
        folder = Path(run_dir)
        run: Run = read_run(folder) if config is None else load_run(Path(config), run_dir=folder)
        if run.config.privacy.allowed_hosts:
            privacy.enforce(run.config.privacy.allowed_hosts)
        self.tasks: tuple[str, ...] = tuple(task.name for task in run.tasks)
        """Names of what is asked for, in order."""
        self._student = Student(run, filters)
        self.warnings: tuple[str, ...] = tuple(self._student.warnings)
        """What to know before its answers are used: gates that are not passed, or were passed on synthetic charts; that
        a confidence means agreement with the teacher."""
        self.no_confidence: str = self._student.no_confidence
        """Why `FoundItem.confidence` is None throughout; empty where it is not."""
        self._end = weakref.finalize(self, self._student.__exit__, None, None, None)

    def read(self, text: str) -> Reading:
        """Find everything in one chart.

        Raises:
            EngineError: the engine did not start, or died.
            InputError: the text has half of a surrogate pair.
        """
        return self.read_all([text])[0]

    def read_all(self, texts: Iterable[str]) -> list[Reading]:
        """Read many charts, in order; faster than one by one, since the engine answers them together."""
        if isinstance(texts, str):  # whose characters would be taken for charts
            raise TypeError("read_all takes several charts, not one str; `read` takes one")
        given = list(texts)
        if wrong := [one for one in given if not isinstance(one, str)]:
            raise TypeError(f"a chart must be a str, not {type(wrong[0]).__name__}; decode bytes first")
        if place := next((number for number, one in enumerate(given, 1) if not is_encodable(one)), None):
            raise InputError(
                f"chart {place} of {len(given)} has half of a surrogate pair, which is no text; decode its bytes with "
                "errors='replace'"
            )
        return [_reading(answers) for answers in self._student.read(given)]

    def close(self) -> None:
        """End the engine and free its memory; the next chart starts it again."""
        self._student.__exit__(None, None, None)

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _reading(answers: Mapping[str, Mapping[str, Any]]) -> Reading:
    failures = {task: said["failure"] for task, said in answers.items() if said["items"] is None}
    items: Sequence[FoundItem] = [_item(task, one) for task, said in answers.items() for one in said["items"] or ()]
    return Reading(tuple(items), failures)


def _item(task: str, said: Mapping[str, Any]) -> FoundItem:
    dosage = {name: said[name] for name in _DOSAGE if name in said}
    span = said["span"]
    return FoundItem(
        task, said["text"], said.get("status"), None if span is None else (span[0], span[1]), said["grounded"],
        tuple(said.get("not_in_chart", ())), dosage, said["confidence"],
    )  # fmt: skip


_DOSAGE = ("dose", "route", "frequency", "as_needed", "duration")
