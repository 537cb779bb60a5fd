"""An adapter on disk: whole, LoRA, and for this model, or refused with a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters import make_adapter, rewrite_config
from chartdistill.errors import ModelError
from chartdistill.runtime.adapter_folder import adapter_rank, read_adapter, require_fit


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tiny_model, tmp_path_factory.mktemp("adapters") / "small")


@pytest.fixture
def copied(adapter: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapter, tmp_path / "copied"))


def test_what_it_changes_is_read_from_its_weights(adapter: Path, tiny_model: Path) -> None:
    found = read_adapter(adapter)
    assert found.rank == adapter_rank(adapter) == 4
    assert found.modules == tuple(
        sorted(f"model.layers.{n}.self_attn.{p}_proj" for n in (0, 1) for p in ("q", "v", "o"))
    )
    assert found.facts() == {"name": "small", "sha256": found.mark} and len(found.mark) == 64
    require_fit(found, tiny_model)


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": "all-linear"},
        {"target_modules": r".*layers\.1\..*(q_proj|down_proj)"},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"use_dora": True},
        {"rank_pattern": {"q_proj": 12}},
        {"modules_to_save": ["norm"]},
        {"lora_bias": True},
    ],
    ids=str,
)
def test_every_form_of_lora_fits_its_own_model(tiny_model: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    found = read_adapter(make_adapter(tiny_model, tmp_path / "a", **options))
    require_fit(found, tiny_model)
    assert found.rank == (12 if "rank_pattern" in options else 4)
    assert found.embeddings == (("model.embed_tokens",) if "embed_tokens" in options.get("target_modules", "") else ())


def test_another_adapter_has_another_mark(adapter: Path, copied: Path, tiny_model: Path, tmp_path: Path) -> None:
    mark = read_adapter(adapter).mark
    (copied / "README.md").write_text("a card says nothing of the weights")
    rewrite_config(copied)  # the same values, written otherwise
    assert read_adapter(copied).mark == mark
    rewrite_config(copied, lora_alpha=16)
    assert read_adapter(copied).mark != mark
    assert read_adapter(make_adapter(tiny_model, tmp_path / "b", seed=2)).mark != mark


def test_an_adapter_of_another_model_is_refused(
    adapter: Path, tiny_model: Path, served_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"is not for the model .*has the shape 4 x 32, the model needs 4 x 64"):
        require_fit(read_adapter(adapter), served_model)
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    deep = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=3, **heads)
    LlamaForCausalLM(deep).save_pretrained(tmp_path / "deep")
    other = make_adapter(tmp_path / "deep", tmp_path / "other")
    with pytest.raises(ModelError, match=r"it changes 'model\.layers\.2\.self_attn.*', which the model does not have"):
        require_fit(read_adapter(other), tiny_model)


def rewrite_weights(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    save_file({name: one.contiguous() for name, one in change(load_file(path)).items()}, path, {"format": "pt"})


def without(part: str) -> Any:
    return lambda tensors: {name: one for name, one in tensors.items() if part not in name}


def with_value(value: float) -> Any:
    def change(tensors: dict[str, Any]) -> dict[str, Any]:
        tensors[max(tensors)][-1, -1] = value
        return tensors

    return change


def renamed(old: str, new: str) -> Any:
    return lambda tensors: {name.replace(old, new): one for name, one in tensors.items()}


def narrowed(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: one[:, :2] if "lora_B" in name else one for name, one in tensors.items()}


def with_a_norm(tensors: dict[str, Any]) -> dict[str, Any]:
    return tensors | {"base_model.model.model.norm.weight": tensors[max(tensors)].clone()}


NOT_OF_ONE = "The two files are not of one whole adapter"


@pytest.mark.parametrize(
    ("made", "weights", "config", "message"),
    [
        ({}, without("lora_B"), {}, rf"lacks 6 of the 12 matrices.*{NOT_OF_ONE}"),
        ({}, without("layers.1.self_attn.v_proj.lora_A"), {}, r"lacks 1 of the 12 .*1\.self_attn\.v_proj"),
        ({}, without("v_proj"), {}, "lacks 4 of the 12"),
        ({}, None, {"target_modules": ["k_proj"]}, NOT_OF_ONE),
        ({}, None, {"target_modules": ["q_proj", "v_proj"]}, "holds .*o_proj.*, which .* does not make"),
        ({}, None, {"layers_to_transform": [0]}, r"holds .*layers\.1"),
        ({}, None, {"use_dora": True}, "lacks 6 of the 18 .*magnitude"),
        ({"use_dora": True}, None, {"use_dora": False}, "holds .*magnitude"),
        ({"use_dora": True}, without("magnitude"), {}, "lacks 6 of the 18"),
        ({"rank_pattern": {"q_proj": 12}}, None, {"rank_pattern": {"v_proj": 12}}, "as 12 x 32, by .* it is 4 x 32"),
        ({}, narrowed, {}, "as 32 x 2, by .* it is 32 x 4"),
        ({}, renamed("base_model.model.", ""), {}, "PEFT would pass over"),
        ({}, renamed(".weight", ".default.weight"), {}, "lacks 12 of the 12"),
        ({}, with_a_norm, {}, "holds 'model.norm.weight'"),
        ({}, with_value(float("nan")), {}, "NaN, infinity or whole numbers"),
        ({}, with_value(float("-inf")), {}, "NaN, infinity or whole numbers"),
        ({}, lambda had: {name: (100 * one).char() for name, one in had.items()}, {}, "NaN, infinity or whole numbers"),
        ({}, None, {"lora_alpha": None}, "lora_alpha is None; it must be a number above 0"),
        ({}, None, {"lora_alpha": "16"}, "lora_alpha is '16'"),
        ({}, None, {"lora_alpha": 0}, "lora_alpha is 0"),
        ({}, None, {"target_modules": None}, "names no target_modules"),
        ({}, None, {"init_lora_weights": "lora_ga"}, "changed the base model's weights"),
    ],
)  # fmt: skip
def test_weights_that_the_configuration_does_not_make_are_refused(
    tiny_model: Path, tmp_path: Path, made: dict[str, Any], weights: Any, config: dict[str, Any], message: str
) -> None:
    folder = make_adapter(tiny_model, tmp_path / "a", **made)
    if weights is not None:
        rewrite_weights(folder, weights)
    rewrite_config(folder, **config)
    with pytest.raises(ModelError, match=message):
        require_fit(read_adapter(folder), tiny_model)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e4m3fn"])
def test_weights_of_fewer_bits_are_taken(copied: Path, tiny_model: Path, dtype: str) -> None:
    import torch

    rewrite_weights(copied, lambda had: {name: one.to(getattr(torch, dtype)) for name, one in had.items()})
    require_fit(read_adapter(copied), tiny_model)


def test_an_unknown_option_of_a_newer_peft_is_no_matter(copied: Path, tiny_model: Path) -> None:
    require_fit(read_adapter(rewrite_config(copied, option_of_next_year=True)), tiny_model)


def remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def killed(folder: Path) -> None:
    """As a training leaves it that was killed on the way."""
    (folder / "adapter_config.json").unlink()
    (folder / "checkpoints").mkdir()


def cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-20])


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("adapter_config.json"), r"has no adapter_config\.json: it is not an adapter folder"),
        (remove("adapter_model.safetensors"), r"has no adapter_model\.safetensors"),
        (pickled, "adapter_model.bin, a pickle"),
        (cut, "cannot be read.*Copy the adapter again"),
        (lambda folder: rewrite_config(folder, r=8), "names the rank 8, the weights have 4"),
        (lambda folder: rewrite_config(folder, peft_type="IA3"), "peft_type is 'IA3'"),
        (lambda folder: rewrite_config(folder, peft_type=None), "peft_type is None"),
        (lambda folder: rewrite_config(folder, init_lora_weights="pissa_niter_4"), "changed the base model's weights"),
        (lambda folder: (folder / "adapter_config.json").write_text("[]"), "no JSON object"),
        (shutil.rmtree, "does not exist"),
        (killed, "training did not end; run it again"),
    ],
)
def test_what_is_not_whole_or_no_lora_is_refused(copied: Path, change: Any, message: str) -> None:
    change(copied)
    with pytest.raises(ModelError, match=message):
        read_adapter(copied)


def test_a_model_folder_is_no_adapter(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match=r"it is a model folder; name it as `model:`"):
        read_adapter(tiny_model)
