"""A student whose engine failed, or was interrupted, starts another for the next charts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chartdistill.evaluation.predict import Student


class Asked(Student):
    """Without a run: what starts and ends is counted."""

    def __init__(self) -> None:
        self._run, self._adapter = SimpleNamespace(tasks=()), Path("adapter")  # type: ignore[assignment]
        self._open, self._engine = ExitStack(), None
        self.started = self.ended = 0

    def requests(self, chart: Any, as_base: bool = False) -> list[Any]:
        return ["a question"]

    def start(self) -> None:
        if self._engine is None:
            self.started += 1
            self._engine = SimpleNamespace(generate=self.generate)  # type: ignore[assignment]
            self._open.callback(self.end)

    def end(self) -> None:
        self.ended += 1

    def generate(self, requests: Sequence[Any], adapter: Path | None, told: Any = None) -> list[Any]:
        if self.started == 1:
            raise KeyboardInterrupt
        return []


def test_an_interrupted_engine_is_not_asked_again() -> None:
    student = Asked()
    with pytest.raises(KeyboardInterrupt):
        student.read(["a chart"])
    assert (student.started, student.ended) == (1, 1)
    assert student.read(["a chart"]) == [{}]
    assert (student.started, student.ended) == (2, 1)
