"""GGUF files of a tiny model, written with the package of those who made the format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
HIDDEN, HEADS, KV_HEADS, INNER, LAYERS = 64, 4, 2, 128, 2


def make_tokenizer() -> Any:
    """Byte-level BPE that cuts every digit off by itself, as SmolLM's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)
    text = "The patient takes aspirin  and the  nurse gives the medicine in the morning.  Then    10 mg  in  2 weeks."
    tokenizer.train_from_iterator([text] * 4, trainer)
    return tokenizer


def make_model(vocabulary: int, seed: int = 1) -> Any:
    """A random Llama with tied embeddings."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=512, tie_word_embeddings=True,
        initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def write_gguf(path: Path, model: Any, tokenizer: Any, quantised: bool = False, **changes: Any) -> Path:
    """Write a model as llama.cpp's converter does.

    Args:
        quantised: matrices in Q8_0.
        changes: `architecture`, `template`, `split`, `merges`, `kind`, `parts`, `licence` instead of the usual;
            `extra`: a tensor more; `without`: a tensor less. None leaves a value out.
    """
    import gguf

    architecture = changes.get("architecture", "llama")
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(changes.get("kind", "model"))
    writer.add_name("Tiny")
    if licence := changes.get("licence", "apache-2.0"):
        writer.add_license(licence)
    if parts := changes.get("parts"):
        writer.add_uint16("split.count", parts)
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(tokenizer.get_vocab_size())
    _add_tokenizer(writer, tokenizer, changes)
    for name, value in _tensors(model).items():
        if name != changes.get("without"):
            matrix = value.ndim == 2 and quantised
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(value, kind) if matrix else value, raw_dtype=kind if matrix else None)
    if extra := changes.get("extra"):
        writer.add_tensor(extra, np.ones(16, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any, tokenizer: Any, changes: dict[str, Any]) -> None:
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    if split := changes.get("split", "smollm"):
        writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    import json

    merges = changes.get("merges") or json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    if template := changes.get("template", TEMPLATE):
        writer.add_chat_template(template)


def _tensors(model: Any) -> dict[str, np.ndarray]:
    """By the names of the format; q and k as llama.cpp turns them (its `permute`)."""
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    state = {name: value.float().numpy() for name, value in model.state_dict().items()}
    found = {"token_embd.weight": state["model.embed_tokens.weight"], "output_norm.weight": state["model.norm.weight"]}
    for layer in range(LAYERS):
        for theirs, ours in names.items():
            value = state[f"model.layers.{layer}.{theirs}.weight"]
            if ours in ("attn_q", "attn_k"):
                heads = HEADS if ours == "attn_q" else KV_HEADS
                value = value.reshape(heads, 2, value.shape[0] // heads // 2, value.shape[1]).swapaxes(1, 2)
                value = value.reshape(-1, HIDDEN)
            found[f"blk.{layer}.{ours}.weight"] = np.ascontiguousarray(value)
    return found


if __name__ == "__main__":  # the import of a file, told before it renames its work: to be killed there
    import time

    from chartdistill.runtime import gguf_model

    def wait(*_: Any) -> None:
        print("written", flush=True)
        time.sleep(60)

    gguf_model._answers = wait  # type: ignore[assignment]
    gguf_model.import_gguf(Path(sys.argv[1]), Path(sys.argv[2]))
