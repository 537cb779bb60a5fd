"""A model that thinks, made by hand: what it writes next hangs on the token before alone, so it needs no training.

Its weights are real ones, of a Llama without attention: each token of the thought points to the next one, and whatever
else is written leads to the beginning of an answer or to its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from chartdistill.runtime.model_folder import load_tokenizer

THOUGHT = "He takes one drug, so the answer is short."
OPENS = "{% if add_generation_prompt %}<think>{% endif %}"
"""What is put behind the demo's chat template: it then opens a thought in every prompt."""
_SIZE = 128


def make_thinking_model(
    folder: Path, tokenizer_folder: Path, one_token: bool = True, others: Sequence[int] | None = None
) -> Path:
    """A model folder.

    Args:
        one_token: `</think>` is a token of its own, as in Qwen3 and DeepSeek R1; else it is written in pieces, and the
            model thinks the same again behind it.
        others: ids that it thinks instead of THOUGHT.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    tokenizer.chat_template += OPENS
    if one_token:
        tokenizer.add_tokens(["<think>", "</think>"])
    thought = tokenizer.encode(THOUGHT, add_special_tokens=False) if others is None else list(others)
    opening, closing = (tokenizer.encode(mark, add_special_tokens=False) for mark in ("<think>", "</think>"))
    chain = [opening[-1], *thought, *[i for i in closing if i not in thought]]
    if chain[-1] == chain[0]:
        chain.pop()
    answer = tokenizer.encode("None found", add_special_tokens=False)
    following = dict(pairwise([*answer, tokenizer.eos_token_id]))
    following |= dict(pairwise([*chain, answer[0] if one_token else chain[0]]))
    assert len(following) == len(chain) + len(answer), "one token, one next token"
    return save_chain(folder, tokenizer, following, answer[0])


def save_chain(folder: Path, tokenizer: Any, following: Mapping[int, int], otherwise: int) -> Path:
    """A model folder of a model that writes one token behind another, and `otherwise` behind all others."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    assert len(following) < _SIZE - 1
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=_SIZE,
        intermediate_size=_SIZE,
        num_hidden_layers=1,
        num_attention_heads=2,  # wide enough for vLLM's CPU kernels
        num_key_value_heads=1,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
        embedding.zero_()
        head.zero_()
        embedding[:, 0] = 1.0
        head[tokenizer.eos_token_id, 0] = 0.2  # to end, where that is allowed and nothing else is said
        head[otherwise, 0] = 0.3
        for place, (token, nexts) in enumerate(following.items(), 1):
            embedding[token] = 0.0
            embedding[token, place] = 1.0
            head[nexts, place] = 3.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
