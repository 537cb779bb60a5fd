"""How a drug is taken, scored against the gold that says it."""

from __future__ import annotations

import pytest

from chartdistill.clinical.entities import entity_named
from chartdistill.metrics import METRICS, score_arm
from chartdistill.metrics.dosage_counting import AttributeCounts, dosage_counts
from chartdistill.metrics.pairing import pair_up
from chartdistill.schema import Item
from metrics_cases import DRUGS, TESTS, by_id, record, said, values

DRUG = entity_named("medication")


def counts(said_items: list[tuple[str, str | None]], gold: list[tuple[str, str | None]]) -> dict[str, AttributeCounts]:
    sides = [[Item(text=text, status=status) for text, status in side] for side in (said_items, gold)]
    return dict(dosage_counts(sides[0], sides[1], DRUG, pair_up(sides[0], sides[1], DRUG).pairs))


def test_each_attribute_that_gold_gives_is_right_wrong_or_missing() -> None:
    gold = [("Yasadol 1 g PO BID for 2 weeks", None), ("Bisolukast 5 mg prn", None), ("Febenor", None)]
    answer = [("yasadol 1000 mg q12h x 14 days", None), ("Bisolukast 5 mcg daily", None), ("Febenor 3 mg", None)]
    assert counts(answer, gold) == {
        "dose": AttributeCounts(right=1, wrong=1),
        "route": AttributeCounts(missing=1),
        "frequency": AttributeCounts(right=1),
        "duration": AttributeCounts(right=1),
        "as_needed": AttributeCounts(missing=1),
    }


def test_items_that_do_not_match_count_nothing() -> None:
    assert counts([("Yasadol 5 mg", None)], [("Bisolukast 5 mg", None)]) == {}


def test_of_two_items_of_one_drug_each_is_compared_with_its_own() -> None:
    gold = [("Yasadol 5 mg", "stop"), ("Yasadol 10 mg", "start")]
    assert counts([("Yasadol 10 mg", "start"), ("Yasadol 5 mg", "stop")], gold) == {"dose": AttributeCounts(right=2)}
    swapped = [("Yasadol 5 mg", "start"), ("Yasadol 10 mg", "stop")]
    assert counts(swapped, gold) == {"dose": AttributeCounts(wrong=2)}


def test_the_shares_add_up_and_tasks_about_other_things_have_none() -> None:
    notes = by_id(
        record("a", medication="Yasadol 5 mg daily | stop\nFebenor 2 mg IV | start", tests="EEG"),
        record("b", medication="Bisolukast 10 mg | stop", tests="EEG"),
    )
    answers = [
        said("a", "Yasadol 5 mg twice daily | stop\nFebenor 2 mg | start"),
        said("b", "Bisolukast .01 g | start"),
        said("a", "EEG", TESTS),
    ]
    scores = score_arm(answers, notes, [DRUGS, TESTS])
    found = values(scores)
    assert [found[f"dosage_{what}_rate"] for what in ("right", "wrong", "missing")] == pytest.approx(
        [3 / 5, 1 / 5, 1 / 5]
    )
    assert [scores["medication"][name].n for name in ("dosage_right_rate", "dose_right_rate")] == [5, 3]
    assert (found["dose_right_rate"], found["dose_wrong_rate"], found["frequency_right_rate"]) == (1, 0, 0)
    assert found["route_right_rate"] == 0
    assert found["duration_right_rate"] is None
    assert all(scores["tests"][name].value is None for name in METRICS if name.startswith("dosage_"))
