"""Each reason code on a label that earns it, beside a like label that does not."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import TypeAdapter, ValidationError

from chartdistill.answers import parse_answer
from chartdistill.filters import DEFAULT_FILTERS, AnyFilter, Duplicates, Format, Grounding, Shape, Truncation
from chartdistill.schema import Gate, Label, Record, Rejection, Task

DRUGS = Task(
    name="medication",
    item="medication",
    statuses=("start", "stop", "continue"),
    gate_question="Any?",
    extraction_question="Which?",
    question="List.",
)
OUTLOOK = Task(name="prognosis", item="prognosis", gate_question="Any?", extraction_question="Which?", question="List.")
RECORD = Record(
    id="r1",
    source="synthetic",
    text="Yasadol 20 mg was stopped. Begin Febenor 5 mg. The outlook is good.",
    cluster="c1",
    split="train",
    segments=(),
)


def label(completion: str | None, gate: Literal["yes", "no", "unclear"] | None = None, **more: str) -> Label:
    return Label(
        key="k",
        record="r1",
        task="t",
        strategy="chain",
        gate=None if gate is None else Gate(answer=gate),
        completion=completion,
        **{"finish_reason": "stop", **more},
    )


def check(one: AnyFilter, given: Label, task: Task = DRUGS) -> list[Rejection]:
    items = None if given.completion is None else parse_answer(given.completion, task)
    return one.check(given, items, RECORD, task)


def reasons(found: list[Rejection]) -> list[str]:
    return [rejection.reason for rejection in found]


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
    found = check(Duplicates(), label("Yasadol | stop\nyasadol. | continue\nFebenor | start"))
    assert reasons(found) == ["conflicting_status"] * 3
    assert found[0].evidence == "listed as continue and stop"
    assert [rejection.item is None for rejection in found] == [False, False, True]


def test_a_change_of_dose_and_a_repetition_are_no_conflict() -> None:
    assert check(Duplicates(), label("Yasadol 20 mg | stop\nYasadol 10 mg | start")) == []
    assert check(Duplicates(), label("Yasadol | stop\nyasadol | stop")) == []


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
    assert reasons(check(Shape(on_item="drop_item"), label(f"{text} | stop"))) == ["wrong_shape"]


@pytest.mark.parametrize("text", ["Yasadol", "vitamin B12", "5-aminosalicylic acid", "Yasadol 20 mg (at night)"])
def test_items_of_the_right_shape(text: str) -> None:
    assert check(Shape(), label(f"{text} | stop")) == []


def test_a_prognosis_may_be_longer_than_a_drug() -> None:
    words = " ".join(["word"] * 20)
    assert check(Shape(), label(words), OUTLOOK) == []
    assert reasons(check(Shape(), label(words + " more"), OUTLOOK)) == ["wrong_shape"] * 2
    assert reasons(check(Shape(max_words_by_task={}), label(words), OUTLOOK)) == ["wrong_shape"] * 2


def test_filters_are_read_from_yaml_by_type_and_unknown_keys_are_errors() -> None:
    adapter: TypeAdapter[AnyFilter] = TypeAdapter(AnyFilter)
    assert adapter.validate_python({"type": "grounding", "on_item": "drop_item"}) == Grounding(on_item="drop_item")
    for wrong in ({"type": "grounding", "on_items": "drop_item"}, {"type": "kind"}, {"type": "shape", "max_words": 0}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_a_good_label_passes_all_default_filters_and_each_type_is_there_once() -> None:
    good = label("Yasadol 20 mg | stop\nFebenor | start", "yes")
    assert [check(one, good) for one in DEFAULT_FILTERS] == [[]] * len(DEFAULT_FILTERS)
    assert sorted(one.type for one in DEFAULT_FILTERS) == ["duplicates", "format", "grounding", "shape", "truncation"]
