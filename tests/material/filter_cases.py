"""Labels about one record, and what a filter has against them."""

from __future__ import annotations

from typing import Literal

from chartdistill.curation.filters import (
    NO_STATISTICS,
    AnyFilter,
    LabelStatistics,
)
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.schema import Gate, Label, Record, Rejection, Task
from curation_cases import DRUGS

RECORD = Record(
    id="r1",
    source="synthetic",
    text="Yasadol 20 mg was stopped. Begin Febenor 5 mg. The outlook is good.",
    cluster="c1",
    split="train",
    segments=(),
)


def label(completion: str | None, gate: Literal["yes", "no", "unclear"] | None = None, **more: str) -> Label:
    return Label(
        key="k",
        record="r1",
        task="t",
        strategy="chain",
        gate=None if gate is None else Gate(answer=gate),
        completion=completion,
        **{"finish_reason": "stop", **more},
    )


def check(
    one: AnyFilter,
    given: Label,
    task: Task = DRUGS,
    run: LabelStatistics = NO_STATISTICS,
    record: Record = RECORD,
) -> list[Rejection]:
    items = None if given.completion is None else parse_answer(given.completion, task)
    return one.check(given, items, record, task, run)


def reasons(found: list[Rejection]) -> list[str]:
    return [rejection.reason for rejection in found]
