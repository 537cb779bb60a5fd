"""The student's other arms: the same adapter, its answers held to the chart or put through the filters.

`student plain` answers in the answer format, `student constrained` in words of the chart (`constrain: spans`), and
`student filtered` is `student` behind the config's filters, asked nothing new. What they differ in from `student` was
learned by nobody: it is what the decoding or the filters do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chartdistill.curation import AnyFilter, screen
from chartdistill.evaluation.options import StudentArm
from chartdistill.labelling import SPANS, Constraint
from chartdistill.schema import Prediction, Record, Task

FILTERED: StudentArm = "student filtered"
_HELD_TO: dict[StudentArm, Constraint] = {"student plain": True, "student constrained": SPANS}


def student_constraint(own: Constraint | None, teachers: Constraint) -> Constraint:
    """What base and student are held to: `evaluate.constrain`, or where that is null the format, as the teacher."""
    return bool(teachers) if own is None else own


def asked_arms(also: Sequence[StudentArm]) -> dict[StudentArm, Constraint]:
    """The further arms whose answers must be asked for, and what they are held to."""
    return {arm: held for arm, held in _HELD_TO.items() if arm in also}


def arm_file(arm: str) -> str:
    """Where the answers of an arm are kept, in predictions/."""
    return f"{arm.replace(' ', '_')}.jsonl"


def filtered(
    answers: Iterable[Prediction], records: Mapping[str, Record], tasks: Sequence[Task], filters: Sequence[AnyFilter]
) -> list[Prediction]:
    """The answers of `student` behind the filters. One that is rejected counts as one that cannot be used."""
    by_name = {task.name: task for task in tasks}
    found = []
    for row in answers:
        items = row.items
        if items is not None:
            items = screen(items, records[row.record], by_name[row.task], filters).items
        found.append(row.model_copy(update={"arm": FILTERED, "items": items}))
    return found
