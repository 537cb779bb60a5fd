"""Tiny models of many families and random examples, shared by the tests of training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from chartdistill.training import LoraOptions, TrainOptions
from chartdistill.training.attention import ATTENTION, register_attention
from chartdistill.training.model import add_adapter
from chartdistill.training.packing import Branch, Example

VOCABULARY = 97
_SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.2,
    "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 2, "head_dim": 8,
}  # fmt: skip

FAMILIES: dict[str, Any] = {
    "llama": LlamaConfig(**_SHAPE),
    "llama_tied": LlamaConfig(**_SHAPE, tie_word_embeddings=True),
    "llama_all_heads": LlamaConfig(**{**_SHAPE, "num_key_value_heads": 4}),
    "qwen2": Qwen2Config(**{name: value for name, value in _SHAPE.items() if name != "head_dim"}),
    "qwen3_tied": Qwen3Config(**_SHAPE, tie_word_embeddings=True),
    "mistral_no_window": MistralConfig(**_SHAPE, sliding_window=None),
    "gemma": GemmaConfig(**{**_SHAPE, "num_key_value_heads": 1, "head_dim": 16}),
}


def make_example(record: str, prefix: int, branches: Sequence[tuple[int, int]], seed: int) -> Example:
    """A record of `prefix` tokens with (question tokens, answer tokens) per branch."""
    draw = torch.Generator().manual_seed(seed)

    def ids(count: int) -> list[int]:
        found: list[int] = torch.randint(3, VOCABULARY, (count,), generator=draw).tolist()
        return found

    made = tuple(
        Branch(f"t{i}", ids(question), ids(answer), weight=(0.5, 1.0, 2.0)[i % 3])
        for i, (question, answer) in enumerate(branches)
    )
    return Example(record, ids(prefix), made)


def make_model(family: str, adapted: bool = True, attention: str = ATTENTION, **lora: Any) -> Any:
    """A randomly initialised model with a LoRA adapter whose values are far from zero, always the same ones."""
    register_attention()
    torch.manual_seed(1)
    config = copy.deepcopy(FAMILIES[family])
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
    model = add_adapter(model, TrainOptions(lora=LoraOptions(rank=4, **lora)))
    if adapted:
        draw = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:  # a fresh adapter is zero, and so are half of its gradients
                    parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return model
