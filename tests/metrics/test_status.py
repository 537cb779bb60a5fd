"""Statuses, details and the mix-ups that do harm, against a case worked by hand."""

from __future__ import annotations

import pytest

from chartdistill.metrics import METRICS, score_arm
from chartdistill.schema import Item
from four_drugs import DRUGS, TESTS, note, said


def test_statuses_details_and_harm_of_a_case_worked_by_hand() -> None:
    records = {
        "a": note("a", "Yasadol | stop\nFebenor | start\nMasetec | continue\nTirolix | hold"),
        "b": note("b", "Yasadol | stop\nTirolix | hold"),
    }
    answers = [
        said("a", "Yasadol 20 mg | continue\nFebenor 50 mg | start\nMasetec 50 mg daily | continue"),
        said("b", "Yasadol | stop\nTirolix | continue"),
    ]
    found = score_arm(answers, records, [DRUGS])["medication"]
    # Of stop: 1 right, 1 emitted, 2 in gold. start: 1, 1, 1. continue: 1, 3, 1. hold: 0, 0, 2.
    expected = {
        "status_accuracy": (3 / 5, 5),
        "status_f1_macro": ((2 / 3 + 2 / 2 + 2 / 4 + 0 / 2) / 4, 6),
        "stop_as_continue_rate": (1 / 2, 2),
        "hold_as_continue_rate": (1 / 2, 2),
        "hold_as_continue_rate_of_named": (1 / 1, 1),
        "harmful_status_rate": (2 / 5, 5),
        "harmful_status_rate_of_named": (2 / 4, 4),
        "attribute_error_rate": (1 / 3, 3),
        "raw_f1": (2 * 2 / 11, 6),
    }
    for name, (value, n) in expected.items():
        assert (found[name].value, found[name].n) == (pytest.approx(value), n), name
    assert found["avoid_as_start_rate"].value is None


def harm(gold: str, answer: str) -> tuple[float | None, int]:
    found = score_arm([said("a", answer)], {"a": note("a", gold)}, [DRUGS])["medication"]["harmful_status_rate"]
    return found.value, found.n


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("Yasadol | stop", "Yasadol | stop\nYasadol | continue"),
        ("Yasadol | stop", "Yasadol | continue\nYasadol | stop\nyasadol 20 mg | stop"),
        ("Yasadol | stop", "Yasadol 20 mg | stop\nYasadol 40 mg | start"),
        ("Yasadol | stop", "Yasadol | change"),
        ("Yasadol | avoid", "Yasadol | continue"),
        ("Yasadol | avoid", "Yasadol | given-once"),
        ("Yasadol | hold", "Yasadol | hold\nYasadol | start"),
        ("Yasadol | past", "Yasadol | start"),
        ("Yasadol | continue", "Yasadol | continue\nYasadol | stop"),
    ],
)
def test_harm_is_any_item_of_the_drug_with_a_harmful_status(gold: str, answer: str) -> None:
    """A drug listed as stopped and as continued is one that is taken, though one of the two is right."""
    assert harm(gold, answer) == (1, 1)


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("Yasadol | stop", "Yasadol | hold", (0, 1)),
        ("Yasadol | continue", "Yasadol | hold", (0, 1)),
        ("Yasadol | continue", "Yasadol | start\nYasadol | change", (0, 1)),
        ("Yasadol | hold", "Yasadol | stop", (0, 1)),
        ("Yasadol | stop\nYasadol | start", "Yasadol | stop\nYasadol | start", (0, 1)),
        ("Yasadol | stop\nYasadol | start", "Yasadol | start", (0, 1)),
        ("Yasadol | stop\nFebenor | continue", "Febenor | continue", (0, 2)),
        ("Yasadol | start", "Yasadol | stop", (None, 0)),
    ],
)
def test_what_does_no_harm(gold: str, answer: str, expected: tuple[float | None, int]) -> None:
    assert harm(gold, answer) == expected


def test_harm_is_the_same_however_often_an_item_is_said() -> None:
    gold = "Yasadol | stop\nTirolix | hold\nMasetec | continue"
    once = "Yasadol | continue\nTirolix | hold\nMasetec | continue"
    often = once + "".join(f"\nYasadol {dose} mg | {status}" for dose in range(1, 9) for status in ("continue", "stop"))
    one, two = (score_arm([said("a", text)], {"a": note("a", gold)}, [DRUGS])["medication"] for text in (once, often))
    for name in METRICS:
        if "_as_" in name or "harmful" in name:
            assert (one[name].value, one[name].n) == (two[name].value, two[name].n), name


def test_leaving_drugs_out_does_not_help_among_those_listed() -> None:
    gold = "\n".join(f"{name} | stop" for name in ("Yasadol", "Febenor", "Masetec", "Tirolix"))
    found = score_arm([said("a", "Yasadol | continue")], {"a": note("a", gold)}, [DRUGS])["medication"]
    assert (found["stop_as_continue_rate"].value, found["stop_as_continue_rate"].n) == (1 / 4, 4)
    assert (found["stop_as_continue_rate_of_named"].value, found["stop_as_continue_rate_of_named"].n) == (1, 1)


def test_what_a_kind_without_statuses_cannot_get_wrong_is_undefined_and_not_pooled() -> None:
    """Items of tests can contradict nothing; as zeros they would halve the rate of all tasks."""
    records = {"a": note("a", "Yasadol | stop").model_copy(
        update={"gold": {"medication": (Item(text="Yasadol", status="stop"),), "tests": (Item(text="EEG"),)}}
    )}  # fmt: skip
    tests = said("a", "").model_copy(update={"task": "tests", "completion": "EEG", "items": (Item(text="EEG"),)})
    found = score_arm([said("a", "Yasadol | continue"), tests], records, [DRUGS, TESTS])
    for name in ("contradicted_rate", "status_accuracy", "harmful_status_rate", "status_f1_macro"):
        assert (found["tests"][name].value, found["tests"][name].n) == (None, 0), name
        assert (found["all"][name].value, found["all"][name].n) == (
            found["medication"][name].value, found["medication"][name].n,
        ), name  # fmt: skip
    assert found["all"]["contradicted_rate"].value == 1
