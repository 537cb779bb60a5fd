"""Each reason code on a label that earns it, beside a like label that does not."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from chartdistill.clinical.lexica.drugs import is_installed
from chartdistill.curation.filters import (
    DEFAULT_FILTERS,
    Aberration,
    AnyFilter,
    Duplicates,
    Format,
    Grounding,
    LabelStatistics,
    Status,
    Truncation,
    survey,
)
from chartdistill.curation.label_statistics import norm_of
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.schema import Item, Task
from filter_cases import DRUGS, RECORD, check, label, reasons

OUTLOOK = Task(name="prognosis", item="prognosis", gate_question="Any?", extraction_question="Which?", question="List.")
DISEASES = Task(
    name="diagnosis", item="diagnosis", gate_question="Any?", extraction_question="Which?", question="List."
)


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("None", "none_spelling"),
        ("none found", "none_spelling"),
        ("None found.", "none_spelling"),
        ("N/A", "none_spelling"),
        ("No medications", "none_spelling"),
        ("No current medications found in the chart.", "none_spelling"),
        ("Not applicable", "none_spelling"),
        ("none | stop", "none_spelling"),
        ("Yasadol | stop\nNone found", "none_spelling"),
        ("Yasadol | ended", "unknown_status"),
        ("Yasadol | Stop", "unknown_status"),
        ("Yasadol", "missing_field"),
        ("Yasadol | ", "missing_field"),
        ("Yasadol | stop\n\nFebenor | start", "missing_field"),
        ("Yasadol | 20 mg | stop", "bad_format"),
        ("Yasadol <|im_end|> | stop", "bad_format"),
    ],
)
def test_format_names_what_is_wrong_with_an_answer(completion: str, reason: str) -> None:
    found = check(Format(), label(completion))
    assert reasons(found) == [reason]
    assert found[0].item is None
    assert found[0].filter == "format"


@pytest.mark.parametrize(
    "completion", ["None found", " None found\n", "Yasadol | stop", "Yasadol | stop\nFebenor | start"]
)
def test_format_lets_answers_pass(completion: str) -> None:
    assert check(Format(), label(completion)) == []


def test_format_finds_spellings_of_none_that_parse_as_items() -> None:
    assert reasons(check(Format(), label("None"), OUTLOOK)) == ["none_spelling"]
    assert reasons(check(Format(), label("No prognosis stated"), OUTLOOK)) == ["none_spelling"]
    assert check(Format(), label("No recurrence is expected"), OUTLOOK) == []


def test_format_reports_a_failure_and_not_its_empty_answer() -> None:
    found = check(Format(), label(None, failure="engine: timeout"))
    assert reasons(found) == ["failed"]
    assert found[0].evidence == "engine: timeout"


@pytest.mark.parametrize(
    ("gate", "completion", "expected"),
    [
        ("yes", "Yasadol | stop", []),
        ("no", "None found", []),
        ("yes", "None found", ["yes_with_none"]),
        ("no", "Yasadol | stop", ["no_with_items"]),
        ("unclear", "Yasadol | stop", ["gate_unclear"]),
        (None, "None found", []),
    ],
)
def test_gate_and_list_must_go_together(
    gate: Literal["yes", "no", "unclear"] | None, completion: str, expected: list[str]
) -> None:
    assert reasons(check(Format(), label(completion, gate))) == expected


def test_a_cut_answer_is_rejected_however_well_it_reads() -> None:
    assert reasons(check(Truncation(), label("Yasadol | stop", finish_reason="length"))) == ["truncated"]
    assert check(Truncation(), label("Yasadol | stop")) == []


def test_an_invented_item_is_the_evidence_of_its_labels_rejection() -> None:
    found = check(Grounding(), label("Yasadol | stop\nBisolukast | start"))
    assert [(rejection.reason, rejection.item and rejection.item.text) for rejection in found] == [
        ("invented", "Bisolukast"),
        ("invented", None),
    ]


def test_dropping_an_item_leaves_the_label_alone() -> None:
    found = check(Grounding(on_item="drop_item"), label("Yasadol | stop\nBisolukast | start"))
    assert [rejection.item and rejection.item.text for rejection in found] == ["Bisolukast"]


def test_grounding_lets_items_of_the_record_pass() -> None:
    assert check(Grounding(), label("yasadol | stop\nFebenor 5 mg daily | start")) == []
    assert check(Grounding(), label("None found")) == []
    assert check(Grounding(), label("no answer")) == []


def test_a_dose_that_the_record_does_not_have_is_invented_too() -> None:
    found = check(Grounding(on_item="drop_item"), label("Yasadol 40 mg | stop"))
    assert reasons(found) == ["invented_number"]
    assert found[0].span == (0, len("Yasadol"))
    assert "40" in found[0].evidence


def test_the_fuzzy_threshold_decides_about_slips() -> None:
    assert check(Grounding(), label("Yasadoll | stop")) == []
    assert reasons(check(Grounding(fuzzy_threshold=101), label("Yasadoll | stop"))) == ["invented", "invented"]


def test_one_item_with_two_statuses_conflicts() -> None:
    found = check(Status(), label("Febenor | start\nfebenor. | continue\nYasadol | stop"))
    assert reasons(found) == ["conflicting_status"] * 3
    assert found[0].evidence == "listed as continue and start"
    assert [rejection.item is None for rejection in found] == [False, False, True]


def test_a_change_of_dose_and_a_repetition_are_no_conflict() -> None:
    assert check(Status(), label("Febenor 20 mg | continue\nFebenor 10 mg | start")) == []
    assert check(Status(), label("Yasadol | stop\nyasadol | stop")) == []


@pytest.mark.parametrize(
    "text",
    [
        "one two three four five six seven eight nine ten eleven twelve thirteen",
        "is there any?",
        "<tool_call> Yasadol",
        "Yasadol </s>",
        "Answer: Yasadol",
        "- Yasadol",
        "2. Yasadol",
        "20",
        "Yasa\x07dol",
    ],
)
def test_items_of_a_wrong_shape(text: str) -> None:
    assert reasons(check(Aberration(on_item="drop_item"), label(f"{text} | stop"))) == ["wrong_shape"]


@pytest.mark.parametrize("text", ["Yasadol", "vitamin B12", "5-aminosalicylic acid", "Yasadol 20 mg (at night)"])
def test_items_of_the_right_shape(text: str) -> None:
    assert check(Aberration(), label(f"{text} | stop")) == []


def test_a_prognosis_may_be_longer_than_a_drug() -> None:
    words = " ".join(["word"] * 20)
    assert check(Aberration(), label(words), OUTLOOK) == []
    assert reasons(check(Aberration(), label(words + " more"), OUTLOOK)) == ["wrong_shape"] * 2
    assert reasons(check(Aberration(max_words_by_task={}), label(words), OUTLOOK)) == ["wrong_shape"] * 2


def test_filters_are_read_from_yaml_by_type_and_unknown_keys_are_errors() -> None:
    adapter: TypeAdapter[AnyFilter] = TypeAdapter(AnyFilter)
    assert adapter.validate_python({"type": "grounding", "on_item": "drop_item"}) == Grounding(on_item="drop_item")
    for wrong in (
        {"type": "grounding", "on_items": "drop_item"},
        {"type": "shape"},
        {"type": "aberration", "max_words": 0},
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_a_good_label_passes_all_default_filters_and_each_type_is_there_once() -> None:
    good = label("Yasadol 20 mg | stop\nFebenor | start", "yes")
    assert [check(one, good) for one in DEFAULT_FILTERS] == [[]] * len(DEFAULT_FILTERS)
    types = "aberration abstention agreement duplicates format grounding kind status truncation verification"
    assert sorted(one.type for one in DEFAULT_FILTERS) == types.split()


@pytest.mark.parametrize(
    ("completion", "cut"),
    [
        ("Yasadol, Febenor,", True),
        ("Yasadol and", True),
        ("Yasadol 20 mg, Febe", True),  # the chart has "Begin Febenor"; see the record
        ("The chart says that the drug was stopped and another one was begun instead of", True),
        ("The outlook of this patient is good and the drug was stopped because of the", True),
        ("The patient was seen and the drug was stopped and another one begun", True),
        ("The patient was seen and the drug was stopped and another one begun.", False),
        ("Yasadol, Febenor", False),
        ("Vitamin A", False),
        ("None Found", False),
    ],
)
def test_a_cut_is_seen_in_the_text_where_nothing_else_says_so(completion: str, cut: bool) -> None:
    record = RECORD.model_copy(update={"text": "Yasadol 20 mg, Febenor 5 mg. Begin Febenor. Vitamin A."})
    given = label(completion, finish_reason=None)  # type: ignore[arg-type]
    found = Truncation().check(given, (), record, OUTLOOK)
    assert reasons(found) == ["truncated"] * cut
    assert Truncation().check(label(completion), (), record, OUTLOOK) == []  # the engine said it had finished


def test_an_answer_that_reaches_the_cap_between_two_items_is_incomplete_not_cut() -> None:
    drugs = [f"Drug{letter}{letter.lower()}ol {number} mg" for number, letter in enumerate("ABCDEFGHIJKLMNOP", 10)]
    record = RECORD.model_copy(update={"text": "Takes:\n" + "\n".join(drugs)})
    given = label("\n".join(drugs[:13]), finish_reason=None)  # type: ignore[arg-type]
    assert Truncation().check(given, (), record, DRUGS) == []


def test_an_answer_given_to_another_record_is_carried_over_only_where_it_does_not_fit() -> None:
    foreign = (Item(text="Bisolukast", status="start"), Item(text="Masetec", status="stop"))
    own = (Item(text="Yasadol", status="stop"),)
    run = survey([("r0", "t", foreign), ("r1", "t", foreign), ("r0", "t", own), ("r1", "t", own), ("r2", "t", None)])
    found = check(Duplicates(), label("Bisolukast | start\nMasetec | stop"), run=run)
    assert reasons(found) == ["carried_over"]
    assert "record r0" in found[0].evidence
    assert check(Duplicates(), label("Yasadol | stop"), run=run) == []
    assert check(Duplicates(), label("Bisolukast | start"), run=run) == []  # not the same answer
    assert check(Duplicates(), label("Bisolukast | start\nMasetec | stop")) == []  # nothing known of the run


@pytest.mark.skipif(not is_installed(), reason="the drug lexicon is not installed")
@pytest.mark.parametrize(
    ("chart", "answer", "task"),
    [("Takes Lasix daily.", "furosemide | continue", DRUGS), ("History of CAD.", "coronary artery disease", DISEASES)],
)
def test_an_answer_in_other_words_than_the_chart_is_not_carried_over(chart: str, answer: str, task: Task) -> None:
    told = RECORD.model_copy(update={"text": chart})
    run = survey((name, "t", parse_answer(answer, task)) for name in ("r0", "r1"))
    assert check(Duplicates(), label(answer), task, run, told) == []
    assert reasons(check(Duplicates(), label(answer), task, run)) == ["carried_over"]


@pytest.mark.skipif(not is_installed(), reason="the drug lexicon is not installed")
def test_a_long_list_in_other_words_than_the_chart_is_no_outlier() -> None:
    brands = (
        "Lasix Norvasc Zestril Lipitor Zocor Coumadin Plavix Prilosec Glucophage Synthroid Zoloft Neurontin".split()
    )
    names = (
        "furosemide amlodipine lisinopril atorvastatin simvastatin warfarin clopidogrel omeprazole metformin"
        " levothyroxine sertraline gabapentin"
    ).split()
    run = survey((f"r{number}", DRUGS.name, (Item(text="x", status="start"),)) for number in range(60))
    told = RECORD.model_copy(update={"text": "MEDICATIONS:\n" + "\n".join(brands)})
    listed = label("\n".join(f"{name} | continue" for name in names))
    assert check(Aberration(), listed, DRUGS, run, told) == []
    assert reasons(check(Aberration(), listed, DRUGS, run)) == ["outlier_count"]


def test_outliers_are_measured_against_the_run() -> None:
    usual = (Item(text="one two"), Item(text="one two"))
    run = survey((f"r{number}", "prognosis", usual) for number in range(60))
    many = label("\n".join(f"item {number}" for number in range(20)))
    assert reasons(check(Aberration(), many, OUTLOOK, run)) == ["outlier_count"]
    assert check(Aberration(), many, OUTLOOK) == []
    assert check(Aberration(max_score=20), many, OUTLOOK, run) == []
    long = label(" ".join(["word"] * 15))
    assert reasons(check(Aberration(on_item="drop_item"), long, OUTLOOK, run)) == ["outlier_length"]
    few = survey((f"r{number}", "prognosis", usual) for number in range(20))
    assert check(Aberration(), many, OUTLOOK, few) == []


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_a_norm_is_the_median_and_a_spread_of_at_least_one(values: list[int]) -> None:
    norm = norm_of(Counter(values))
    assert norm.median == statistics.median_low(values)
    deviations = [abs(value - statistics.median_low(values)) for value in values]
    assert norm.spread == pytest.approx(max(1.0, 1.4826 * statistics.median_low(deviations)))
    assert norm.number == len(values)


def test_an_alias_grounds_a_drug_and_a_keyword_does_not() -> None:
    record = RECORD.model_copy(update={"text": "Give acetaminophen."})
    task = DRUGS.model_copy(update={"statuses": ()})
    items = (Item(text="Tylenol"), Item(text="kidney stone"))
    run = LabelStatistics(removed={"r1": "urology, kidney stone, stent"})
    found = Grounding(on_item="drop_item").check(label("x"), items, record, task, run)
    assert [(one.reason, one.item and one.item.text) for one in found] == [("boilerplate", "kidney stone")]
    assert reasons(Grounding(lexicon="off", on_item="drop_item").check(label("x"), items, record, task)) == [
        "invented",
        "invented",
    ]


def test_free_text_is_grounded_by_its_words_where_that_is_asked_for() -> None:
    record = RECORD.model_copy(update={"text": "Chronic inflammation of the gall bladder. A stone is seen there."})
    item = (Item(text="chronic gall bladder inflammation"),)
    assert reasons(Grounding(on_item="drop_item").check(label("x"), item, record, OUTLOOK)) == ["invented"]
    assert Grounding(word_share=0.7).check(label("x"), item, record, OUTLOOK) == []
    other = (Item(text="acute perforation of the gall bladder"),)
    assert reasons(Grounding(word_share=0.7, on_item="drop_item").check(label("x"), other, record, OUTLOOK)) == [
        "invented"
    ]


def test_a_long_list_whose_items_stand_in_the_record_is_no_outlier() -> None:
    names = [f"Item{letter} agent" for letter in "abcdefghijklmnopqrst"]
    run = survey((f"r{number}", "prognosis", (Item(text="one two"),) * 2) for number in range(60))
    told = RECORD.model_copy(update={"text": "MEDICATIONS:\n" + "\n".join(names)})
    assert reasons(check(Aberration(), label("\n".join(names)), OUTLOOK, run)) == ["outlier_count"]
    assert check(Aberration(), label("\n".join(names)), OUTLOOK, run, told) == []
    assert reasons(check(Aberration(), label("\n".join([*names[:-1], "one more"])), OUTLOOK, run, told)) == [
        "outlier_count"
    ]


def test_a_phrase_copied_from_the_record_may_be_longer() -> None:
    phrase = "mild swelling that runs along the deep surface of the long muscle of the thumb"
    limit = Aberration(max_words_by_task={}, max_words=12)
    assert reasons(check(limit, label(phrase), OUTLOOK))[0] == "wrong_shape"
    told = RECORD.model_copy(update={"text": f"FINDINGS: There is {phrase}."})
    assert check(limit, label(phrase), OUTLOOK, record=told) == []
