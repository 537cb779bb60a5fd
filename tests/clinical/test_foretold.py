"""When two forecasts say the same, and what a forecast foretells."""

from __future__ import annotations

import pytest

from chartdistill.clinical.entities import entity_named
from chartdistill.clinical.text.foretold import foretold, say_the_same
from chartdistill.metrics import score_arm
from chartdistill.schema import Item, Prediction, Record, Task

SAME = [
    ("life expectancy less than 6 months", "life expectancy is less than six months"),
    ("life expectancy of weeks to months", "life expectancy is weeks to months"),
    ("his prognosis is poor", "prognosis is poor"),
    ("The patient's prognosis is extremely poor", "overall prognosis is extremely poor"),
    ("expected to recover fully", "a full recovery is expected"),
    ("Prognosis: good", "good prognosis"),
    ("he will likely need dialysis", "likely to need dialysis"),
    ("expected to improve over the next six weeks", "should improve within 6 weeks"),
    ("not expected to recover", "unlikely to recover"),
    ("recovery is not expected", "not expected to recover"),
    ("prognosis is guarded", "guarded"),
    ("life expectancy of 3 to 6 months", "life expectancy is 3-6 months"),
    ("symptoms should resolve in 2 weeks", "symptoms will resolve within 14 days"),
    ("won't recover", "will not recover"),
    ("he is unlikely to walk again", "not expected to walk again"),
    ("outcome should be excellent", "an excellent outcome is expected"),
]
NEVER = [
    ("life expectancy less than 6 months", "life expectancy more than 6 months"),
    ("life expectancy is at most six months", "life expectancy is at least six months"),
    ("<6 months to live", ">6 months to live"),
    ("life expectancy of months", "life expectancy of years"),
    ("life expectancy of days to weeks", "life expectancy of weeks to months"),
    ("risk of recurrence is negligible", "risk of recurrence is substantial"),
    ("expected to recover", "not expected to recover"),
    ("prognosis is good", "prognosis is poor"),
    ("expected to improve in 6 weeks", "expected to improve in 6 months"),
    ("high risk of stroke", "low risk of stroke"),
    ("he will recover", "he will die"),
    ("recovery is expected", "recovery is unlikely"),
    ("survival of 3 months", "survival of 6 months"),
    ("will improve", "will not improve"),
    ("full recovery", "partial recovery"),
    ("left arm function will return", "right arm function will return"),
    ("prognosis fair", "prognosis guarded"),
    ("will be able to walk", "will be unable to walk"),
    ("expected to worsen", "expected to improve"),
    ("can't return to work", "can return to work"),
    ("expected to recover", "never expected to recover"),
    ("permanent weakness", "temporary weakness"),
    ("No recurrence is expected", "recurrence is expected"),
    ("Prognosis is excellent for recovery", "prognosis for recovery is poor"),
    ("the cancer will recur", "the cancer will not recur"),
    ("prognosis is fair", "prognosis is poor"),
    ("expected to live two years", "expected to live two months"),
    ("will not need dialysis", "will need dialysis"),
    ("needs no surgery", "will need surgery"),
    ("he will do well", "he will do poorly"),
]
FORETOLD = [
    ("his prognosis is poor", "poor"),
    ("excellent prognosis", "good"),
    ("expected to recover fully", "good"),
    ("not expected to recover", "poor"),
    ("life expectancy of 3 months", "time"),
    ("high risk of stroke", "high risk"),
    ("risk of recurrence", "risk"),
    ("good chance of recovery", "good"),
    ("low chance of recovery", "poor"),
    ("chance of recovery is small", "poor"),
    ("prognosis is uncertain", "uncertain"),
    ("will likely worsen", "poor"),
    ("unlikely to improve", "poor"),
    ("healing takes six weeks", "good"),
    ("prognosis is not good", "poor"),
    ("guarded outlook", "guarded"),
    ("should do well", "good"),
    ("weakness will be permanent", "time"),
    ("he will walk", None),
    ("improving steadily", "good"),
    ("will need surgery", None),
    ("no recurrence is expected", "low risk"),
]
FORECASTS = Task(name="prognosis", item="prognosis", gate_question="?", extraction_question="?", question="?")


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_forecast_in_other_words(one: str, other: str) -> None:
    assert say_the_same(one, other) and say_the_same(other, one)
    assert entity_named("prognosis").same(one, other)


@pytest.mark.parametrize(("one", "other"), NEVER)
def test_opposites_denials_and_other_times_never_match(one: str, other: str) -> None:
    assert not say_the_same(one, other) and not say_the_same(other, one)
    assert not entity_named("prognosis").same(one, other)


@pytest.mark.parametrize(("text", "what"), FORETOLD)
def test_what_is_foretold(text: str, what: str | None) -> None:
    assert foretold(text) == what


def test_a_pair_needs_the_stated_share_of_its_words() -> None:
    """2 * shared / (words of one + words of the other), at least 0.6."""
    assert say_the_same("will regain sensation slowly", "will regain sensation")  # 4 / 5
    assert say_the_same("will regain grip strength", "will regain grip")  # 4 / 5
    assert not say_the_same("will regain grip strength", "will regain vision")  # 2 / 5
    assert not say_the_same("will regain grip", "will regain vision")  # 2 / 4


def test_forecasts_match_one_to_one_and_by_what_they_foretell() -> None:
    def scored(gold: list[str], said: list[str]) -> dict[str, float | None]:
        record = Record(id="a", source="a", text="", cluster="a", split="test", segments=(),
                        gold={"prognosis": tuple(Item(text=text) for text in gold)})  # fmt: skip
        items = tuple(Item(text=text) for text in said)
        answer = Prediction(key="", record="a", task="prognosis", arm="x", completion="\n".join(said), items=items)
        found = score_arm([answer], {"a": record}, [FORECASTS])["prognosis"]
        return {name: estimate.value for name, estimate in found.items()}

    reworded = scored(["prognosis is poor"], ["His prognosis is extremely poor"])
    assert (reworded["f1"], reworded["confabulation_rate"], reworded["foretold_f1"]) == (1, 0, 1)
    assert (reworded["string_f1"], reworded["string_confabulation_rate"]) == (0, 1)
    twice = scored(["prognosis is poor"], ["His prognosis is poor", "The prognosis is very poor"])
    assert (twice["precision"], twice["recall"], twice["duplicate_rate"]) == (0.5, 1, 0.5)
    other_words = scored(["expected to make a full recovery"], ["prognosis is excellent"])
    assert (other_words["f1"], other_words["foretold_f1"]) == (0, 1)
    opposite = scored(["expected to recover"], ["not expected to recover"])
    assert (opposite["f1"], opposite["foretold_f1"], opposite["confabulation_rate"]) == (0, 0, 1)


def test_a_line_drawn_in_digits_is_no_time() -> None:
    assert foretold(f"expected to live {'9' * 5000} months") == foretold(f"expected to live {'9' * 20} months")
