"""Progress of a stage: what is done, how fast, how long still. Names and numbers only, never record text."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressCallback(Protocol):
    """Called by verbs with absolute numbers."""

    def __call__(self, done: int, total: int | None = None, tokens: int = 0) -> None:
        """`done` of `total` records (or steps); `tokens` computed so far."""
        ...


class StageBar:
    """A progress bar on a terminal; a line every ten seconds in a log file."""

    def __init__(self, stage: str, unit: str = "records", every_seconds: float = 10.0) -> None:
        self._stage, self._unit, self._every = stage, unit, every_seconds
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._begin = self._said = time.monotonic()

    def __enter__(self) -> StageBar:
        self._begin = self._said = time.monotonic()
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description:<9}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._stage, total=None, speed="")
        return self

    def __call__(self, done: int, total: int | None = None, tokens: int = 0) -> None:
        now = time.monotonic()
        speed = self._speed(done, tokens, now)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, speed=speed)
        elif now - self._said >= self._every:
            self._said = now
            left = f", {(total - done) * (now - self._begin) / done:.0f} s left" if total and done else ""
            self._console.print(f"{self._stage}: {done}/{total or '?'} {self._unit}, {speed}{left}", markup=False)

    def _speed(self, done: int, tokens: int, now: float) -> str:
        seconds = max(now - self._begin, 1e-9)
        rate = f"{done / seconds:.1f} {self._unit}/s"
        return f"{rate}, {tokens / seconds:,.0f} tokens/s" if tokens else rate

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
