"""Cleaning: what is cut, what must stay, and the offset map."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.demo.charts import write_chart
from chartdistill.records.cleaning import CODES, Cleaned, clean

NOTICE = "NOTE,: These medical transcription sample reports were sent in by readers;they are for reference only.,"


def check_map(original: str, cleaned: Cleaned) -> None:
    """Segments are verbatim, ordered and disjoint; what lies between them was put in for something of the file."""
    inserted = {"\n"} if {"rtf", "markup", "control_characters"}.isdisjoint(cleaned.removed) else None
    position = origin = 0
    for start, original_start, length in cleaned.segments:
        assert length > 0
        assert start >= position
        assert original_start >= origin
        assert cleaned.text[start : start + length] == original[original_start : original_start + length]
        assert inserted is None or set(cleaned.text[position:start]) <= inserted
        position, origin = start + length, original_start + length
    assert inserted is None or set(cleaned.text[position:]) <= inserted


@pytest.mark.parametrize(
    ("original", "text", "removed"),
    [
        ("Return in two weeks.surgery, hernia repair, hernia,", "Return in two weeks.", ("keyword_tail",)),
        ("Return soon.,ent - otolaryngology, ear pain", "Return soon.", ("keyword_tail", "line_breaks")),
        ("Return soon.consult - history and phy., cough, h. pylori,", "Return soon.", ("keyword_tail",)),
        ("Return soon.village clinic, cough, knee pain, fever, rash, ct", "Return soon.", ("keyword_tail",)),
        ("VITALS:urology, stone, left flank pain, cough, fever,", "VITALS:", ("keyword_tail",)),
        ("Done well.surgery, hernia, mesh" + NOTICE, "Done well.", ("boilerplate", "keyword_tail")),
        ("Done well.surgery, hernia, meshNOTE", "Done well.", ("boilerplate", "keyword_tail")),
        ("Stable today.nan", "Stable today.", ("nan",)),
        ("FAMILY HISTORY:,nan", "FAMILY HISTORY:", ("nan", "line_breaks")),
        ("nan, nan, nan", "", ("nan",)),
        ("HISTORY:, Cough.,PLAN: ,Rest.", "HISTORY: Cough.\nPLAN: Rest.", ("line_breaks",)),
        ("PLAN:,1. Rest.,2. Fluids.", "PLAN:\n1. Rest.\n2. Fluids.", ("line_breaks",)),
        ("PLAN:, 1. Rest 20,2. Fluids", "PLAN:\n1. Rest 20\n2. Fluids", ("line_breaks",)),
        ("Office Visit, HISTORY:, Cough.", "Office Visit\nHISTORY: Cough.", ("line_breaks",)),
        ("Yours,,Dr. X.", "Yours\nDr. X.", ("line_breaks",)),
        ("First line.\r\nSecond line.", "First line.\nSecond line.", ("carriage_returns",)),
        ("  Cough. \n", "Cough.", ("outer_space",)),
    ],
)  # fmt: skip
def test_what_was_glued_on_goes(original: str, text: str, removed: tuple[str, ...]) -> None:
    cleaned = clean(original)
    assert (cleaned.text, cleaned.removed) == (text, removed)
    check_map(original, cleaned)


@pytest.mark.parametrize(
    "text",
    [
        "She had plastic surgery, radiation, chemotherapy, and rest",
        "After microsurgery, low fever, cough, nausea, and rash",
        "Status post-surgery, low fever, cough, nausea, rash, itching",
        "History of cough.fever, rash, pain",  # a typing error, not a list of five
        "She takes aspirin, lisinopril, metoprolol, atorvastatin, zinc",
        "White count 12,000 and platelets 210,000",
        "Discs C5,C6 and L4,L5 bulge",
        "Seen by Ms. Brennan",
        "See the operative NOTE",
        "Meds:\naspirin,Zinc.,Then rest",  # lines survived, so a comma is a comma
    ],
)
def test_a_sentence_is_never_cut(text: str) -> None:
    assert clean(text) == Cleaned(text, ((0, 0, len(text)),), ())


def test_synthetic_charts_come_back_whole() -> None:
    num_same = 0
    for index in range(500):
        rng = random.Random(index)
        chart = write_chart(rng, "train")
        filed = chart.as_filed(rng)
        cleaned = clean(filed)
        check_map(filed, cleaned)
        num_same += cleaned.text.split() == chart.text.split()
        for items in chart.gold.values():
            assert all(item in cleaned.text for item, _ in items)
    assert num_same >= 490


_FRAGMENTS = st.sampled_from(
    [
        "nan",
        ",",
        ", ",
        ".,",
        ":,",
        ": ,",
        "NOTE",
        "\n",
        "\r",
        " ",
        "surgery",
        "urology, ",
        "1. ",
        "Plan",
        "P:",
        ".",
        "é",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(_FRAGMENTS, max_size=40).map("".join)))
def test_any_text_keeps_its_map_and_is_clean_after_one_call(original: str) -> None:
    cleaned = clean(original)
    check_map(original, cleaned)
    again = clean(cleaned.text)
    assert (again.text, again.removed) == (cleaned.text, ())
    assert set(cleaned.removed) <= set(CODES)


@pytest.mark.parametrize("unit", ["nan, ", ", ", " ", ".surgery, a, b, c, d", "NOTE ", "PLAN:,", "\r"])
def test_a_megabyte_of_a_bad_pattern_takes_seconds_at_most(unit: str) -> None:
    started = time.process_time()
    clean("Cough. " + unit * (1_000_000 // len(unit)))
    assert time.process_time() - started < 20


@pytest.mark.skipif("CHARTDISTILL_CHARTS" not in os.environ, reason="needs a folder of real charts")
def test_real_charts_lose_their_tails() -> None:
    files = sorted(Path(os.environ["CHARTDISTILL_CHARTS"]).rglob("*.txt"))
    removed = [clean(file.read_text(encoding="utf-8", errors="replace")).removed for file in files]
    assert sum("keyword_tail" in codes for codes in removed) >= 0.8 * len(files)
    assert 0.15 * len(files) <= sum("nan" in codes for codes in removed) <= 0.18 * len(files)
