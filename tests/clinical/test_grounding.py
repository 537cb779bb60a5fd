"""Oracle cases for item keys and alignment; offsets are checked against the text they point into."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartdistill.clinical.entities import entity_named, entity_of
from chartdistill.clinical.text.grounding import locate
from chartdistill.demo.charts import write_chart
from chartdistill.prompting.answer_format import plain_key, says_none
from chartdistill.schema import Item, Task

DRUGS = Task(
    name="medication",
    item="medication",
    statuses=("start", "stop"),
    gate_question="Any?",
    extraction_question="Which?",
    question="List.",
)
OUTLOOK = Task(name="prognosis", item="prognosis", gate_question="Any?", extraction_question="Which?", question="List.")
NOTE = "PLAN: Stop Yasadol 20 mg daily.\nBegin prednisolone.  Outlook: he will recover fully within two weeks."


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ("Yasadol", "Yasadol"),
        ("YASADOL 20 MG", "Yasadol 20 mg"),
        ("Yasadol.", "Yasadol"),
        ("daily. begin", "daily.\nBegin"),
        ("will  recover\nfully", "will recover fully"),
    ],
)
def test_the_same_words_are_exact_in_any_case_and_white_space(item: str, found: str) -> None:
    place = locate(item, NOTE)
    assert place is not None
    assert (place.how, place.score, NOTE[place.start : place.end]) == ("exact", 100.0, found)


@pytest.mark.parametrize("item", ["sadol", "Yasa", "ill", "Febenor", "", " . ", "20 mgs of Febenor"])
def test_part_of_a_word_and_absent_items_are_not_located(item: str) -> None:
    assert locate(item, NOTE) is None


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ("Yasadoll", "Yasadol"),
        ("will recover fuly within two weeks", "will recover fully within two weeks"),
        ("he will recover fully in two weeks", "he will recover fully within two weeks"),
    ],
)
def test_a_slip_is_located_as_fuzzy_on_word_boundaries(item: str, found: str) -> None:
    place = locate(item, NOTE)
    assert place is not None
    assert place.how == "fuzzy"
    assert 90 <= place.score < 100
    assert NOTE[place.start : place.end] == found


def test_a_like_name_or_another_number_is_not_a_slip() -> None:
    assert locate("prednisone", NOTE) is None, "two letters from prednisolone, 91% alike: another drug"
    assert locate("Yasadol 200 mg daily", NOTE) is None, "another dose, 97% alike"


def test_the_threshold_moves_and_turns_off_the_fuzzy_step() -> None:
    assert locate("recover wholly within two weeks", NOTE, threshold=80) is not None
    assert locate("recover wholly within two weeks", NOTE, threshold=95) is None
    assert locate("Yasadoll", NOTE, threshold=101) is None
    assert locate("Yasadol", NOTE, threshold=101) is not None


def test_offsets_hold_where_lower_case_is_longer() -> None:
    text = "İİİ note: Take YASADOL."
    place = locate("yasadol", text)
    assert place is not None
    assert text[place.start : place.end] == "YASADOL"


def test_a_drug_is_located_without_its_dose_and_a_prognosis_is_not_shortened() -> None:
    place = entity_of(DRUGS).locate("Yasadol 400 mg b.i.d.", NOTE)
    assert place is not None
    assert NOTE[place.start : place.end] == "Yasadol"
    assert entity_of(OUTLOOK).locate("recover fully daily", NOTE) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Yasadol 20 mg daily", "yasadol"),
        ("Yasadol 12.5 mg p.o. b.i.d.", "yasadol"),
        ("Yasadol, 2 tablets by mouth twice a day as needed", "yasadol"),
        ("Yasadol 10 units subcutaneously at bedtime", "yasadol"),
        ("Yasadol 5 mg/kg IV q8h", "yasadol"),
        ("Yasadol (20 mg)", "yasadol"),
        ("oral contraceptive", "oral contraceptive"),
        ("vitamin B12", "vitamin b12"),
        ("insulin 70/30", "insulin 70/30"),
        ("Yasadol 1% cream", "yasadol 1% cream"),
        ("daily", "daily"),
        ("  The  YASADOL. ", "the yasadol"),
    ],
)
def test_drug_keys(text: str, key: str) -> None:
    assert entity_of(DRUGS).key(text) == key


def test_sodium_is_a_test_and_not_a_spelling_of_none() -> None:
    tests = OUTLOOK.model_copy(update={"name": "tests", "item": "test"})
    assert not says_none("Na", tests)
    assert not says_none("No recurrence", OUTLOOK)
    assert says_none("N/A", tests)
    assert says_none("No tests", tests)


def test_a_runaway_item_is_only_located_exactly() -> None:
    assert locate("word " * 60 + "wrod", "word " * 61) is None
    assert locate("word " * 61, "word " * 61) is not None


def test_other_tasks_keep_every_word() -> None:
    assert entity_of(OUTLOOK).key("Pain at night") == "pain at night"
    assert plain_key("Straße ") == plain_key("STRASSE.")


def test_a_hostile_item_takes_no_time() -> None:
    started = time.process_time()
    for text in ("1," * 20_000, "a" + " 1 mg" * 10_000 + " x", "a" + " po" * 20_000 + " x", "(" * 40_000):
        entity_of(DRUGS).key(text)
    assert time.process_time() - started < 5


@given(st.text(max_size=60), st.text(max_size=200))
def test_what_is_located_lies_in_the_record_and_reads_like_the_item(item: str, record: str) -> None:
    place = locate(item, record)
    if place is not None:
        assert 0 <= place.start < place.end <= len(record)
        assert place.how == "fuzzy" or len(record[place.start : place.end]) <= len(item)
        assert 90 <= place.score <= 100


@given(st.text(max_size=80))
def test_keys_are_stable(text: str) -> None:
    assert plain_key(f" {text.upper()}. ") == plain_key(text.upper())
    assert plain_key(plain_key(text)) == plain_key(text)


def test_every_gold_item_of_the_demo_charts_is_located_exactly_once_filed() -> None:
    rng = random.Random(5)
    for _ in range(100):
        chart = write_chart(rng, "train")
        for items in chart.gold.values():
            for text, _ in items:
                place = locate(text, chart.text)
                assert place is not None
                assert chart.text[place.start : place.end] == text


@pytest.mark.parametrize(
    ("kind", "item", "chart", "stands_as"),
    [
        ("diagnosis", "hypertension", "PMH: HTN, gout.", "HTN"),
        ("diagnosis", "CHF", "History of congestive heart failure.", "congestive heart failure"),
        ("diagnosis", "COPD", "Chronic obstructive pulmonary disease.", "Chronic obstructive pulmonary disease"),
        ("diagnosis", "type 2 diabetes", "T2DM", "T2DM"),
        ("diagnosis", "atrial fibrillation", "A-fib with RVR", "A-fib"),
        ("diagnosis", "shortness of breath", "She began to sob.", None),
        ("diagnosis", "pulmonary embolism", "PE: lungs clear.", None),
        ("test", "urinalysis", "UA was sent.", "UA"),
        ("test", "CXR", "Will obtain chest x-ray.", "chest x-ray"),
        ("test", "liver function tests", "Check LFTs.", "LFTs"),
        ("test", "HbA1c", "Recheck A1c in May.", "A1c"),
        ("test", "ultrasound", "Give us a call.", None),
        ("test", "CT", "Her cat scratched her.", None),
    ],
)
def test_a_second_name_that_scores_know_bears_an_item_out(
    kind: str, item: str, chart: str, stands_as: str | None
) -> None:
    found = entity_named(kind).evidence(item, chart, 90, "auto", None)
    assert (None if found is None else chart[found.start : found.end]) == stands_as


def test_what_is_denied_under_a_second_name_is_denied() -> None:
    kind = entity_named("diagnosis")
    for chart, reason in (("No HTN.", "negated"), ("Mother has HTN.", "family_member"), ("HTN, gout.", None)):
        found = kind.contradiction(Item(text="hypertension"), chart, (), "auto")
        assert (found and found.reason) == reason
    done = entity_named("test").objection("complete blood count", "CBC was normal.", "auto", True)
    assert done is not None and done.reason == "already_done"
