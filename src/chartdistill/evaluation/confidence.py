"""How sure the student's items are: a calibrated probability for each, learned on the validation records.

In: the student's answers about validation records with the log-probabilities of their items, and what is right there.
Out: a `Calibration`, kept beside the adapter as calibration.json (numbers only), and from it the confidence of any
later item. What must hold: no test record takes part; a calibration counts only for the adapter and the answer rules it
was made with, and where it does not, there is no confidence and a reason why.

The score of an item is one number for its text (mean, lowest or sum of its tokens' log-probabilities) plus the sum of
its status' tokens, which is the log-probability of that choice. Which of the three is chosen on the validation records,
by the log loss of five folds of clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from pydantic import Field, ValidationError, model_validator

from chartdistill.clinical.entities import entity_of
from chartdistill.metrics.calibration import LEAST_ITEMS, Curve, fit_curve, fit_platt, log_loss
from chartdistill.metrics.counting import ALL_TASKS
from chartdistill.metrics.pairing import pair_up
from chartdistill.metrics.reliability import JudgedItems, Reliability, reliability, threshold_for
from chartdistill.runtime.run_folder import write_text
from chartdistill.schema import CuratedLabel, Item, ItemLogprobs, Prediction, Record, Row, Task

CALIBRATION = "calibration.json"
"""In adapter/."""
Meaning = Literal["right", "agrees with the teacher"]
"""What is likely: that gold has the item with its status, or, where no gold is there, the teacher's kept label."""
RIGHT, AGREES = get_args(Meaning)
Summary = Literal["sum", "lowest", "mean"]
WANTED_PRECISION = 0.95
LEAST_OF_TASK = 10
"""Fewer judged items of a task, and its items have no confidence."""
OWN_CURVE, OWN_OF_EITHER = 100, 10
"""Items of a task, and those right and those wrong among them, from which on it has a curve of its own."""
_FOLDS = 5
_DIGITS = 4
_STEP = 10.0**-_DIGITS
"""Of a confidence."""
_LOWEST = -30.0
"""A score below counts as this: e^-30 is as good as never."""

_SUMMARIES: dict[Summary, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "lowest": min,
    "mean": lambda values: math.fsum(values) / len(values),
}

Truth = Mapping[tuple[str, str], Sequence[Item]]
"""(record, task) -> the items that are right."""


@dataclass(frozen=True)
class AnswerMark:
    """What log-probabilities depend on: the adapter, and the rest (model, prompt, tasks, engine, what answers are held
    to)."""

    adapter: str
    rules: str


class Calibration(Row):
    """calibration.json."""

    version: Literal[1] = 1
    made: str
    """UTC, ISO 8601."""
    adapter: str
    """SHA-256 of the adapter it belongs to."""
    rules: str
    """Hash of the answer rules it belongs to."""
    absent: str | None = None
    """Why there is no calibration; then there is nothing below."""
    meaning: Meaning | None = None
    score: Summary = "sum"
    curves: dict[str, Curve] = Field(default={})
    """Task -> its own curve; `all`: of the other tasks."""
    tasks: dict[str, int] = Field(default={})
    """Task -> judged items on validation records, of those whose items get a confidence."""
    left_out: dict[str, int] = Field(default={})
    """Of those that do not, since they were fewer than `LEAST_OF_TASK`."""
    records: int = 0
    clusters: int = 0
    """Validation records with judged items, and their clusters."""
    threshold: float | None = None
    """From this confidence on the validation records show `WANTED_PRECISION`; None: from none."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.absent is None and ALL_TASKS not in self.curves:
            raise ValueError("has neither a curve of all tasks nor a reason why there is none")
        return self

    def scores(self, items: Iterable[ItemLogprobs]) -> list[float]:
        """Of each item; higher is surer."""
        return [score_of(item, self.score) for item in items]

    def confidence(self, task: str, item: ItemLogprobs | None) -> float | None:
        """Of one item, from 0.0001 to 0.9999 in steps of 0.0001, so that a threshold that is read is the one that is
        meant; None where its log-probabilities are not known, or nothing of its task is."""
        if item is None or task not in self.tasks:
            return None
        curve = self.curves.get(task) or self.curves[ALL_TASKS]
        found = float(curve.probabilities([score_of(item, self.score)])[0])
        return min(max(round(found, _DIGITS), _STEP), 1 - _STEP)


class Confidence(Row):
    """How the confidences held on the scored records: `confidence` in scores.json."""

    absent: str | None = None
    meaning: Meaning | None = None
    score: Summary | None = None
    curves: dict[str, str] = Field(default={})
    """Task, or `all` -> platt or isotonic."""
    validation: dict[str, int] = Field(default={})
    """Records, clusters and items that it was calibrated on, and how many of the items were right."""
    left_out: dict[str, int] = Field(default={})
    wanted: float = WANTED_PRECISION
    threshold: float | None = None
    without: int = 0
    """Items without confidence."""
    tasks: dict[str, Reliability] = Field(default={})
    seconds: float | None = None
    """What asking about the validation records took."""


@dataclass(frozen=True)
class _Judged:
    """One item of an answer, judged."""

    task: str
    cluster: str
    record: str
    logprobs: ItemLogprobs
    right: bool


def score_of(item: ItemLogprobs, how: Summary) -> float:
    """See the module."""
    text = _SUMMARIES[how](item.text) if item.text else 0.0
    return max(_LOWEST, text + math.fsum(item.status))


def gold_truth(records: Iterable[Record], tasks: Sequence[Task]) -> dict[tuple[str, str], Sequence[Item]]:
    """What gold says."""
    return {
        (record.id, task.name): record.gold[task.name]
        for record in records
        for task in tasks
        if record.gold is not None and task.name in record.gold
    }


def label_truth(kept: Iterable[CuratedLabel], records: Mapping[str, Record]) -> dict[tuple[str, str], Sequence[Item]]:
    """What the teacher's kept labels say of these records."""
    found: dict[tuple[str, str], Sequence[Item]] = {}
    for label in kept:
        if label.record in records and label.items is not None:
            found.setdefault((label.record, label.task), label.items)  # of several samples the first
    return found


