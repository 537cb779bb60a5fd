"""Texts that differ in their characters alone are the same, wherever texts are compared; spans stay the original's."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartdistill.clinical.entities import entity_named
from chartdistill.clinical.free_answers import parse_free_answer
from chartdistill.clinical.text.grounding import locate, occurrences
from chartdistill.clinical.text.normalisation import normalise
from chartdistill.schema import Item, Task

DRUG, ILLNESS = entity_named("medication"), entity_named("diagnosis")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("\ufb02unisolide", "flunisolide"),
        ("de\ufb01ciency", "deficiency"),
        ("Cafe\u0301-au-lait", "Cafe-au-lait"),
        ("Caf\u00e9-au-lait", "Cafe-au-lait"),
        ("ate\u00adno\u00adlol", "atenolol"),
        ("ate\u200bno\u2060l\ufeffol", "atenolol"),
        ("atenolol\u200b50", "atenolol 50"),
        ("Graves\u2019 disease", "Graves' disease"),
        ("Epstein\u2011Barr", "Epstein-Barr"),
        ("x\u2013ray, 5\u201310 mg, gout \u2013 stable", "x-ray, 5\u201310 mg, gout \u2013 stable"),
        ("Crohn\u00b4s disease, vitamin B\u2081\u2082, 10\u2076", "Crohn's disease, vitamin B12, 10\u2076"),
        ("50\u202fmg", "50 mg"),
        ("50 \u338e", "50 mg"),
        ("\uff15\uff10 mg", "50 mg"),
        ("type \u2161", "type II"),
        ("10\u2079/L, \u00bd tablet", "10\u2079/L, \u00bd tablet"),
        ("\u0439\u043e\u0434", "\u0439\u043e\u0434"),
    ],
)
def test_characters_are_undone_and_words_are_not(written: str, read: str) -> None:
    found = normalise(written)
    assert found.text == read
    assert found.original_span(0, len(read)) == (0, len(written))


@pytest.mark.parametrize(
    ("written", "compared_with", "read"),
    [
        ("ateno-\nlol", "", "atenolol"),
        ("ateno-  \r\n   lol", "atenolol 50 mg", "atenolol"),
        ("ateno\u00ad\nlol", "", "atenolol"),
        ("1\u00ad\n1", "", "1\n1"),
        ("metopro-\u00ad\nlol", "", "metoprolol"),
        ("5 mg\u00ad \n2 tabs", "", "5 mg \n2 tabs"),
        ("beta\u00ad\nblocker", "beta-blocker", "beta-blocker"),
        ("lol\u00ad\nNext", "", "lol\nNext"),
        ("end\u00ad\n", "", "end\n"),
        ("ace-\ntamino-\nphen", "", "acetaminophen"),
        ("calcium-\nchannel", "", "calcium-channel"),
        ("vaso-\nactive", "vaso-active", "vaso-active"),
        ("vaso-\nactive, not vaso-active", "", "vaso-active, not vaso-active"),
        ("B-\ncell", "", "B-cell"),
        ("ateno- lol", "atenolol", "atenolol"),
        ("pre- and postoperative", "", "pre- and postoperative"),
        ("atenolol-\nramipril", "ramipril", "atenolol-ramipril"),
        ("atenolol-\nRamipril", "", "atenolol-\nRamipril"),
        ("- atenolol -\n- ramipril -", "", "- atenolol -\n- ramipril -"),
    ],
)
def test_a_hyphen_at_a_lines_end_belongs_to_the_word_or_not(written: str, compared_with: str, read: str) -> None:
    assert normalise(written, compared_with).text == read


@given(st.text(alphabet="ab-\n e\u0301\u00ad\u200b\ufb01\u00e9\u00bd \u2019", max_size=30))
def test_normalising_twice_changes_nothing_and_spans_stay_inside(text: str) -> None:
    found = normalise(text)
    assert normalise(found.text).text == found.text
    ends = [found.original_span(at, at + 1) for at in range(len(found.text))]
    assert all(0 <= start < end <= len(text) for start, end in ends)
    assert all(one[0] <= other[0] and one[1] <= other[1] for one, other in pairwise(ends))


@pytest.mark.parametrize("broken", ["enalap-\nril", "enalap\u00adril", "ena\u200blapril", "e\u0301nalapril"])
def test_an_item_is_found_in_a_chart_and_a_chart_in_an_item(broken: str) -> None:
    chart = f"Caf\u00e9 owner. Takes {broken} 5 mg."
    place = locate("enalapril", chart)
    assert place is not None
    assert chart[place.start : place.end] == broken
    assert [chart[start:end] for start, end in occurrences("enalapril", chart)] == [broken]
    assert DRUG.locate(broken.replace("\n", " "), "Takes enalapril.") is not None


def test_what_is_said_around_a_broken_word_is_heard() -> None:
    chart = "Because of cough we dis-\ncontinued enala\u00adpril at once."
    found = DRUG.contradiction(Item(text="enalapril"), chart, (), "auto")
    assert found is not None
    assert found.span is not None
    assert (found.reason, chart[slice(*found.span)]) == ("stopped", "enala\u00adpril")


def test_other_drugs_stay_other_drugs() -> None:
    for chart in ("Takes pred-\nnisone.", "Takes predni\u00adsone.", "Takes predniso-\nne."):
        assert DRUG.locate("prednisolone", chart, lexicon="auto") is None
    assert DRUG.wrong_details("digoxin 5 mg", "Takes digoxin \uff15\uff10 mg.", "auto") == ["5 mg"]


def test_keys_of_one_name_are_one_key() -> None:
    names = ("M\u00e9ni\u00e8re\u2019s disease", "Me\u0301nie\u0300re's disease", "Meniere's dis\u00adease")
    assert len({ILLNESS.match_key(name) for name in names}) == 1


def test_a_word_broken_in_an_answer_is_one_item() -> None:
    task = Task(name="medication", item="medication", gate_question="?", extraction_question="?", question="?")
    items = parse_free_answer("aspirin\nenala-\npril\n2. ramipril", task).items
    assert [item.text for item in items] == ["aspirin", "enala- pril", "ramipril"]
    assert DRUG.locate(items[1].text, "Takes enalapril.") is not None
    assert DRUG.locate(items[1].text, "Takes enal-\napril.") is not None


def test_long_texts_take_no_longer_than_their_length() -> None:
    started = time.process_time()
    for unit in ("x", "x-", "x- ", "x-\n", "\u00e9", "e\u0301", "a-" + " " * 200):
        normalise(unit * (40_000 // len(unit)), "x")
    assert time.process_time() - started < 5
