"""Planned times against the formula, worked by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chartdistill.config import load_run
from chartdistill.doctor.diagnosis import diagnose
from chartdistill.doctor.machine import KNOWN_CARDS, Card, parse_cards
from chartdistill.doctor.memory_plan import (
    label_plan,
)
from chartdistill.doctor.model_shape import ModelShape, read_shape, shape_of
from chartdistill.doctor.time_plan import engine_start, label_time, multiplies_in_8_bits
from chartdistill.doctor.workload import Work, charts_to_evaluate
from chartdistill.engines import VllmEngine
from chartdistill.runtime.machine import GIB
from doctor_run import run_with
from places import ROOT

WORK = Work(1000, 900, 4, 2, 40, 30, 256)


def shape(name: str) -> ModelShape:
    return read_shape(ROOT / f"configs/models/{name}.json")


def test_samples_and_checks_are_more_to_ask() -> None:
    teacher, card = shape("Qwen--Qwen3-8B-FP8"), KNOWN_CARDS["rtx-4090"]

    def seconds(work: Work) -> float:
        time = label_time(teacher, card, 1, work, 9.4e9, 74_000)
        assert time is not None
        return time.floor_s

    # One sample is 900 + 8 x 40 + 4 x 30 + 4 tokens; five are 900 + 40 x 40 + 20 x 30 + 20.
    five = replace(WORK, samples=5)
    assert seconds(five) / seconds(WORK) == pytest.approx(3120 / 1344, rel=0.02)
    assert label_plan(teacher, VllmEngine(), card, five, 9.4e9).records_at_once == 74_258 // (900 + 20 * 296)


def test_time_is_what_the_formula_gives_by_hand() -> None:
    # 3,000 records of 900 tokens, 4 answers of 30 tokens, 790 TFLOP/s: (900 + 120) x 3,000 x 2 x 32.8e9 FLOP = 254 s,
    # and 2 x 64 layers x 8,192 x 900^2 x 3,000 FLOP = 3.2 s for attention.
    card = Card("peak", 140 * GIB, tflops=790, gbytes_per_s=4300)
    values = json.loads((ROOT / "configs/models/Qwen--Qwen3-32B-FP8.json").read_text(encoding="utf-8"))
    plain = shape_of({k: v for k, v in values.items() if k != "quantization_config"}, "32B")
    work = Work(3000, 900, 4, 1, 0, 30, 30)
    time = label_time(plain, card, 1, work, 65.5e9, 200_000)
    assert time is not None
    assert time.floor_s == pytest.approx(257, abs=1)
    twice = label_time(plain, card, 2, work, 65.5e9, 200_000)
    assert twice is not None
    assert twice.floor_s == pytest.approx(time.floor_s / 2)
    assert label_time(plain, Card("unknown", 140 * GIB), 1, work, 65.5e9, 200_000) is None


def test_fp8_in_blocks_is_unpacked_to_16_bits_before_hopper() -> None:
    in_blocks = shape("Qwen--Qwen3-32B-FP8")
    values = {**in_blocks.quantization, "weight_block_size": None}
    whole = replace(in_blocks, quantization=values)
    native = {name: multiplies_in_8_bits(in_blocks, card) for name, card in KNOWN_CARDS.items()}
    assert {name for name, eight in native.items() if eight} == {"h100", "h100-pcie", "h200", "b200"}
    assert {name for name, card in KNOWN_CARDS.items() if multiplies_in_8_bits(whole, card)} == {
        "rtx-4090", "l4", "l40s", "h100", "h100-pcie", "h200", "b200"
    }  # fmt: skip
    ada, plain = KNOWN_CARDS["rtx-4090"], replace(in_blocks, quantization={})
    times = [label_time(one, ada, 1, WORK, 33e9, 74_000) for one in (in_blocks, plain, whole)]
    sixteen, same, eight = (time.floor_s for time in times if time is not None)
    assert sixteen == same
    assert sixteen / eight == pytest.approx(2, rel=0.01)


def test_all_that_evaluate_asks_is_in_its_time(tmp_path: Path, tiny_model: Path) -> None:
    """Of 1,000 charts: 200 held out for base and student, 100 of validation; 40 changed in 8.5 forms, 160 edited."""
    plain = {"interventions": {"records": 0}, "confidence": False, "split": "test"}

    def asked(**options: object) -> int:
        return charts_to_evaluate(run_with(tmp_path, tiny_model, evaluate=plain | options).config, 1000)

    assert asked() == 400
    assert asked(also=["student plain", "student filtered"]) == 600, "what filters leave is asked nothing new"
    assert asked(confidence=True) == 500
    assert asked(confidence=True, split="validation") == 200
    assert asked(interventions={"records": 40}) == 400 + 2 * (160 * 3.2 + 40 * 8.5)
    assert asked(interventions={"records": 900}) == 400 + 2 * (200 * 3.2 + 200 * 8.5), "no more than are held out"


def test_the_time_to_train_is_that_of_the_charts_that_train() -> None:
    """Of the 1,000 that are planned with, a fifth is held out and a tenth of validation."""
    found = diagnose(load_run(ROOT / "configs/gpu-24gb.yaml"), parse_cards("rtx-4090"))
    assert "epochs x 700 records x" in found.time["train"].how


def test_the_start_of_an_engine_is_in_the_time() -> None:
    card, one = KNOWN_CARDS["h100"], shape("Qwen--Qwen3-8B")
    start, said = engine_start(16.4e9, eager=False, with_lora=False)
    assert start == pytest.approx(45 + 8.2 + 45 + 20)
    with_lora, twice = engine_start(16.4e9, eager=False, with_lora=True)
    assert with_lora == start + 20 and "twice, for LoRA" in twice
    assert engine_start(16.4e9, eager=True, with_lora=True)[0] == pytest.approx(45 + 8.2)
    plain, begun = (label_time(one, card, 1, WORK, 16.4e9, 74_000, given) for given in ((0.0, ""), (start, said)))
    assert plain is not None and begun is not None
    assert begun.likely_s == plain.likely_s + start and begun.floor_s == plain.floor_s
    assert "16.4 GB of weights from disk 8 s" in begun.how
