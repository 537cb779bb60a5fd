"""The figures of all rounds: what each added, what validation records say, held-out scores, and signs of collapse.

In: the answers of each round's student. Out: the content of rounds.json. Must hold: rounds are chosen by validation
records alone; differences are paired over the same records; what an added label is worth is only said where there is
gold.

    {"rounds": [{"round": 0, "kept": n, "asked_again": n, "added": {...} | null, "validation": Estimate,
                 "gain": Estimate | null, "answers": {...}, "seconds": {...}}, ...],
     "held_out": what `compare_arms` gives, "chosen": k, "ended": why, "reference": {...}}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from chartdistill.config import Run
from chartdistill.errors import InputError
from chartdistill.metrics import ALL_TASKS, METRICS, difference, score_arm
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.comparison import as_json, compare_arms
from chartdistill.rounds.labels import STRATEGY
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import CuratedLabel, Label, Prediction, Record, Task

CHOSEN_BY = "joint_f1"
"""Of the answers to validation records, all tasks pooled."""
_WORTH = {name: METRICS[name] for name in ("precision", "confabulation_rate")}


@dataclass(frozen=True)
class RoundAnswers:
    """What the student of a round said."""

    run: Run
    number: int
    validation: list[Prediction]
    held_out: list[Prediction]
    rejected: list[Prediction]
    seconds: dict[str, float | None]


@dataclass(frozen=True)
class Reference:
    """What answers to validation records are held against: gold, where there is any, else the labels that were kept
    in round 0. A task that a record has neither of counts for nothing there."""

    records: dict[str, Record]
    tasks: Sequence[Task]
    what: str
    seed: int
    resamples: int

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """The reference of a run.

        Raises:
            InputError: there is none.
        """
        asked = {record.id: record for record in cls.records_of(run)}
        what, records = "gold", {name: record for name, record in asked.items() if record.gold}
        if not records:
            what = "the teacher's labels that were kept"
            kept: dict[str, dict[str, Any]] = {}
            for row in read_rows(run.dir / "curated" / "kept.jsonl", CuratedLabel):
                if row.record in asked and row.sample == 0:
                    kept.setdefault(row.record, {})[row.task] = row.items
            records = {name: asked[name].model_copy(update={"gold": gold}) for name, gold in kept.items()}
        if not records:
            raise InputError(
                "rounds are chosen by validation records, and none has gold or a label that was kept. Raise "
                "prepare.validation_fraction (0.1, for example), or set `split: validation` for a source."
            )
        return cls(records, run.tasks, what, run.config.evaluate.seed, run.config.evaluate.bootstrap_resamples)

    @staticmethod
    def records_of(run: Run) -> list[Record]:
        """The validation records of a run, in order."""
        return [r for r in read_rows(run.dir / "records" / "records.jsonl", Record) if r.split == "validation"]

    def score(self, answers: Iterable[Prediction]) -> Estimate:
        """Joint F1 over all tasks."""
        metrics = {CHOSEN_BY: METRICS[CHOSEN_BY]}
        scores = score_arm(self._own(answers), self.records, self.tasks, self.seed, self.resamples, metrics)
        return scores[ALL_TASKS][CHOSEN_BY]

    def difference(self, answers: Iterable[Prediction], before: Iterable[Prediction]) -> Estimate:
        """Joint F1 of the one minus that of the other, paired over records."""
        both = (self._own(answers), self._own(before))
        return difference(*both, self.records, self.tasks, self.seed, self.resamples)[ALL_TASKS][CHOSEN_BY]

    def gain(self, answers: Iterable[Prediction], before: Iterable[Prediction]) -> float:
        """The value of the difference; 0 where it is not defined, so that nothing goes on without a figure."""
        return self.difference(answers, before).value or 0.0

    def _own(self, answers: Iterable[Prediction]) -> list[Prediction]:
        return [row for row in answers if row.record in self.records]


def score_rounds(
    run: Run, rounds: Sequence[RoundAnswers], kept: Sequence[int], reference: Reference, ended: str
) -> dict[str, Any]:
    """All figures. `kept`: labels of training records that were kept, by round; one more than students where the last
    round added none."""
    options = run.config.evaluate
    path = run.dir / "records" / "records.jsonl"
    records = {record.id: record for record in read_rows(path, Record)}
    held_out = {record.id: record for record in records.values() if record.split == options.split}
    arms = {_arm(one.number): one.held_out for one in rounds}
    pairs = [(_arm(one.number), _arm(one.number - 1)) for one in rounds[1:]]
    pairs += [(_arm(one.number), _arm(0)) for one in rounds[2:]]
    validation = [reference.score(one.validation) for one in rounds]
    gains: list[Estimate | None] = [None]
    gains += [reference.difference(one.validation, before.validation) for before, one in pairwise(rounds)]
    return {
        "name": run.config.name,
        "most": run.config.rounds,
        "reference": {"what": reference.what, "records": len(reference.records)},
        "ended": ended,
        "chosen": max(range(len(rounds)), key=lambda number: (validation[number].value or 0.0, -number)),
        "kept": list(kept),
        "rounds": [
            {
                "round": one.number,
                "kept": kept[one.number],
                "asked_again": len(one.rejected),
                "added": _worth(one.run, records, run.tasks, options.seed, options.bootstrap_resamples),
                "validation": validation[one.number].model_dump(mode="json"),
                "gain": gain and gain.model_dump(mode="json"),
                "answers": variety(one.held_out),
                "seconds": {name.split()[-1]: seconds for name, seconds in one.seconds.items()},
            }
            for one, gain in zip(rounds, gains, strict=True)
        ],
        "held_out": compare_arms(arms, held_out, run.tasks, pairs, options.seed, options.bootstrap_resamples),
        "records": len(held_out),
    }


def _arm(number: int) -> str:
    return f"round {number}"


def _worth(
    home: Run, records: Mapping[str, Record], tasks: Sequence[Task], seed: int, resamples: int
) -> dict[str, Any] | None:
    """How many labels a round's training has that a student gave, and how right they are; None in round 0."""
    given = {
        (row.record, row.task)
        for row in read_rows(home.dir / "labels" / "labels.jsonl", Label)
        if row.strategy == STRATEGY
    }
    if not given:
        return None
    rows = [
        Prediction(
            key="", record=row.record, task=row.task, arm=STRATEGY, completion="-", items=row.items,
        )
        for row in read_rows(home.dir / "curated" / "kept.jsonl", CuratedLabel)
        if (row.record, row.task) in given
    ]  # fmt: skip
    scores = score_arm(rows, records, tasks, seed, resamples, _WORTH)
    return {"labels": len(rows), "none_found": sum(not row.items for row in rows)} | as_json(scores)[ALL_TASKS]


def variety(answers: Iterable[Prediction]) -> dict[str, float | int | None]:
    """Signs of collapse: a model taught by itself says the same ever more often, or nothing.

    `distinct`: share of different items (task, text without case, status) among all. `none_found`: share of answers
    without an item. `unusable`: share that does not follow the format, or was not given.
    """
    rows = list(answers)
    usable = [row for row in rows if row.items is not None]
    items = [(row.task, item.text.casefold(), item.status) for row in usable for item in row.items or ()]
    return {
        "answers": len(rows),
        "items": len(items),
        "distinct": len(set(items)) / len(items) if items else None,
        "none_found": sum(not row.items for row in usable) / len(usable) if usable else None,
        "unusable": (len(rows) - len(usable)) / len(rows) if rows else None,
    }
