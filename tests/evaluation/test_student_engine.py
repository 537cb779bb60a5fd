"""A student whose engine failed, or was interrupted, starts another for the next charts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chartdistill.config import load_task
from chartdistill.evaluation.predict import Student
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.records import clean
from chartdistill.runtime.model_folder import load_tokenizer
from places import ROOT


class Asked(Student):
    """Without a run: what starts and ends is counted."""

    def __init__(self) -> None:
        self._run, self._adapter = SimpleNamespace(tasks=()), Path("adapter")  # type: ignore[assignment]
        self._open, self._engine = ExitStack(), None
        self._in_use, self._written = None, []  # no adapter lies there
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


class Unopened(Student):
    """Asked by nobody: what it would ask."""

    def __init__(self, model: Path) -> None:
        options = SimpleNamespace(template_options={"enable_thinking": False})
        config = SimpleNamespace(student=options, evaluate=SimpleNamespace(max_answer_tokens=16))
        task = load_task(ROOT / "configs/tasks/tests.yaml")
        self._run: Any = SimpleNamespace(tasks=[task], config=config)
        self._builder = PromptBuilder.from_tokenizer(load_tokenizer(model), "Answer.")
        self._held_to, self._calibration = True, None


def test_an_endpoint_that_makes_the_prompts_itself_is_told_what_to_make_them_of(tiny_model: Path) -> None:
    (request,) = Unopened(tiny_model).requests(clean("Takes Zocor. CBC ordered."))
    assert request.messages is not None and request.messages[0] == ("system", "Answer.")
    assert request.messages[-1][1].startswith("Takes Zocor. CBC ordered.\n\n")
    assert request.template_options == {"enable_thinking": False}


def test_an_interrupted_engine_is_not_asked_again() -> None:
    student = Asked()
    with pytest.raises(KeyboardInterrupt):
        student.read(["a chart"])
    assert (student.started, student.ended) == (1, 1)
    assert student.read(["a chart"]) == [{}]
    assert (student.started, student.ended) == (2, 1)
