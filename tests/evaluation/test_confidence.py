"""Confidence of items: learned on validation records alone, kept beside the adapter, refused where not its own."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chartdistill.config import load_task
from chartdistill.evaluation.confidence import (
    AGREES,
    CALIBRATION,
    LEAST_OF_TASK,
    OWN_CURVE,
    RIGHT,
    AnswerMark,
    Calibration,
    calibrate,
    gold_truth,
    judge_items,
    measure_confidence,
    read_calibration,
    score_of,
    write_calibration,
)
from chartdistill.metrics.calibration import LEAST_ITEMS
from chartdistill.metrics.counting import ALL_TASKS
from chartdistill.schema import CuratedLabel, Item, ItemLogprobs, Prediction, Record
from places import ROOT

TASKS = [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "tests")]
MARK = AnswerMark("adapter", "rules")
DRUGS = [f"Drug{letter}{other}ix" for letter in "abcdefghij" for other in "klmnopqrst"]


def record(number: int, split: str, gold: dict[str, tuple[Item, ...]] | None) -> Record:
    return Record(
        id=f"{split}{number}", source="synthetic:x", text="t", cluster=f"{split}{number // 2}", split=split,  # type: ignore[arg-type]
        segments=((0, 0, 1),), gold=gold,
    )  # fmt: skip


def answer(of: Record, task: str, items: list[Item], logprobs: list[ItemLogprobs] | None, **more: Any) -> Prediction:
    return Prediction(
        key=of.id + task, record=of.id, task=task, arm="student", completion="x", items=tuple(items),
        logprobs=None if logprobs is None else tuple(logprobs), **more,
    )  # fmt: skip


def made(
    split: str,
    records: int,
    per_record: int = 3,
    seed: int = 0,
    gold: bool = True,
    slope: float = 1.5,
    chance: float = 2.0,
) -> tuple[dict[str, Record], list[Prediction], list[CuratedLabel]]:
    """Answers about medication, whose items are right as their log-probabilities say: logit = slope * sum + chance.
    The kept labels hold what gold would."""
    rng = random.Random(f"{split}{seed}")
    found, answers, kept = {}, [], []
    for number in range(records):
        items, logprobs, right = [], [], []
        for name in rng.sample(DRUGS, per_record):
            text, status = -rng.expovariate(1.0), -rng.expovariate(2.0)
            item = Item(text=name, status="start")
            if rng.random() < 1 / (1 + np.exp(-(slope * (text + status) + chance))):
                right.append(item)
            elif rng.random() < 0.5:
                right.append(Item(text=name, status="stop"))  # the name alone is not enough
            items.append(item)
            logprobs.append(ItemLogprobs(text=(text,), status=(status,)))
        one = record(number, split, {"medication": tuple(right)} if gold else None)
        found[one.id] = one
        answers.append(answer(one, "medication", items, logprobs))
        kept.append(CuratedLabel(record=one.id, task="medication", items=tuple(right)))
    return found, answers, kept


def test_confidences_mean_what_they_say_on_records_that_took_no_part() -> None:
    known, said, _ = made("validation", 200, chance=4.5)
    learned = calibrate(said, known, TASKS, [], MARK)
    assert (learned.meaning, learned.absent, learned.tasks) == (RIGHT, None, {"medication": 600})
    records, answers, _ = made("test", 200, chance=4.5)
    found = measure_confidence(learned, answers, records, TASKS, [], 0, 400)
    pooled = found.tasks[ALL_TASKS]
    assert pooled.items == 600 and pooled.ece.value is not None and pooled.ece_before.value is not None
    assert pooled.ece.value < pooled.ece_before.value / 2
    assert pooled.ece.value < 0.07
    assert (pooled.brier.value or 1) < (pooled.brier_before.value or 0)
    assert found.threshold is not None and pooled.precision is not None and pooled.precision.value is not None
    assert pooled.precision.value > 0.94
    assert pooled.coverage is not None and (pooled.coverage.value or 0) > 0.2


def test_what_is_right_needs_text_and_status_and_each_gold_item_once() -> None:
    def lp(n: int) -> list[ItemLogprobs]:
        return [ItemLogprobs(text=(-1.0,), status=(-0.5,))] * n

    gold = (
        Item(text="aspirin", status="stop"), Item(text="Lasix", status="start"),
        Item(text="Tylenol", status="start", optional=True),
    )  # fmt: skip
    one = record(0, "validation", {"medication": gold})
    said = [
        Item(text="Aspirin", status="stop"), Item(text="ASA", status="stop"), Item(text="furosemide", status="stop"),
        Item(text="Zocor", status="start"), Item(text="acetaminophen", status="start"),
    ]  # fmt: skip
    judged, without = judge_items(
        [answer(one, "medication", said, lp(5))], gold_truth([one], TASKS), {one.id: one}, TASKS
    )
    assert [each.right for each in judged] == [True, False, False, False], "an optional item counts neither way"
    assert without == 0


def test_answers_without_log_probabilities_cut_or_broken_are_not_learned_from() -> None:
    gold = {"medication": (Item(text="aspirin", status="stop"),)}
    records = {one.id: one for one in (record(n, "validation", gold) for n in range(4))}
    item, lp = [Item(text="aspirin", status="stop")], [ItemLogprobs(text=(-0.1,), status=(-0.1,))]
    own = list(records.values())
    rows = [
        answer(own[0], "medication", item, None),
        answer(own[1], "medication", item, lp, finish_reason="length"),
        answer(own[2], "medication", [], None),
        Prediction(key="k", record=own[3].id, task="medication", arm="student", completion="?", items=None),
    ]
    judged, without = judge_items(rows, gold_truth(own, TASKS), records, TASKS)
    assert judged == [] and without == 1
    found = calibrate(rows, records, TASKS, [], MARK)
    assert found.absent is not None and "0 by gold (1 without log-probabilities)" in found.absent


def test_without_gold_the_teachers_kept_labels_stand_in_and_are_named_so() -> None:
    records, answers, kept = made("validation", 40, gold=False)
    found = calibrate(answers, records, TASKS, kept, MARK)
    assert found.meaning == AGREES == "agrees with the teacher"
    tested, said, theirs = made("test", 40, gold=False)
    figures = measure_confidence(found, said, tested, TASKS, theirs, 0, 200)
    assert figures.meaning == AGREES and figures.tasks[ALL_TASKS].items == 120
    rejected = [label.model_copy(update={"items": None}) for label in theirs]
    assert measure_confidence(found, said, tested, TASKS, rejected, 0, 200).tasks[ALL_TASKS].items == 0
    with_gold, others, labels = made("test", 40)
    assert measure_confidence(found, others, with_gold, TASKS, labels, 0, 200).meaning == AGREES, "one meaning for both"


def test_gold_and_labels_are_never_mixed() -> None:
    """Gold of a few records is not filled up with labels of the others."""
    records, answers, kept = made("validation", 40)
    few = {
        name: one if place < 5 else one.model_copy(update={"gold": None})
        for place, (name, one) in enumerate(records.items())
    }
    found = calibrate(answers, few, TASKS, kept, MARK)
    assert found.meaning == AGREES and sum(found.tasks.values()) == 120
    found = calibrate(answers, few, TASKS, [], MARK)
    assert found.absent is not None and "15 by gold and 0 by kept labels of the teacher" in found.absent


def test_three_items_or_no_validation_records_say_why_there_is_none() -> None:
    records, answers, kept = made("validation", 1)
    assert f"it takes {LEAST_ITEMS}" in str(calibrate(answers, records, TASKS, kept, MARK).absent)
    none = calibrate([], {}, TASKS, [], MARK)
    assert "there are no validation records" in str(none.absent)
    assert none.confidence("medication", ItemLogprobs(text=(-0.1,))) is None
    assert measure_confidence(none, answers, records, TASKS, kept, 0, 200).absent == none.absent


@pytest.mark.parametrize("all_right", [True, False])
def test_items_that_are_all_right_or_all_wrong_get_one_confidence(all_right: bool) -> None:
    records, answers, _ = made("validation", 20)
    gold = {row.record: {"medication": row.items if all_right else ()} for row in answers}
    records = {name: one.model_copy(update={"gold": gold[name]}) for name, one in records.items()}
    found = calibrate(answers, records, TASKS, [], MARK)
    sure, unsure = (found.confidence("medication", ItemLogprobs(text=(at,))) for at in (-0.01, -9.0))
    assert sure == pytest.approx(unsure) == pytest.approx(61 / 62 if all_right else 1 / 62, abs=1e-3)
    assert (found.threshold is None) is not all_right


def test_surer_items_never_have_less_confidence() -> None:
    for seed in range(4):
        records, answers, _ = made("validation", 15 + 100 * seed, seed=seed, slope=1.5 - seed)
        found = calibrate(answers, records, TASKS, [], MARK)
        values = [found.confidence("medication", ItemLogprobs(text=(at,))) for at in np.linspace(-40, 0, 200)]
        assert all(one is not None for one in values)
        assert values == sorted(values, key=float)  # type: ignore[arg-type]


def test_a_task_of_few_items_has_no_confidence_and_one_of_many_its_own_curve() -> None:
    records, answers, _ = made("validation", 60)
    gold = Item(text="CBC")
    for place, (name, one) in enumerate(list(records.items())):
        records[name] = one.model_copy(update={"gold": {**(one.gold or {}), "tests": (gold,)}})
        if place < LEAST_OF_TASK - 1:
            answers.append(answer(one, "tests", [gold], [ItemLogprobs(text=(-0.1,))]))
    found = calibrate(answers, records, TASKS, [], MARK)
    assert found.left_out == {"tests": LEAST_OF_TASK - 1}
    assert found.confidence("tests", ItemLogprobs(text=(-0.1,))) is None
    assert set(found.curves) == {ALL_TASKS, "medication"}, "180 items, right and wrong"
    assert OWN_CURVE <= 60 * 3
    answers.append(answer(list(records.values())[30], "tests", [gold], [ItemLogprobs(text=(-0.1,))]))
    found = calibrate(answers, records, TASKS, [], MARK)
    assert found.left_out == {} and "tests" not in found.curves
    assert found.confidence("tests", ItemLogprobs(text=(-0.1,))) is not None, "it shares the curve of all"


def test_the_score_that_tells_most_on_validation_is_taken() -> None:
    rng = random.Random(5)

    def rows(right_by: str) -> tuple[dict[str, Record], list[Prediction]]:
        records, answers = {}, []
        for number in range(120):
            tokens = [-rng.expovariate(1.0) for _ in range(rng.randint(1, 12))]
            lp = ItemLogprobs(text=tuple(tokens))
            right = rng.random() < 1 / (
                1 + np.exp(-3 * (score_of(lp, right_by) + {"lowest": 2.0, "mean": 1.0}[right_by]))
            )  # type: ignore[arg-type]
            one = record(number, "validation", {"tests": (Item(text="CBC"),) if right else ()})
            records[one.id] = one
            answers.append(answer(one, "tests", [Item(text="CBC")], [lp]))
        return records, answers

    for wanted in ("lowest", "mean"):
        records, answers = rows(wanted)
        assert calibrate(answers, records, TASKS, [], MARK).score == wanted


def test_the_status_counts_beside_the_text() -> None:
    for how in ("sum", "lowest", "mean"):
        sure = score_of(ItemLogprobs(text=(-0.1, -0.1), status=(-0.1,)), how)  # type: ignore[arg-type]
        unsure = score_of(ItemLogprobs(text=(-0.1, -0.1), status=(-2.0, -0.1)), how)  # type: ignore[arg-type]
        assert sure - unsure == pytest.approx(2.0)
    assert score_of(ItemLogprobs(text=(-9999.0,)), "sum") == -30.0


def test_a_calibration_of_another_adapter_or_of_other_answer_rules_is_refused(tmp_path: Path) -> None:
    records, answers, _ = made("validation", 40)
    write_calibration(tmp_path, calibrate(answers, records, TASKS, [], MARK))
    found, why = read_calibration(tmp_path, MARK)
    assert found is not None and why == ""
    assert found.confidence("medication", ItemLogprobs(text=(-0.1,))) is not None
    for mark, word in ((AnswerMark("other", "rules"), "another adapter"), (AnswerMark("adapter", "o"), "answer rules")):
        found, why = read_calibration(tmp_path, mark)
        assert found is None and word in why and "evaluate" in why


@pytest.mark.parametrize(
    "written",
    [
        "", "{}", "[]", "\x00", '{"version": 2}', "null",
        '{"made":"","adapter":"adapter","rules":"rules","tasks":{"medication":40},"curves":{"all":{"kind":"platt",'
        '"slope":-1,"intercept":0,"items":40,"right":20}}}',
        '{"made":"","adapter":"adapter","rules":"rules","tasks":{"medication":40},"curves":{"all":{"kind":"platt",'
        '"slope":NaN,"intercept":0,"items":40,"right":20}}}',
        '{"made":"","adapter":"adapter","rules":"rules","tasks":{"medication":40},"curves":{}}',
    ],
)  # fmt: skip
def test_a_file_that_was_edited_gives_no_confidence_and_says_so(tmp_path: Path, written: str) -> None:
    assert "is not there" in read_calibration(tmp_path, MARK)[1]
    (tmp_path / CALIBRATION).write_text(written)
    found, why = read_calibration(tmp_path, MARK)
    assert found is None and "edited, or is of another version" in why


def test_why_there_is_none_is_kept_beside_the_adapter(tmp_path: Path) -> None:
    write_calibration(tmp_path, calibrate([], {}, TASKS, [], MARK))
    assert read_calibration(tmp_path, MARK) == (None, json.loads((tmp_path / CALIBRATION).read_text())["absent"])


def test_the_file_holds_numbers_and_no_words_of_a_record(tmp_path: Path) -> None:
    records, answers, _ = made("validation", 40)
    write_calibration(tmp_path, calibrate(answers, records, TASKS, [], MARK))
    text = (tmp_path / CALIBRATION).read_text()
    assert not any(name in text for name in DRUGS)
    assert not any(name in text for name in records)
    assert isinstance(Calibration.model_validate_json(text), Calibration)
    assert (tmp_path / CALIBRATION).stat().st_mode & 0o077 == 0
