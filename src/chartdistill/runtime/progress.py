"""Progress of a stage: what is done, how fast, how long still. Names and numbers only, never record text.

For a person on standard error: a line at its beginning and its end, and between them a bar on a terminal, or a line
every ten seconds. For a program (`run --json`) on standard output: an event as a JSON object a line.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from types import TracebackType
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from chartdistill.runtime.quiet import is_verbose

RowT = TypeVar("RowT")
_EVENTS = "CHARTDISTILL_EVENTS"
_AT_ONCE_S = 0.5
"""A stage that ends within this has nothing to do, or hardly anything: its beginning is not said."""
_SHOWN = {"loss": "loss", "validation_loss": "validation loss", "validation_joint_f1": "validation joint F1"}
"""Figures of a training, as they are shown."""


class ProgressCallback(Protocol):
    """Called by verbs with absolute numbers."""

    def __call__(self, done: int, total: int | None = None, tokens: int = 0) -> None:
        """`done` of `total` records (or steps); `tokens` computed so far. The first call begins what the rate counts:
        an engine start before it is no part of it."""
        ...


def announce_events() -> None:
    """From here on this process and its children write events to standard output."""
    os.environ[_EVENTS] = "1"


def announces() -> bool:
    """Whether events are written."""
    return _EVENTS in os.environ


def announce(event: str, **facts: Any) -> None:
    """Write one event, where events are written. `facts`: names and numbers."""
    if announces():
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        sys.stdout.write(json.dumps({"time": when, "event": event, **facts}, default=str) + "\n")
        sys.stdout.flush()


def now_and_then(stage: str, every_seconds: float = 10.0) -> Callable[[Iterable[RowT], str], Iterator[RowT]]:
    """For a verb that asks and prints while it works, where no bar can be: what passes rows on and says on standard
    error, at most so often, how many of them are done."""
    said = time.monotonic()

    def passed(rows: Iterable[RowT], what: str) -> Iterator[RowT]:
        nonlocal said
        for number, row in enumerate(rows):
            if time.monotonic() - said >= every_seconds:
                said = time.monotonic()
                total = f"/{len(rows)}" if isinstance(rows, Sized) else ""
                print(f"{stage}: {number}{total} {what}", file=sys.stderr, flush=True)
            yield row

    return passed


class StageBar:
    """Says where a stage is; see the head of this file."""

    def __init__(self, stage: str, unit: str = "records", every_seconds: float = 10.0, muted: bool = False) -> None:
        self._muted = muted  # one of several processes that do the same
        self._stage, self._unit, self._every = stage, unit, every_seconds
        self._console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 200)
        self._bar: Progress | None = None
        self._begin = self._said = time.monotonic()
        self._first: tuple[float, int, int] | None = None
        """Time, done and tokens at the first call: what the rate counts from."""
        self._last = 0
        self._tokens_per_s = 0.0
        """As of the last call that had new tokens; they are often told later than what they belong to."""
        self._tokens = 0
        self._figures: dict[str, float] = {}
        self._outcome = ""
        self._starting: threading.Timer | None = None

    def __enter__(self) -> StageBar:
        self._begin = self._said = time.monotonic()
        if self._muted:
            return self
        announce("begin", stage=self._stage)
        self._starting = threading.Timer(_AT_ONCE_S, self._say, ["begins"])
        self._starting.daemon = True
        self._starting.start()
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description:<9}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._stage, total=None, speed="")
        return self

    def __call__(self, done: int, total: int | None = None, tokens: int = 0) -> None:
        if self._muted:
            return
        now = time.monotonic()
        if self._first is None or done < self._last:  # or another pass over the same begins
            self._first = now, done, tokens
            self._tokens, self._tokens_per_s = tokens, 0.0
        self._last = done
        speed = ", ".join([*filter(None, [self._speed(done, tokens, now)]), *self._shown_figures()])
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, speed=speed)
        if now - self._said < self._every:
            return
        self._said = now
        left = self._seconds_left(done, total, now)
        announce("progress", stage=self._stage, done=done, total=total, unit=self._unit, tokens=tokens,
                 seconds_left=None if left is None else round(left), **self._figures)  # fmt: skip
        if self._bar is None:
            said = [
                f"{done}/{total} {self._unit}" if total else f"{done} {self._unit}",
                speed,
                "" if left is None else f"{left:.0f} s left",
            ]
            self._say(", ".join(filter(None, said)))

    def show(self, figures: Mapping[str, float]) -> None:
        """Figures to show from now on beside the rate: the loss, the last validation."""
        if self._muted:
            return
        known = {name: float(value) for name, value in figures.items() if name in _SHOWN}
        self._figures |= known
        if any(name.startswith("validation") for name in known):
            announce("validation", stage=self._stage, **known)
            self._say(", ".join(f"{_SHOWN[name]} {value:.3f}" for name, value in known.items()))

    def end(self, outcome: str) -> None:
        """What the line at the end says instead of the time it took."""
        self._outcome = outcome

    def _shown_figures(self) -> list[str]:
        return [f"{_SHOWN[name]} {value:.3f}" for name, value in self._figures.items()]

    def _speed(self, done: int, tokens: int, now: float) -> str:
        """Since the first call; below one a second as the time that one takes."""
        assert self._first is not None
        begun, before, tokens_before = self._first
        seconds, new = now - begun, done - before
        if seconds <= 0 or new <= 0:
            return ""
        one = self._unit.removesuffix("s")
        rate = f"{new / seconds:.1f} {self._unit}/s" if new >= seconds else f"{seconds / new:.1f} s/{one}"
        if tokens != self._tokens:
            self._tokens, self._tokens_per_s = tokens, max(0.0, (tokens - tokens_before) / seconds)
        return f"{rate}, {self._tokens_per_s:,.0f} tokens/s" if self._tokens_per_s else rate

    def _seconds_left(self, done: int, total: int | None, now: float) -> float | None:
        assert self._first is not None
        begun, before, _ = self._first
        return (total - done) * (now - begun) / (done - before) if total and done > before else None

    def _say(self, what: str) -> None:
        when = time.strftime("%H:%M:%S ") if is_verbose() else ""
        self._console.print(f"{when}{self._stage}: {what}", markup=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._muted:
            return
        if self._starting is not None:
            self._starting.cancel()
        if self._bar is not None:
            self._bar.stop()
        seconds = time.monotonic() - self._begin
        if kind is not None:
            announce("stopped", stage=self._stage, seconds=round(seconds, 1))
            return
        outcome = self._outcome or f"done in {seconds:.1f} s"
        announce("end", stage=self._stage, seconds=round(seconds, 1), outcome=outcome)
        self._say(outcome)
