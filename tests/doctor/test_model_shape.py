"""Shapes of models against published parameter counts and real model folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chartdistill.doctor.memory_plan import (
    parallel_problem,
)
from chartdistill.doctor.model_shape import read_shape, shape_of
from chartdistill.doctor.weights import mismatch, read_weights
from chartdistill.errors import ModelError
from model_configs import decoder
from places import ROOT

PUBLISHED = {
    # From the models' public config.json; counts as their safetensors files have them.
    "Llama-3.1-8B": (decoder("llama", 4096, 14336, 32, 32, 8, 128256), 8_030_261_248),
    "Llama-3.1-70B": (decoder("llama", 8192, 28672, 80, 64, 8, 128256), 70_553_706_496),
    "Mistral-7B-v0.3": (decoder("mistral", 4096, 14336, 32, 32, 8, 32768), 7_248_023_552),
    "Qwen2.5-0.5B": (decoder("qwen2", 896, 4864, 24, 14, 2, 151936, tie_word_embeddings=True), 494_032_768),
    "Qwen2.5-7B": (decoder("qwen2", 3584, 18944, 28, 28, 4, 152064), 7_615_616_512),
}
SHIPPED = {
    "HuggingFaceTB--SmolLM2-135M-Instruct": 134_515_008,
    "Qwen--Qwen3-0.6B": 596_049_920,
    "Qwen--Qwen3-1.7B": 1_720_574_976,
    "Qwen--Qwen3-8B": 8_190_735_360,
    "Qwen--Qwen3-8B-FP8": 8_190_735_360,
    "Qwen--Qwen3-32B-FP8": 32_762_123_264,
    "Qwen--Qwen3-235B-A22B-Instruct-2507-FP8": 235_093_634_560,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_published_models(name: str) -> None:
    config, parameters = PUBLISHED[name]
    assert shape_of(config, name).parameters == parameters


@pytest.mark.parametrize("name", SHIPPED)
def test_parameters_of_the_models_in_our_configs(name: str) -> None:
    assert read_shape(ROOT / f"configs/models/{name}.json").parameters == SHIPPED[name]


def test_every_model_of_a_shipped_config_has_its_shape_here() -> None:
    import yaml

    for path in (ROOT / "configs").glob("*.yaml"):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        for role in {"teacher", "student"} & set(values):
            name = values[role].get("model", ".")  # labels of a file have none
            if not name.startswith("."):
                assert (ROOT / "configs/models" / f"{name.replace('/', '--')}.json").is_file(), name
                if name.startswith("HuggingFaceTB/"):
                    continue  # `make model` has it, from a file with a hash
                assert values[role]["revision"] in path.read_text(encoding="utf-8").split("name:")[0]


def test_cache_and_experts_of_known_models() -> None:
    # 2 x 64 layers x 8 heads x 128 x 2 bytes: 256 KiB; 22 of 235 billion parameters are used for one token.
    assert read_shape(ROOT / "configs/models/Qwen--Qwen3-32B-FP8.json").kv_bytes_per_token == 262_144
    large = read_shape(ROOT / "configs/models/Qwen--Qwen3-235B-A22B-Instruct-2507-FP8.json")
    assert large.active_parameters == pytest.approx(22.19e9, rel=0.001)
    assert "whole blocks of 128" in str(parallel_problem(large, 8))
    assert parallel_problem(large, 4) is None
    assert parallel_problem(replace(large, quantization={}), 8) is None
    assert "do not divide" in str(parallel_problem(large, 3))


def test_a_model_that_transformers_does_not_know() -> None:
    with pytest.raises(ModelError, match=r"here.json: a model of type 'no_such_model' cannot be laid out"):
        shape_of({"model_type": "no_such_model"}, "here.json")


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 10},
        {"model_type": "bloom", "hidden_size": 16, "n_head": 2, "n_layer": 1, "vocab_size": 10},
        {"model_type": "rwkv", "hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 10},
    ],
    ids=lambda config: config["model_type"],
)
def test_a_model_without_attention_or_a_longest_sequence_is_named(config: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=f"here.json: a model of type '{config['model_type']}' names no size"):
        shape_of(config, "here.json")


def test_weights_on_disk_are_those_of_the_config(tiny_model: Path, tmp_path: Path) -> None:
    weights, shape = read_weights(tiny_model), read_shape(tiny_model)
    assert weights.parameters == shape.parameters
    assert mismatch(weights, shape) is None
    assert weights.bytes == pytest.approx(shape.weight_bytes("float32"), rel=0.05)  # names and header are few bytes
    values = json.loads((tiny_model / "config.json").read_text())
    other = shape_of({**values, "num_hidden_layers": 3}, "other")
    assert "config.json describes" in str(mismatch(weights, other))
    for name, damage in {"cut off": lambda b: b[:-10], "no safetensors file": lambda b: b[:5]}.items():
        folder = tmp_path / name
        folder.mkdir()
        content = (tiny_model / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(damage(content))
        with pytest.raises(ModelError, match=name):
            read_weights(folder)


def test_the_adapter_is_counted_as_peft_makes_it(tiny_model: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    for targets in ("all-linear", ("q_proj", "down_proj")):
        config = LoraConfig(r=8, target_modules=targets if isinstance(targets, str) else list(targets))
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert read_shape(tiny_model).adapter_parameters(8, targets) == trainable
