"""Configs of models, in few words."""

from __future__ import annotations

from typing import Any


def decoder(kind: str, hidden: int, wide: int, layers: int, heads: int, kv: int, vocab: int, **more: Any) -> Any:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
             "vocab_size")  # fmt: skip
    sizes = dict(zip(names, (hidden, wide, layers, heads, kv, vocab), strict=True))
    return {"model_type": kind, **sizes, "tie_word_embeddings": False, **more}
