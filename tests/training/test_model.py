"""The student as it is loaded, and why some models cannot share a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chartdistill.errors import ConfigError, ModelError
from chartdistill.training import LoraOptions, TrainOptions
from chartdistill.training.losses import micro_batch_loss
from chartdistill.training.model import compute_dtype, load_model, why_not_packed
from chartdistill.training.packing import collate
from chartdistill.training.self_check import self_check
from training_worker import examples

LORA = LoraOptions(rank=4)


def options_of(**values: Any) -> TrainOptions:
    return TrainOptions(
        **{"dtype": "float32", "lora": LORA, "learning_rate": 2e-2, "validation_passes": 0, "checkpoints": 1, **values}
    )


def test_4bit_weights_are_not_sharded(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match=r"train\.load_in_4bit is true, but FSDP .*ddp\.yaml"):
        load_model(tiny_model, options_of(load_in_4bit=True))


def test_models_that_cannot_share_say_why(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, Gemma2Config, MambaConfig, MistralConfig, Qwen3Config

    shape = {"vocab_size": 97, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}  # fmt: skip
    cases: dict[str, Any] = {
        "window": MistralConfig(**shape, sliding_window=8),
        "sliding": Qwen3Config(**shape, use_sliding_window=True, sliding_window=8, max_window_layers=1),
        "caps": Gemma2Config(**shape, layer_types=["full_attention"] * 2),
        "linear_attention": MambaConfig(vocab_size=97, hidden_size=16, num_hidden_layers=1),
    }
    for name, config in cases.items():
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / name)
        if name == "linear_attention":
            with pytest.raises(ModelError, match=r"Set train\.lora\.target_modules"):
                load_model(tmp_path / name, options_of())
        modules: Any = ("in_proj", "x_proj") if name == "linear_attention" else "all-linear"
        model = load_model(tmp_path / name, options_of(lora=LoraOptions(target_modules=modules)))
        assert name in (why_not_packed(model) or ""), name
        one = collate(examples()[:2], "plain", shared=False)[0]
        loss = micro_batch_loss(model, one)
        loss.backward()
        assert loss.isfinite(), name


def test_a_deep_4bit_student_computes_in_16_bits_and_passes_its_self_check(tmp_path: Path) -> None:
    """As on a card: bfloat16 between the layers, tolerance of bfloat16. In float32, which PEFT's own preparation turns
    norms and embeddings to, eight layers differ by more than float32 may."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    torch.manual_seed(0)
    config = Qwen2Config(hidden_size=128, num_hidden_layers=8, num_attention_heads=4, num_key_value_heads=2,
                         intermediate_size=256, vocab_size=97, pad_token_id=0, bos_token_id=None)  # fmt: skip
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(tmp_path)
    model = load_model(tmp_path, options_of(load_in_4bit=True, dtype="bfloat16"))
    assert compute_dtype(model) == torch.bfloat16
    kinds = {p.dtype for p in model.parameters() if not p.requires_grad and p.dtype.is_floating_point}
    assert kinds == {torch.bfloat16} and {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    self_check(model, examples(), "split", True, 0)
    between: list[torch.dtype] = []
    for layer in model.get_base_model().model.layers:
        layer.register_forward_hook(lambda module, given, output: between.append(output[0].dtype))
    micro_batch_loss(model, collate(examples()[:2], "split", dtype=torch.bfloat16)[0]).backward()
    assert len(between) == 8 and set(between) == {torch.bfloat16}
