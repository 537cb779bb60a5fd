"""Does what is exported answer as the student did? The same held-out prompts, in each program, against the
training-time forward: how many answers differ, and what that does to joint F1.

In: a run's held-out records with a task each, and what each program answered. Out: a table of counts, and a verdict.
Must hold: no chart text and no answer is in what is written; an engine's failure counts as another answer; without gold
no F1 is made up.

Limits, set before anything was measured: an export fails where more than 5% of its answers are other tokens (3 of 64
pass), or joint F1 is lower by more than 0.02. Rounding flips a greedy answer only where two tokens are nearly tied, so
few may; a lost tensor, a wrong template or rope changes most. The F1 limit is on the value: the interval of no
difference at all in 64 prompts reaches about 0.14 to either side (metrics/intervals.py: none of 64 rules out few), so
its end could never be held to 0.02; it stands beside, and `--prompts` narrows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from chartdistill.engines import Generation, Request
from chartdistill.errors import InputError, ParityError
from chartdistill.export.options import Limits
from chartdistill.metrics import difference, score_arm
from chartdistill.metrics.counting import ALL_TASKS
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.schema import Prediction, Record, Task

_METRIC = "joint_f1"
_REFERENCE = "training"


@dataclass(frozen=True)
class Question:
    """One prompt of the comparison."""

    record: Record
    task: Task
    request: Request


@dataclass(frozen=True)
class Row:
    """One program's answers, compared."""

    name: str
    what: str
    """In words."""
    counts: bool
    """Whether the verdict is about it: it is what is exported, in a program that it is for."""
    prompts: int = 0
    differing: int = 0
    """Answers that are other tokens."""
    other_items: int = 0
    """Answers that list other items, or none where there were some: what a reader would notice."""
    joint_f1: float | None = None
    change: float | None = None
    """Of joint F1, this one minus the training-time forward."""
    low: float | None = None
    high: float | None = None
    """The change's 95% interval, paired by cluster."""
    cut_otherwise: int | None = None
    """Prompts whose text the program's own tokenizer cuts into other ids than training's; None where it took ids."""
    absent: str | None = None
    """Why it was not asked, and what to do; then all else is empty."""

    @property
    def share(self) -> float:
        """Of answers that differ."""
        return self.differing / self.prompts if self.prompts else 0.0


def choose_questions(
    records: Sequence[Record], tasks: Sequence[Task], builder: PromptBuilder, number: int, max_answer_tokens: int
) -> list[Question]:
    """So many prompts of held-out records, spread over records first, and evenly over tasks.

    Records with gold come before those without; else their order is that of a hash of their id, so that it is the same
    on every machine and nobody's choice.

    Raises:
        InputError: there are none.
    """
    if not records:
        raise InputError(
            "the run has no held-out record, so an export cannot be compared with the student. Give the run test "
            "charts (prepare.test_fraction), or export with --no-check: the card then says so."
        )
    ordered = sorted(records, key=lambda one: (not one.gold, hashlib.sha256(one.id.encode()).hexdigest()))
    chosen = []
    for place in range(min(number, len(ordered) * len(tasks))):
        turn, at = divmod(place, len(ordered))
        record, task = ordered[at], tasks[(at + turn) % len(tasks)]
        ids = builder.prompt(record.text, task.question)
        chosen.append(Question(record, task, Request(ids, max_answer_tokens, builder.end_id)))
    return chosen


def compare(
    row: Row, questions: Sequence[Question], reference: Sequence[Generation], answers: Sequence[Generation]
) -> Row:
    """`row` with what its answers are, held against the training-time forward's."""
    same = [_ids(one) == _ids(other) for one, other in zip(reference, answers, strict=True)]
    expected, found = _predictions(questions, reference, _REFERENCE), _predictions(questions, answers, row.name)
    alike = [one.items == other.items for one, other in zip(expected, found, strict=True)]
    records = {one.record.id: one.record for one in questions}
    tasks = list({one.task.name: one.task for one in questions}.values())
    own = score_arm(found, records, tasks)[ALL_TASKS][_METRIC]
    change = difference(found, expected, records, tasks)[ALL_TASKS][_METRIC]
    return replace(
        row,
        prompts=len(questions),
        differing=same.count(False),
        other_items=alike.count(False),
        joint_f1=own.value,
        change=change.value,
        low=change.low,
        high=change.high,
    )