def judge_items(
    answers: Iterable[Prediction], truth: Truth, records: Mapping[str, Record], tasks: Sequence[Task]
) -> tuple[list[_Judged], int]:
    """Items with log-probabilities that count as right or wrong; and how many have none. Right: paired one to one with
    an item of `truth`, with its status. An item that is the same as an optional one counts neither way."""
    by_name = {task.name: task for task in tasks}
    found: list[_Judged] = []
    without = 0
    for row in sorted(answers, key=lambda row: (row.record, row.task)):
        known = truth.get((row.record, row.task))
        if row.items is None or known is None:
            continue
        pairing = pair_up(row.items, known, entity_of(by_name[row.task]))
        right = {said for said, meant in pairing.pairs if row.items[said].status == known[meant].status}
        if row.logprobs is None or len(row.logprobs) != len(row.items):
            without += len(pairing.counted)
            continue
        cluster = records[row.record].cluster
        found += [
            _Judged(row.task, cluster, row.record, row.logprobs[place], place in right) for place in pairing.counted
        ]
    return found, without


def calibrate(
    answers: Sequence[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    kept: Iterable[CuratedLabel],
    mark: AnswerMark,
) -> Calibration:
    """From the student's answers about validation records: by gold where that judges `LEAST_ITEMS` items or more, else
    by the teacher's kept labels. Not both: they do not mean the same."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    head: dict[str, Any] = {"made": made, "adapter": mark.adapter, "rules": mark.rules}
    tried = []
    for meaning, truth in ((RIGHT, gold_truth(records.values(), tasks)), (AGREES, label_truth(kept, records))):
        judged, without = judge_items(answers, truth, records, tasks)
        usable, left_out = _of_known_tasks(judged)
        if len(usable) >= LEAST_ITEMS:
            return Calibration(**head, meaning=meaning, left_out=left_out, **_fitted(usable))
        tried.append(f"{len(judged)} by {'gold' if meaning == RIGHT else 'kept labels of the teacher'}")
        if without and not judged:
            tried[-1] += f" ({without} without log-probabilities)"
    why = "there are no validation records (prepare.validation_fraction, or a split of their own)"
    if records:
        why = (
            f"too few of the student's items on {len(records)} validation records could be judged: "
            f"{' and '.join(tried)}; it takes {LEAST_ITEMS}, of tasks with {LEAST_OF_TASK} or more"
        )
    return Calibration(**head, absent=why)


def _of_known_tasks(judged: Sequence[_Judged]) -> tuple[list[_Judged], dict[str, int]]:
    counts = {one.task: 0 for one in judged}
    for one in judged:
        counts[one.task] += 1
    few = {task: number for task, number in counts.items() if number < LEAST_OF_TASK}
    return [one for one in judged if one.task not in few], few


def _fitted(judged: Sequence[_Judged]) -> dict[str, Any]:
    how = _best_summary(judged)
    by_task: dict[str, list[_Judged]] = {}
    for one in judged:
        by_task.setdefault(one.task, []).append(one)
    own = {
        task: of
        for task, of in by_task.items()
        if len(of) >= OWN_CURVE and OWN_OF_EITHER <= sum(one.right for one in of) <= len(of) - OWN_OF_EITHER
    }
    curves = {
        name: fit_curve([score_of(one.logprobs, how) for one in of], [one.right for one in of])
        for name, of in {ALL_TASKS: judged, **own}.items()
    }
    found = Calibration(
        made="", adapter="", rules="", score=how, curves=curves, tasks={task: len(of) for task, of in by_task.items()}
    )
    items = _with_confidence(judged, found)
    return {
        "score": how, "curves": curves, "tasks": found.tasks, "records": len({one.record for one in judged}),
        "clusters": len(set(items.clusters)), "threshold": threshold_for(items, WANTED_PRECISION),
    }  # fmt: skip


def _best_summary(judged: Sequence[_Judged]) -> Summary:
    """That of the lowest log loss on clusters that Platt's curve was not fitted on; the first where all are alike."""
    clusters = sorted({one.cluster for one in judged})
    fold_of = {cluster: place % _FOLDS for place, cluster in enumerate(clusters)}
    fold = np.array([fold_of[one.cluster] for one in judged])
    right = np.array([one.right for one in judged])
    if len(clusters) < _FOLDS:
        return "sum"

    def loss(how: Summary) -> float:
        scores = np.array([score_of(one.logprobs, how) for one in judged])
        probabilities = np.empty(len(scores))
        for number in range(_FOLDS):
            inside = fold == number
            probabilities[inside] = fit_platt(scores[~inside], right[~inside]).probabilities(scores[inside])
        return round(log_loss(probabilities, right), 6)

    return min(_SUMMARIES, key=loss)


def _with_confidence(judged: Sequence[_Judged], calibration: Calibration) -> JudgedItems:
    confidences = [calibration.confidence(one.task, one.logprobs) for one in judged]
    return JudgedItems(
        np.array(confidences, dtype=np.float64),
        np.array([one.right for one in judged], dtype=bool),
        [one.cluster for one in judged],
    )


def measure_confidence(
    calibration: Calibration,
    answers: Iterable[Prediction],
    records: Mapping[str, Record],
    tasks: Sequence[Task],
    kept: Iterable[CuratedLabel],
    seed: int,
    resamples: int,
    seconds: float | None = None,
) -> Confidence:
    """How the confidences hold on the scored records, in the meaning of the calibration."""
    if calibration.absent is not None:
        return Confidence(absent=calibration.absent, seconds=seconds)
    by_gold = calibration.meaning == RIGHT
    truth = gold_truth(records.values(), tasks) if by_gold else label_truth(kept, records)
    judged, without = judge_items(answers, truth, records, tasks)
    scored = [one for one in judged if one.task in calibration.tasks]
    figures = {}
    for name in (*(task.name for task in tasks if task.name in calibration.tasks), ALL_TASKS):
        of = [one for one in scored if name in (one.task, ALL_TASKS)]
        before = np.exp(np.minimum(0.0, calibration.scores(one.logprobs for one in of)))
        items = _with_confidence(of, calibration)
        figures[name] = reliability(items, before, calibration.threshold, seed, resamples)
    fitted_on = {
        "records": calibration.records, "clusters": calibration.clusters,
        "items": calibration.curves[ALL_TASKS].items, "right": calibration.curves[ALL_TASKS].right,
    }  # fmt: skip
    return Confidence(
        meaning=calibration.meaning, score=calibration.score, left_out=calibration.left_out,
        curves={name: curve.kind for name, curve in calibration.curves.items()}, validation=fitted_on,
        threshold=calibration.threshold, without=without + len(judged) - len(scored), tasks=figures, seconds=seconds,
    )  # fmt: skip


def write_calibration(adapter: Path, calibration: Calibration) -> None:
    """Beside the adapter it belongs to."""
    write_text(adapter / CALIBRATION, calibration.model_dump_json(indent=1) + "\n")


def is_calibrated(adapter: Path, mark: AnswerMark) -> bool:
    """Whether the calibration of an adapter is of how it answers now; one that says why there is none is, too."""
    try:
        found = Calibration.model_validate_json((adapter / CALIBRATION).read_bytes())
    except (FileNotFoundError, ValidationError):
        return False
    return (found.adapter, found.rules) == (mark.adapter, mark.rules)


def read_calibration(adapter: Path, mark: AnswerMark) -> tuple[Calibration | None, str]:
    """The calibration of an adapter as it answers now; or None, and why not."""
    path = adapter / CALIBRATION
    try:
        found = Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None, f"{path} is not there; `chartdistill evaluate` makes it, with evaluate.confidence: true"
    except ValidationError:
        return None, f"{path} was edited, or is of another version; run `chartdistill evaluate` again"
    if found.adapter != mark.adapter:
        return None, f"{path} was made with another adapter; run `chartdistill evaluate` again"
    if found.rules != mark.rules:
        return None, (
            f"{path} was made with other answer rules (model, system text, tasks, engine or constraint); run "
            "`chartdistill evaluate` again, or ask as then"
        )
    return (found, "") if found.absent is None else (None, found.absent)
