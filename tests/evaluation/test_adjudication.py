"""Pairs that nothing matched, judged by a person: listed, judged, and scored anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chartdistill.errors import InputError
from chartdistill.evaluation.score import score_files
from line_files import write

JUDGED_GOLD = [
    {"id": "a", "gold": {"diagnosis": ["congestive heart failure", "gout"], "tests": ["EEG"]}},
    {"id": "b", "gold": {"diagnosis": ["CHF"], "tests": []}},
]
JUDGED_SAID = [
    {"record": "a", "task": "diagnosis", "items": ["weak heart", "gout"]},
    {"record": "b", "task": "diagnosis", "items": ["Weak Heart"]},
    {"record": "a", "task": "tests", "items": ["brain waves"]},
    {"record": "b", "task": "tests", "items": []},
]


def test_what_nothing_matched_is_listed_for_a_person_and_comes_back_judged(tmp_path: Path) -> None:
    gold, answers = write(tmp_path / "gold.jsonl", *JUDGED_GOLD), write(tmp_path / "p.jsonl", *JUDGED_SAID)
    pairs = tmp_path / "pairs.jsonl"
    before = score_files([answers], gold, resamples=100, unmatched=pairs)
    listed = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert listed == [
        {"kind": "diagnosis", "a": "weak heart", "b": "congestive heart failure", "records": 2, "same": None},
        {"kind": "tests", "a": "brain waves", "b": "EEG", "records": 1, "same": None},
    ]
    assert pairs.stat().st_mode & 0o777 == 0o600
    assert score_files([answers], gold, resamples=100, judged=pairs)["arms"] == before["arms"], "null changes nothing"
    write(pairs, *({**pair, "same": pair["kind"] == "diagnosis"} for pair in listed))
    left = tmp_path / "left.jsonl"
    after = score_files([answers], gold, resamples=100, judged=pairs, unmatched=left)
    assert before["arms"]["p"]["diagnosis"]["f1"]["value"] == pytest.approx(1 / 3)
    assert after["arms"]["p"]["diagnosis"]["f1"]["value"] == 1
    assert after["arms"]["p"]["diagnosis"]["string_f1"]["value"] == pytest.approx(1 / 3), "by letters, as it was"
    assert after["arms"]["p"]["tests"]["f1"]["value"] == 0, "judged different"
    assert [json.loads(line)["a"] for line in left.read_text().splitlines()] == ["brain waves"]
    assert after["matching"]["pairs_judged_same"] == "1"


@pytest.mark.parametrize(
    ("pair", "problem"),
    [
        ({"kind": "shoes", "a": "x", "b": "y"}, r"pairs\.jsonl:1: kind 'shoes' is neither a task of these"),
        ({"kind": "tests", "a": "x"}, r"pairs\.jsonl:1: b: Field required"),
        ({"kind": "tests", "a": "x", "b": "y", "sane": True}, r"pairs\.jsonl:1: sane: unknown key"),
    ],
)
def test_pairs_that_cannot_be_used_are_named(tmp_path: Path, pair: Any, problem: str) -> None:
    gold, answers = write(tmp_path / "gold.jsonl", *JUDGED_GOLD), write(tmp_path / "p.jsonl", *JUDGED_SAID)
    with pytest.raises(InputError, match=problem):
        score_files([answers], gold, judged=write(tmp_path / "pairs.jsonl", pair))


def test_pairs_that_contradict_each_other_are_named_and_judgements_are_not_overwritten(tmp_path: Path) -> None:
    gold, answers = write(tmp_path / "gold.jsonl", *JUDGED_GOLD), write(tmp_path / "p.jsonl", *JUDGED_SAID)
    rows = [("x", "y", True), ("y", "z", True), ("x", "w", False), ("z", "x", False)]
    pairs = write(tmp_path / "pairs.jsonl", *({"kind": "tests", "a": a, "b": b, "same": is_} for a, b, is_ in rows))
    with pytest.raises(InputError, match=r"pairs\.jsonl:4: judged not the same"):
        score_files([answers], gold, judged=pairs)
    before = pairs.read_text()
    with pytest.raises(InputError, match="would be overwritten"):
        score_files([answers], gold, judged=pairs, unmatched=tmp_path / "." / "pairs.jsonl")
    assert pairs.read_text() == before


def test_n_of_f1_is_items_and_records_and_not_their_sum(tmp_path: Path) -> None:
    gold = write(tmp_path / "gold.jsonl", *JUDGED_GOLD)
    found = score_files([write(tmp_path / "p.jsonl", *JUDGED_SAID)], gold, resamples=100)["arms"]["p"]
    assert (found["diagnosis"]["f1"]["n"], found["diagnosis"]["f1"]["records"]) == (5, 2), "gout once"
    assert (found["tests"]["joint_f1"]["n"], found["tests"]["joint_f1"]["records"]) == (2, 1), "b holds nothing"
    assert (found["all"]["f1"]["n"], found["all"]["f1"]["records"]) == (7, 2), "a record of two tasks is one"
    assert found["all"]["precision"]["records"] is None
