"""A student that starts from an adapter: training goes on with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from adapters import make_adapter, rewrite_config
from chartdistill.errors import ConfigError
from chartdistill.runtime.adapter_folder import read_adapter
from chartdistill.training import LoraOptions, TrainOptions, go_on_from
from chartdistill.training.adapter import adapter_tensors, save_adapter
from chartdistill.training.model import load_model


def go_on(adapter: Path, model: Path, **lora: Any) -> TrainOptions:
    return go_on_from(TrainOptions(dtype="float32", lora=LoraOptions(**lora)), read_adapter(adapter), model)


def test_what_the_config_leaves_out_the_adapter_decides(tiny_model: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_model, tmp_path / "a", rank=6, lora_alpha=24, lora_dropout=0.3, use_rslora=True)
    options = go_on(adapter, tiny_model, dropout=0.1).lora
    assert (options.rank, options.alpha, options.use_rslora, options.use_dora) == (6, 24, True, False)
    assert options.target_modules == ("o_proj", "q_proj", "v_proj")
    assert options.dropout == 0.1  # of this training
    assert go_on(adapter, tiny_model, rank=6, alpha=24, target_modules=["q_proj", "o_proj", "v_proj"]).lora.rank == 6


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"rank": 16}, "rank is 16, the adapter's is 4"),
        ({"alpha": 8}, r"alpha is 8\.0, the adapter's is 32"),
        ({"use_rslora": True}, "use_rslora is True, the adapter's is False"),
        ({"use_dora": True}, "use_dora is True"),
        ({"target_modules": "all-linear"}, "target_modules is all-linear, the adapter is on o_proj, q_proj, v_proj"),
        ({"target_modules": ("q_proj", "k_proj")}, "the adapter is on o_proj, q_proj, v_proj"),
        ({"rank": 8, "alpha": 8}, "rank is 8.*; alpha is 8"),
    ],
    ids=str,
)
def test_what_the_config_says_must_agree(tiny_model: Path, tmp_path: Path, said: dict[str, Any], message: str) -> None:
    adapter = make_adapter(tiny_model, tmp_path / "a")
    with pytest.raises(ConfigError, match=f"train.lora does not agree with student.adapter .*{message}"):
        go_on(adapter, tiny_model, **said)


def test_all_linear_is_what_peft_means_by_it(tiny_model: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_model, tmp_path / "a", target_modules="all-linear")
    assert len(go_on(adapter, tiny_model, target_modules="all-linear").lora.target_modules) == 7


def test_a_pattern_of_modules_is_taken_as_those_it_meant(tiny_model: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny_model, tmp_path / "a", target_modules=r".*layers\.1\..*(q_proj|down_proj)")
    assert go_on(adapter, tiny_model).lora.target_modules == (
        "model.layers.1.mlp.down_proj",
        "model.layers.1.self_attn.q_proj",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [({"modules_to_save": ["norm"]}, "modules_to_save"), ({"lora_bias": True}, "lora_bias")],
)
def test_what_is_not_trained_here_is_refused(
    tiny_model: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"sets {message}, with which no training goes on"):
        go_on(make_adapter(tiny_model, tmp_path / "a", **options), tiny_model)
    biased = rewrite_config(make_adapter(tiny_model, tmp_path / "b"), bias="all")
    with pytest.raises(ConfigError, match="bias to 'all', which changes the base"):
        go_on(biased, tiny_model)


@pytest.mark.parametrize("more", [{}, {"use_dora": True}, {"rank_pattern": {"q_proj": 6}}], ids=str)
def test_its_weights_are_there_and_all_of_them_are_trained(
    tiny_model: Path, tmp_path: Path, more: dict[str, Any]
) -> None:
    adapter = make_adapter(tiny_model, tmp_path / "a", **more)
    stored = load_file(adapter / "adapter_model.safetensors")
    model = load_model(tiny_model, go_on(adapter, tiny_model), adapter)
    assert adapter_tensors(model).keys() == stored.keys()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in adapter_tensors(model).items())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trained) == len(stored) and all("lora_" in name for name in trained)
    save_adapter(model, adapter_tensors(model), tmp_path / "again")
    again = read_adapter(tmp_path / "again")
    assert again.shapes == read_adapter(adapter).shapes
    assert all(again.config[name] == read_adapter(adapter).config[name] for name in ("r", "lora_alpha", "use_dora"))
