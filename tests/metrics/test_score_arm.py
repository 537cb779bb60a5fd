"""An arm's scores against cases worked by hand, and what must not change them."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.demo.charts import write_chart
from chartdistill.errors import InputError
from chartdistill.metrics import AGREEMENT, ALL_TASKS, METRICS, agreement, difference, dosage, score_arm
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.schema import Item, Prediction, Record
from metrics_cases import ANSWERS, DRUGS, NOTES, TESTS, by_id, make_world, record, said, values


def test_metrics_of_a_case_worked_by_hand() -> None:
    scores = score_arm(ANSWERS, NOTES, [DRUGS])
    expected: dict[str, tuple[float, int]] = {
        "precision": (3 / 6, 6),
        "recall": (3 / 7, 7),
        "f1": (6 / 13, 10),  # 6 emitted and 7 in gold, three of them the same
        "joint_f1": (4 / 13, 10),
        "joint_f1_macro": (4 / 13, 10),
        "f1_macro": ((1 + 2 / 6 + 1 + 0 + 0 + 0) / 6, 6),
        "record_exact": (1 / 6, 6),
        "string_f1": (6 / 13, 10),
        "string_joint_f1": (4 / 13, 10),
        "raw_f1": (4 / 13, 10),
        "status_accuracy": (2 / 3, 3),
        "status_f1_macro": ((2 / 5 + 0 / 5 + 2 / 3) / 3, 10),
        "harmful_status_rate": (0, 4),
        "harmful_status_rate_of_named": (0, 2),
        "stop_as_continue_rate": (0, 3),
        "stop_as_continue_rate_of_named": (0, 1),
        "continue_as_stop_rate": (0, 1),
        "continue_as_stop_rate_of_named": (0, 1),
        "invented_rate": (1 / 6, 6),
        "wrong_kind_rate": (2 / 6, 6),
        "contradicted_rate": (1 / 6, 6),
        "confabulation_rate": (4 / 6, 6),
        "string_confabulation_rate": (4 / 6, 6),
        "duplicate_rate": (0, 6),
        "attribute_error_rate": (0, 1),
        "abstention_specificity": (1 / 2, 2),
        "false_abstention_rate": (1 / 4, 4),
        "none_rate": (2 / 6, 6),
        "format_valid_rate": (5 / 6, 6),
        "truncated_rate": (1 / 6, 6),
        "items_per_record": (6 / 6, 6),
    }
    undefined = {
        **{
            f"{name}_rate{end}": f"gold items with status {name.partition('_')[0]}"
            for name in ("avoid_as_start", "hold_as_continue", "past_as_continue")
            for end in ("", "_of_named")
        },
        "foretold_f1": "no forecasts",
        "from_example_rate": "no emitted items behind prompts with worked examples",
        **dict.fromkeys(dosage.METRICS, "gold gives"),
    }
    assert set(expected) | set(undefined) == set(METRICS)
    for name, reason in undefined.items():
        assert scores["medication"][name].value is None
        assert reason in str(scores["medication"][name].reason)
    for name, (value, n) in expected.items():
        estimate = scores["medication"][name]
        assert (estimate.value, estimate.n) == (pytest.approx(value), n), name
        assert (estimate.unscored, estimate.reason) == (0, None)
    assert scores[ALL_TASKS] == scores["medication"]


def test_a_broken_format_is_wrong_and_no_abstention() -> None:
    notes = by_id(record("a", medication="None found"), record("b", medication="Yasadol | stop"))
    found = values(score_arm([said("a", "nothing here"), said("b", "Yasadol | stop")], notes, [DRUGS]))
    assert (found["record_exact"], found["f1_macro"]) == (0.5, 0.5)
    assert (found["abstention_specificity"], found["none_rate"], found["precision"]) == (0, 0, 1)


def test_an_answer_that_was_cut_is_wrong_however_well_it_reads() -> None:
    cut = said("a", "Yasadol | stop\nFebenor | start", cut=True)
    assert cut.items is None
    assert Prediction.model_validate_json(cut.model_dump_json().replace('"items":null', '"items":[]')).items is None
    found = values(score_arm([cut], NOTES, [DRUGS]))
    assert (found["recall"], found["format_valid_rate"], found["truncated_rate"]) == (0, 0, 1)
    assert found["confabulation_rate"] is None and found["false_abstention_rate"] == 0


def test_another_spelling_of_none_is_a_broken_format_and_no_invention() -> None:
    notes = by_id(record("a", tests="None found"))
    found = values(score_arm([said("a", "None.", TESTS)], notes, [TESTS]), "tests")
    assert (found["format_valid_rate"], found["abstention_specificity"]) == (0, 0)
    assert found["invented_rate"] is None, "nothing was emitted"


def test_an_engine_failure_is_unscored_and_changes_nothing_else() -> None:
    notes = by_id(*NOTES.values(), record("g", medication="Yasadol | stop"))
    scores = score_arm([*ANSWERS, said("g", None)], notes, [DRUGS])
    assert values(scores) == values(score_arm(ANSWERS, NOTES, [DRUGS]))
    assert {estimate.unscored for estimate in scores["medication"].values()} == {1}


def test_an_item_said_twice_costs_precision_and_is_no_confabulation() -> None:
    notes = by_id(record("a", medication="Yasadol | stop"))
    found = values(score_arm([said("a", "Yasadol | stop\nyasadol | stop")], notes, [DRUGS]))
    assert (found["precision"], found["confabulation_rate"], found["record_exact"]) == (0.5, 0, 0)


def test_joint_f1_is_f1_for_tasks_without_statuses() -> None:
    notes = by_id(record("a", tests="EEG\nsleep study"), record("b", tests="EEG"))
    found = values(score_arm([said("a", "eeg", TESTS), said("b", "Headache", TESTS)], notes, [TESTS]), "tests")
    assert found["f1"] == found["joint_f1"] == pytest.approx(2 / 5)
    assert (found["contradicted_rate"], found["wrong_kind_rate"]) == (None, 0.5)


def test_all_pools_the_counts_of_the_tasks_that_have_gold() -> None:
    notes = by_id(record("a", medication="Yasadol | stop"), record("b", medication="None found"))
    answers = [said("a", "Yasadol | stop"), said("b", "None found"), said("a", "EEG\nMRI of the hip", TESTS)]
    scores = score_arm(answers, notes, [DRUGS, TESTS])
    assert (scores[ALL_TASKS]["precision"].value, scores[ALL_TASKS]["precision"].n) == (1, 1)
    assert (scores[ALL_TASKS]["invented_rate"].value, scores[ALL_TASKS]["invented_rate"].n) == (1 / 3, 3)


def test_without_gold_only_what_needs_none_has_a_value() -> None:
    notes = by_id(record("a"), record("b"))
    scores = score_arm([said("a", "Yasadol | stop\nBisolukast | stop"), said("b", "None found")], notes, [DRUGS])
    found = values(scores)
    assert {name for name, value in found.items() if value is not None} == {
        *("invented_rate", "none_rate", "format_valid_rate", "truncated_rate", "items_per_record", "duplicate_rate")
    }
    assert (found["invented_rate"], found["none_rate"], found["items_per_record"]) == (0.5, 0.5, 1)
    assert "no gold for this task" in str(scores["medication"]["recall"].reason)


def test_what_is_undefined_is_none_with_the_reason() -> None:
    notes = by_id(record("a", medication="Yasadol | stop"))
    scores = score_arm([said("a", "None found")], notes, [DRUGS, TESTS])
    undefined = scores["medication"]["precision"]
    assert undefined == Estimate(
        value=None, low=None, high=None, n=0, unscored=0, reason="no emitted items", clusters=0
    )
    assert scores["tests"]["recall"].reason == "no predictions"
    failed = score_arm([said("a", None)], notes, [DRUGS])["medication"]["recall"]
    assert (failed.value, failed.unscored, failed.reason) == (None, 1, "no prediction could be scored")


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([said("zz", "None found")], "'zz'.*no such record"),
        ([said("a", "None found", TESTS)], "'tests'.*no such task"),
        ([said("a", "None found"), said("a", "None found")], "a second one"),
        ([said("a", "None found"), said("b", "None found", arm="base")], "one arm"),
    ],
)
def test_predictions_that_do_not_belong_are_refused(answers: list[Prediction], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        score_arm(answers, NOTES, [DRUGS])


@given(st.integers(0, 10_000), st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_order_does_not_matter_and_intervals_contain_their_value(seed: int, skill: float) -> None:
    notes, answers = make_world(12, seed, skill)
    scores = score_arm(answers, notes, [DRUGS], resamples=200)
    shuffled = random.Random(seed).sample(answers, len(answers))
    assert score_arm(shuffled, notes, [DRUGS], resamples=200) == scores
    for name, estimate in scores["medication"].items():
        if estimate.value is not None and estimate.low is not None and estimate.high is not None:
            assert estimate.low <= estimate.value <= estimate.high, name
            assert estimate.high > estimate.low, name
        else:
            assert estimate.reason, name


def test_duplicating_all_records_leaves_values_and_intervals_unchanged() -> None:
    notes, answers = make_world(30, 1, 0.7)
    double = notes | {f"x{name}": one.model_copy(update={"id": f"x{name}"}) for name, one in notes.items()}
    more = answers + [one.model_copy(update={"record": f"x{one.record}"}) for one in answers]
    once, twice = (score_arm(one, two, [DRUGS])["medication"] for one, two in ((answers, notes), (more, double)))
    for name in METRICS:
        assert twice[name].value == pytest.approx(once[name].value)
        assert twice[name].low == pytest.approx(once[name].low), "copies are in the clusters they are copies of"
        assert twice[name].n == 2 * once[name].n


def test_perfect_predictions_are_perfect() -> None:
    notes, answers = make_world(40, 2, 1.0)
    found = score_arm(answers, notes, [DRUGS])["medication"]
    for name in ("precision", "recall", "f1", "joint_f1", "f1_macro", "record_exact", "abstention_specificity"):
        assert (found[name].value, found[name].high) == (1, 1)
        assert 0.5 < (found[name].low or 0) < 1, "never a zero width"
    for name in ("confabulation_rate", "false_abstention_rate", "truncated_rate"):
        assert (found[name].value, found[name].low) == (0, 0)


def test_agreement_takes_the_reference_for_gold() -> None:
    notes = by_id(*(record(name) for name in "abcd"))
    answers = {"a": "Yasadol | stop\nFebenor | start", "b": "None found", "c": "no format"}
    teacher = [said(name, text, arm="teacher") for name, text in answers.items()]
    student = [said("a", "Yasadol | start"), said("b", "None found"), said("c", "None found"), said("d", "None found")]
    found = agreement(student, teacher, notes, [DRUGS])["medication"]
    assert list(found) == list(AGREEMENT)
    assert (found["teacher_f1"].value, found["teacher_joint_f1"].value) == (pytest.approx(2 / 3), 0)
    assert found["teacher_f1"].unscored == 2, "one broken reference, one missing"
    same = agreement(teacher[:2], teacher, notes, [DRUGS])["medication"]
    assert same["teacher_joint_f1"].value == 1


def test_differences_in_agreement_come_with_a_reference() -> None:
    notes = by_id(*(record(name) for name in "abcdef"))
    teacher, student, base = (
        [said(name, text, arm=arm) for name in notes]
        for arm, text in (("teacher", "Yasadol | stop"), ("student", "Yasadol | stop"), ("base", "Masetec | stop"))
    )
    found = difference(student, base, notes, [DRUGS], reference_predictions=teacher)["medication"]
    assert (found["teacher_joint_f1"].value, found["teacher_joint_f1"].high) == (1, 1)
    assert found["joint_f1"].value is None


def test_scoring_four_tasks_on_200_charts_is_fast() -> None:
    rng = random.Random(8)
    statuses = ("start", "continue", "change", "stop", "hold", "past", "avoid", "given-once")
    tasks = [DRUGS.model_copy(update={"statuses": statuses}), TESTS]
    tasks += [TESTS.model_copy(update={"name": name, "item": name}) for name in ("diagnosis", "prognosis")]
    notes: dict[str, Record] = {}
    answers: list[Prediction] = []
    for number in range(200):
        chart = write_chart(rng, "heldout")
        gold = {task: tuple(Item(text=a, status=b) for a, b in found) for task, found in chart.gold.items()}
        name = f"r{number}"
        notes[name] = record(name).model_copy(update={"text": chart.text, "gold": gold})
        for task in tasks:
            made_up = Item(text="Qwxyzolam forte", status="stop" if task.statuses else None)
            found = (*gold[task.name], made_up) if rng.random() < 0.5 else gold[task.name]
            answers.append(said(name, "", task).model_copy(update={"items": found}))
    started = time.process_time()
    scores = score_arm(answers, notes, tasks)
    assert time.process_time() - started < 10, "about 1 s on a free core"
    assert scores[ALL_TASKS]["recall"].value == 1
    assert 0.1 < (scores[ALL_TASKS]["invented_rate"].value or 0) < 0.5
