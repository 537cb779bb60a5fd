"""How large a model is: parameters by kind, and what a token costs, from its config.json alone.

The model is built on torch's meta device, which has shapes and no memory, so the counts are those of the very
modules that training uses, for every architecture transformers knows. Nothing of the weights is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chartdistill.errors import ModelError
from chartdistill.runtime.model_folder import read_json

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of one weight in bitsandbytes' NF4 with double quantisation: 4 bits, an 8-bit scale for 64 weights, and a 32-bit
scale for 256 of those (Dettmers and others, QLoRA, 2023, section 3)."""
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder. Parameters are numbers of weights; a tied output layer counts once."""

    model_type: str
    parameters: int
    active_parameters: int
    """Used for one token: fewer than `parameters` in a mixture of experts."""
    embedding_parameters: int
    """Of the input embedding, and of the output layer where it is not tied."""
    block_parameters: int
    """Of the linear layers and experts inside the blocks: what quantisation makes smaller."""
    tied: bool
    layers: int
    hidden: int
    intermediate: int
    """Width of one block's feed-forward part as one token sees it; in a mixture, of all experts it is sent to."""
    expert_intermediate: int | None
    """Width of one expert, None without experts."""
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    """Longest sequence the model was made for, in tokens."""
    query_key_norm: bool
    dtype: str
    """That the config names."""
    linear_widths: Mapping[str, int] = field(default_factory=dict)
    """Sum of (inputs + outputs) over the blocks' linear layers, by the last part of their names: a LoRA adapter of
    rank r has r times that many parameters."""
    quantization: Mapping[str, Any] = field(default_factory=dict)
    """`quantization_config` of the config; empty for plain weights."""

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of one token in all layers, in a 16-bit cache."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 2

    def weight_bytes(self, dtype: str, quantization: str | None = None) -> float | None:
        """Memory of the weights.

        Args:
            dtype: of what is not quantised: auto (16 bits), float32, bfloat16, float16.
            quantization: a scheme applied at load time (fp8 or nf4); None: what the config says.

        Returns:
            Bytes, or None where the scheme's size is not known here.
        """
        plain = DTYPE_BYTES.get(dtype, 2)
        block = _block_bytes(quantization, self.quantization, plain)
        if block is None:
            return None
        return self.block_parameters * block + (self.parameters - self.block_parameters) * plain

    def adapter_parameters(self, rank: int, targets: tuple[str, ...] | str) -> int:
        """Parameters of a LoRA adapter (`targets`: names of linear layers, or `all-linear`)."""
        names = self.linear_widths if isinstance(targets, str) else targets
        return rank * sum(self.linear_widths.get(name, 0) for name in names)


def read_shape(folder: Path) -> ModelShape:
    """The shape of a model folder, or of a single config.json.

    Raises:
        ModelError: no config there, or an architecture that transformers does not know.
    """
    path = folder / "config.json" if folder.is_dir() else folder
    return shape_of(read_json(path), str(path))


def shape_of(values: dict[str, Any], where: str) -> ModelShape:
    """The shape of a model from the content of its config.json; `where` is named in errors.

    Raises:
        ModelError: transformers does not know this kind of model, or it has no attention or no longest sequence.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    plain = {name: value for name, value in values.items() if name not in ("quantization_config", "auto_map")}
    try:
        config = AutoConfig.for_model(**plain)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{where}: a model of type {values.get('model_type')!r} cannot be laid out ({error}). Use one that the "
            "installed transformers knows, and check that the file is complete."
        ) from error
    try:
        return _measured(model, values)
    except AttributeError as error:
        raise ModelError(
            f"{where}: a model of type {values.get('model_type')!r} names no size that is planned with here ({error}). "
            "Memory is planned for decoders with attention in every layer and a longest sequence; take one of those."
        ) from error


def _measured(model: Any, values: dict[str, Any]) -> ModelShape:
    import torch

    config = model.config
    text = config.get_text_config()
    linear: dict[str, int] = {}
    block = 0
    output = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not output:
            block += module.weight.numel()
            last = name.rpartition(".")[2]
            linear[last] = linear.get(last, 0) + module.in_features + module.out_features
    experts = sum(p.numel() for name, p in model.named_parameters() if ".experts." in name and p.dim() == 3)
    parameters = sum(p.numel() for p in model.parameters())
    count = getattr(text, "num_experts", None) or getattr(text, "num_local_experts", None)
    chosen = getattr(text, "num_experts_per_tok", None) or 0
    expert_width = getattr(text, "moe_intermediate_size", None) if experts else None
    heads = text.num_attention_heads
    tied = bool(text.tie_word_embeddings)
    embedding = model.get_input_embeddings().weight.numel() * (1 if tied else 2)
    return ModelShape(
        model_type=config.model_type,
        parameters=parameters,
        active_parameters=parameters - (experts - experts * chosen // count if count else 0),
        embedding_parameters=embedding,
        block_parameters=block + experts,
        tied=tied,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=expert_width * chosen if expert_width else text.intermediate_size,
        expert_intermediate=expert_width,
        heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        vocab=text.vocab_size,
        context=text.max_position_embeddings,
        query_key_norm=any(name.endswith("q_norm") for name, _ in model.named_modules()),
        dtype=str(values.get("dtype") or values.get("torch_dtype") or "float32"),
        linear_widths=linear,
        quantization=dict(values.get("quantization_config") or {}),
    )


def _block_bytes(scheme: str | None, stored: Mapping[str, Any], plain: int) -> float | None:
    """Bytes of one weight inside the blocks."""
    if stored:
        return _stored_bytes(stored)
    known = {None: float(plain), "fp8": 1.0, "nf4": NF4_BYTES}
    return known.get(scheme)


def _stored_bytes(stored: Mapping[str, Any]) -> float | None:
    """Bytes of one weight as a quantised model folder holds it."""
    method = stored.get("quant_method")
    if method == "fp8":
        return 1 + 4 / math.prod(stored.get("weight_block_size") or (128, 128))
    if method in ("awq", "gptq"):
        # One 16-bit scale and one zero point of the same bits as the weights for each group.
        bits, group = stored["bits"], stored.get("group_size", 128)
        return float(bits / 8 + (2 + bits / 8) / group if group > 0 else bits / 8)
    if method == "compressed-tensors":
        groups = [g.get("weights") or {} for g in (stored.get("config_groups") or {}).values()]
        if len(groups) == 1 and groups[0].get("num_bits"):
            size = groups[0].get("group_size")
            return float(groups[0]["num_bits"] / 8 + (2 / size if size else 0))
    return None
