"""What a span of a tool says is what the record's chart says there: words, not characters. All charts are invented."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from annotation_reading import TASKS, codes, read
from chartdistill.clinical.text.grounding import locate
from chartdistill.records import clean
from chartdistill.records.annotations.offsets import as_read

REST = " once daily for high blood pressure."


def marked(chart: str, *spans: tuple[str, str], **of: Any) -> dict[str, Any]:
    """A chart as Prodigy writes it, with spans at the first place of each text."""
    places = [
        {"start": chart.index(text), "end": chart.index(text) + len(text), "label": label} | of for text, label in spans
    ]
    return {"text": chart, "spans": places, "answer": "accept"}


def brat(folder: Path, chart: str, *lines: str) -> Path:
    folder.mkdir()
    (folder / "c1.txt").write_bytes(chart.encode())
    (folder / "c1.ann").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("hydrochloro-\nthiazide", "hydrochlorothiazide"),
        ("hydrochloro-  \r\n  thiazide", "hydrochlorothiazide"),
        ("hydrochloro\u00ad\nthiazide", "hydrochlorothiazide"),
        ("metopro\u2010\nlol", "metoprolol"),
        ("beta-\nblocker", "beta-blocker"),
        ("C-\nreactive protein", "C-reactive protein"),
        ("pre-\neclampsia", "pre-eclampsia"),
        ("Crohn\x92s disease", "Crohn\u2019s disease"),
        ("\x1b[31mwarfarin\x1b[0m", "warfarin"),
        ("pramipe\x00ole", "pramipe\ufffdole"),
        ("metoprolol\n tartrate", "metoprolol tartrate"),
        ("caf\u00e9ol", "caf\u00e9ol"),
    ],
)
def test_an_item_is_the_words_of_the_cleaned_chart(written: str, words: str, tmp_path: Path) -> None:
    chart = f"Takes {written}{REST}"
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(marked(chart, (written, "Drug"))))
    reading, found = read(path, TASKS)
    assert found["medication"] == [(words, None)] and not reading.findings
    place = locate(words, clean(chart).text, threshold=101)
    assert place is not None and place.how == "exact"


def test_a_comma_that_stood_for_a_line_break_is_a_space_within_an_item(tmp_path: Path) -> None:
    chart = "Assessment: He has diabetes,,Mellitus type two.,,Plan: diet.,,Review in May."
    (tmp_path / "p.jsonl").write_text(json.dumps(marked(chart, ("diabetes,,Mellitus", "Problem"))))
    assert read(tmp_path / "p.jsonl", TASKS)[1]["diagnosis"] == [("diabetes Mellitus", None)]


def test_what_cleaning_cuts_off_is_no_item_and_is_told(tmp_path: Path) -> None:
    chart = "He has gout and takes naproxen.general medicine, sulfasalazine, arthritis, gout, x-ray, knee"
    assert "sulfasalazine" not in clean(chart).text
    (tmp_path / "p.jsonl").write_text(json.dumps(marked(chart, ("naproxen", "Drug"), ("sulfasalazine", "Drug"))))
    reading, found = read(tmp_path / "p.jsonl", TASKS)
    assert found["medication"] == [("naproxen", None)] and codes(reading) == {"cut_off": 1}


@pytest.mark.parametrize("none", ["none", "NKDA", "No medications", "(none)", "none at this time"])
def test_a_span_that_says_none_is_no_item_and_is_told(none: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps(marked(f"MEDICATIONS: {none}. He has gout.", (none, "Drug"))))
    reading, found = read(tmp_path / "p.jsonl", TASKS)
    assert found["medication"] == [] and codes(reading) == {"says_none": 1}


@pytest.mark.parametrize(
    ("pieces", "said"), [("6 9;9 14", "naproxen"), ("6 9;9 14", "nap roxen"), ("6 12;9 14", "naprox roxen")]
)
def test_pieces_that_touch_or_overlap_are_one_word(pieces: str, said: str, tmp_path: Path) -> None:
    chart = "Takes naproxen 500 mg twice daily for arthritis."
    _, found = read(brat(tmp_path / "b", chart, f"T1\tDrug {pieces}\t{said}"), TASKS)
    assert found["medication"] == [("naproxen", None)]


def test_a_longer_span_takes_the_status_of_one_within_it(tmp_path: Path) -> None:
    chart = "Takes naproxen 500 mg twice daily for arthritis."
    folder = brat(
        tmp_path / "b", chart, "T1\tDrug 6 21\tnaproxen 500 mg", "T2\tDrug 6 14\tnaproxen", "A1\tStatus T2 stop"
    )
    reading, found = read(folder, TASKS)
    assert found["medication"] == [("naproxen 500 mg", "stop")] and codes(reading) == {"nested_span": 1}


def test_what_must_be_listed_is_not_lost_within_what_may_be(tmp_path: Path) -> None:
    chart = "He has a family history of diabetes, and diabetes mellitus himself."
    lines = ["T1\tProblem 9 35\tfamily history of diabetes", "A1\tOptional T1", "T2\tProblem 27 35\tdiabetes"]
    reading, _ = read(brat(tmp_path / "b", chart, *lines), TASKS)
    (answer,) = reading.answers
    assert [(item.text, item.optional) for item in answer.items or ()] == [
        ("family history of diabetes", True), ("diabetes", False),
    ]  # fmt: skip
    same = ["T1\tDrug 6 21\tnaproxen 500 mg", "A1\tOptional T1", "T2\tDrug 6 14\tnaproxen"]
    reading, _ = read(brat(tmp_path / "c", "Takes naproxen 500 mg twice daily.", *same), TASKS)
    (answer,) = reading.answers
    assert [(item.text, item.optional) for item in answer.items or ()] == [("naproxen 500 mg", False)]


@pytest.mark.parametrize(
    ("chart", "written", "words"),
    [
        ("<p>Takes &beta;</p>", "&beta;", "\u03b2"),
        ("<p>Takes &#1072;&#1089;&#1087;</p> <p>&nbsp;</p>", "&#1072;&#1089;&#1087;", "\u0430\u0441\u043f"),
    ],
)
def test_a_sign_at_the_end_that_stands_for_another_is_an_item(
    chart: str, written: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps(marked(chart, (written, "Drug"))))
    reading, found = read(tmp_path / "p.jsonl", TASKS)
    assert found["medication"] == [(words, None)] and "cut_off" not in codes(reading)


def test_a_piece_in_what_cleaning_cuts_off_is_no_part_of_an_item(tmp_path: Path) -> None:
    chart = "He has gout and takes naproxen.general medicine, sulfasalazine, arthritis, gout, x-ray, knee"
    places = f"{chart.index('naproxen')} {chart.index('.')};{chart.index('sulfa')} {chart.index(', arth')}"
    folder = brat(tmp_path / "b", chart, f"T1\tDrug {places}\tnaproxen sulfasalazine")
    assert read(folder, TASKS)[1]["medication"] == [("naproxen", None)]


def test_of_three_spans_within_each_other_the_middle_one_counts_where_the_longest_is_optional(tmp_path: Path) -> None:
    chart = "He has a family history of type 2 diabetes mellitus, and is well."
    spans = ["family history of type 2 diabetes mellitus", "type 2 diabetes mellitus", "diabetes mellitus"]
    lines = [
        f"T{n}\tProblem {chart.index(text)} {chart.index(text) + len(text)}\t{text}" for n, text in enumerate(spans, 1)
    ]
    reading, found = read(brat(tmp_path / "b", chart, *lines, "A1\tOptional T1"), TASKS)
    assert found["diagnosis"] == [(spans[0], None), (spans[1], None)] and codes(reading) == {"nested_span": 1}


def test_many_broken_words_are_read_in_time_that_grows_with_their_number() -> None:
    def seconds(count: int) -> float:
        line = "Takes hydrochloro-\nthiazide daily for pressure and is well today. "
        text = line * count
        cleaned, begun = clean(text), time.process_time()
        for number in range(count):
            at = number * len(line)
            assert as_read(text, cleaned, ((at + 6, at + 27),)) == "hydrochlorothiazide"
        return time.process_time() - begun

    assert seconds(400) < 3