def _ids(answer: Generation) -> tuple[object, ...]:
    """An answer's tokens; a failure is like no answer, not even like itself elsewhere."""
    return (object(),) if answer.text is None else (answer.finish_reason, *answer.token_ids)


def _predictions(questions: Sequence[Question], answers: Sequence[Generation], arm: str) -> list[Prediction]:
    return [
        Prediction(
            key=f"{place}",
            record=asked.record.id,
            task=asked.task.name,
            arm=arm,
            completion=answer.text or "",
            finish_reason=answer.finish_reason,
            # An answer that did not come is a wrong one here: the program is what is judged.
            items=None
            if answer.text is None or answer.finish_reason != "stop"
            else parse_answer(answer.text, asked.task),
        )
        for place, (asked, answer) in enumerate(zip(questions, answers, strict=True))
    ]


def faults(rows: Sequence[Row], limits: Limits) -> list[str]:
    """What speaks against an export, in sentences; empty when it may go."""
    found = []
    for row in counted(rows):
        if row.share > limits.max_differing:
            found.append(
                f"{row.what}: {row.differing} of {row.prompts} answers ({row.share:.1%}) are other tokens than the "
                f"student's as trained; allowed {limits.max_differing:.1%} (--max-differing)"
            )
        if row.change is not None and row.change < -limits.max_loss:
            found.append(
                f"{row.what}: joint F1 changes by {row.change:+.3f} ({row.low:+.3f} to {row.high:+.3f}); allowed is a "
                f"loss of {limits.max_loss:.3f} (--max-loss)"
            )
    return found


def counted(rows: Sequence[Row]) -> list[Row]:
    """Those that the verdict is about, and that were asked; none where no program that the export is for was there."""
    return [row for row in rows if row.counts and row.absent is None]


def require_parity(rows: Sequence[Row], limits: Limits, table: str) -> None:
    """Refuse an export that answers otherwise.

    Raises:
        ParityError: what differs, with the table of all programs.
    """
    if found := faults(rows, limits):
        raise ParityError(
            "not exported, since it would answer otherwise than the trained student.\n  - "
            + "\n  - ".join(found)
            + f"\n{table}\nCompare the rows above to see where it comes from (rounding of the merge, a quantised type, "
            "the program). Take a finer --type, --to vllm-adapter, which merges nothing, or raise the limit if this is "
            "good enough for you."
        )


def as_json(rows: Sequence[Row], limits: Limits, about: Mapping[str, Any]) -> dict[str, Any]:
    """parity.json: counts and figures alone."""
    return {"limits": asdict(limits), **about, "rows": [{**asdict(row), "share": row.share} for row in rows]}


def write_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| program | answers that differ | that list other items | joint F1 | change (95% interval) |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        if row.absent is not None:
            lines.append(f"| {row.what} | not compared | | | |")
            continue
        f1 = "no gold" if row.joint_f1 is None else f"{row.joint_f1:.3f}"
        interval = "" if row.low is None or row.high is None else f" ({row.low:+.3f} to {row.high:+.3f})"
        change = "" if row.change is None or row.name == _REFERENCE else f"{row.change:+.3f}{interval}"
        counted = "" if row.name == _REFERENCE else f"{row.differing} of {row.prompts}"
        items = "" if row.name == _REFERENCE else f"{row.other_items}"
        lines.append(f"| {row.what} | {counted} | {items} | {f1} | {change} |")
    return "\n".join(lines)
