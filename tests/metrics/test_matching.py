"""Items paired one to one, statuses first, as many as can be; optional gold counts neither way."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.clinical.entities import entity_of
from chartdistill.metrics import score_arm
from chartdistill.metrics.pairing import each_once, is_exact, pair_up
from chartdistill.schema import Item
from metrics_cases import DRUGS, TESTS, items, record, said, values


def counts(emitted: list[Item] | tuple[Item, ...], gold: list[Item] | tuple[Item, ...]) -> tuple[int, int]:
    pairs = pair_up(emitted, gold, entity_of(DRUGS)).pairs
    return len(pairs), sum(emitted[said].status == gold[meant].status for said, meant in pairs)


def test_statuses_are_matched_first_and_one_to_one() -> None:
    gold = items("Yasadol | stop\nYasadol 10 mg | start")
    assert counts(items("Yasadol | start"), gold) == (1, 1)
    assert counts(items("Yasadol | start\nYASADOL | continue\nyasadol. | start"), gold) == (2, 1)


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["start", "stop"])), max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_matching_is_maximal(pairs: list[tuple[str, str]], data: st.DataObject) -> None:
    """Held against every assignment there is."""
    others = data.draw(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["start", "stop"])), max_size=5))
    emitted, gold = ([Item(text=text, status=status) for text, status in side] for side in (pairs, others))
    short, long = sorted((emitted, gold), key=len)
    best = max(
        (
            sum(a.text == b.text for a, b in zip(short, order, strict=False)),
            sum(a == b for a, b in zip(short, order, strict=False)),
        )
        for order in permutations(long, len(short))
    )
    assert counts(emitted, gold) == best


def test_sameness_that_does_not_carry_over_is_still_matched_as_far_as_can_be() -> None:
    """The first said could take either, the second only one of them: taking greedily loses a pair."""
    alike = {("a", "x"), ("a", "y"), ("b", "x")}
    emitted, gold = ([Item(text=text) for text in side] for side in ("ab", "xy"))
    found = pair_up(emitted, gold, entity_of(TESTS), same=lambda one, other: (one, other) in alike)
    assert set(found.pairs) == {(0, 1), (1, 0)}


def test_optional_gold_counts_neither_way() -> None:
    eeg, maybe = Item(text="EEG"), Item(text="sleep study", optional=True)
    notes = {name: record(name).model_copy(update={"gold": {"tests": (eeg, maybe)}}) for name in "abc"}
    plain = {name: record(name).model_copy(update={"gold": {"tests": (eeg,)}}) for name in "abc"}
    listing = {"a": "EEG\nsleep study", "b": "sleep study", "c": "EEG\nHeadache"}
    leaving = {"a": "EEG", "b": "None found", "c": "EEG\nHeadache"}
    one, two = (
        values(score_arm([said(name, text, TESTS) for name, text in answers.items()], of, [TESTS]), "tests")
        for answers, of in ((listing, notes), (leaving, plain))
    )
    apart = {"false_abstention_rate", "none_rate", "items_per_record", "duplicate_rate"}
    for name, value in two.items():
        if name not in apart:
            assert one[name] == value, name
    assert (one["false_abstention_rate"], one["items_per_record"]) == (0, 5 / 3), "an item that is listed is listed"


def test_a_record_with_optional_gold_alone_says_nothing_of_abstention() -> None:
    maybe = Item(text="EEG", optional=True)
    notes = {"a": record("a").model_copy(update={"gold": {"tests": (maybe,)}}), "b": record("b", tests="None found")}
    for text in ("None found", "EEG"):
        scores = score_arm([said("a", text, TESTS), said("b", "None found", TESTS)], notes, [TESTS])["tests"]
        assert (scores["abstention_specificity"].n, scores["false_abstention_rate"].n) == (1, 0)
        assert scores["record_exact"].value == 1
    wrong = values(score_arm([said("a", "Headache", TESTS)], notes, [TESTS]), "tests")
    assert (wrong["record_exact"], wrong["precision"], wrong["confabulation_rate"]) == (0, 0, 1)


def test_an_optional_item_takes_nothing_from_one_that_is_wanted() -> None:
    gold = [Item(text="Yasadol", status="continue", optional=True), Item(text="Yasadol", status="stop")]
    notes = {"a": record("a").model_copy(update={"gold": {"medication": tuple(gold)}})}
    found = values(score_arm([said("a", "Yasadol | stop\nYasadol | continue")], notes, [DRUGS]))
    assert (found["joint_f1"], found["confabulation_rate"], found["stop_as_continue_rate"]) == (1, 0, 0)


def test_gold_that_lists_a_thing_twice_wants_it_once() -> None:
    entity = entity_of(DRUGS)
    gold = items("Yasadol | stop\nyasadol | stop\nYasadol 10 mg | stop\nZebtor | start")
    charts = {"a": record("a").model_copy(update={"gold": {DRUGS.name: gold}})}
    for answer in ("Yasadol | stop\nZebtor | start", "Yasadol | stop\nyasadol | stop\nZebtor | start"):
        scores = values(score_arm([said("a", answer)], charts, [DRUGS]))
        assert scores["recall"] == scores["precision"] == scores["record_exact"] == 1
        assert is_exact(items(answer), gold, entity)
    twice = items("Yasadol | stop\nYasadol | start")
    assert each_once(twice, twice, entity) == (twice, twice)


def test_repeats_in_gold_excuse_no_other_status_and_no_more_repeats() -> None:
    once, twice = items("Yasadol | stop"), items("Yasadol | stop\nyasadol | stop")
    charts = {name: record(name).model_copy(update={"gold": {DRUGS.name: gold}})
              for name, gold in (("once", once), ("twice", twice))}  # fmt: skip
    for answer in ("Yasadol | stop\nYasadol | start", "Yasadol | continue\nYasadol | start"):
        figures = [values(score_arm([said(name, answer)], {name: charts[name]}, [DRUGS])) for name in charts]
        assert figures[0] == figures[1] and figures[0]["precision"] == 0.5
        assert not is_exact(items(answer), twice, entity_of(DRUGS))
    assert not is_exact(items("Yasadol | stop\nyasadol | stop\nYASADOL | stop"), twice, entity_of(DRUGS))
