"""A merged model folder -> one GGUF file, as llama.cpp and Ollama read it.

In: safetensors of an architecture that is known here. Out: the file. Must hold: every tensor of the folder is in it, or
the export is refused by name; one tensor at a time is in memory; what is said of the model (heads, rope, context) is
what its config says, and a setting that is not known here is refused.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Names and layouts are those of llama.cpp's own
converter (conversion/llama.py, conversion/qwen.py), which turns the rows of q and k for the rope of `llama`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chartdistill.errors import ModelError
from chartdistill.export.gguf_tokenizer import GgufTokenizer
from chartdistill.export.options import GgufType
from chartdistill.runtime.model_folder import read_json

BYTES_PER_VALUE: dict[GgufType, float] = {
    "f32": 4, "bf16": 2, "f16": 2, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32, "q4_0": 18 / 32,
}  # fmt: skip
_COARSE = ("q5_1", "q5_0", "q4_1", "q4_0")
_TABLES = ("token_embd.weight", "output.weight")
"""Kept in 8 bits where the rest has fewer: half of a small model's words hang on them."""
_OTHERWISE = "Export it as --to merged or --to vllm-adapter instead."
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class _Architecture:
    name: str
    """GGUF's."""
    turns_rope: bool
    """Whether the rows of q and k are turned."""


ARCHITECTURES = {
    "LlamaForCausalLM": _Architecture("llama", True),
    "Qwen2ForCausalLM": _Architecture("qwen2", False),
    "Qwen3ForCausalLM": _Architecture("qwen3", False),
}
"""Class of a model's config.json -> how it is written."""


def require_known(config: dict[str, Any], folder: Path) -> None:
    """Refuse what is not written here, before any work.

    Raises:
        ModelError: the architecture, or a setting of it.
    """
    kind = str((config.get("architectures") or ["unknown"])[0])
    if kind not in ARCHITECTURES:
        raise ModelError(
            f"{folder.name} is a {kind}, which is not written as GGUF here; allowed: {', '.join(ARCHITECTURES)}. "
            f"{_OTHERWISE} llama.cpp's convert_hf_to_gguf.py, which knows more, takes the merged folder."
        )
    rope = _rope(config)
    layers = set(config.get("layer_types") or ["full_attention"])
    wrong = {
        "hidden_act": config.get("hidden_act", "silu") not in ("silu", "swish"),
        "rope_parameters": rope["kind"] not in ("default", "linear", "llama3"),
        "partial_rotary_factor": rope["share"] != 1,
        "layer_types": layers != {"full_attention"},
        "use_sliding_window": bool(config.get("use_sliding_window")),
    }
    if unknown := [name for name, is_wrong in wrong.items() if is_wrong]:
        said = ", ".join(f"{name} {config.get(name)!r}" for name in unknown)
        raise ModelError(f"{folder.name}: {said} of its config.json is not written as GGUF here. {_OTHERWISE}")


def write_gguf(model: Path, file: Path, kind: GgufType, tokenizer: GgufTokenizer, about: dict[str, str]) -> int:
    """Write `file` from the merged model folder `model`.

    Args:
        about: `name`, `license`, `base` of the model, as far as they are known.

    Returns:
        The number of tensors.

    Raises:
        ModelError: a tensor has no place in the format, or does not fit into its type.
    """
    import gguf

    config = read_json(model / "config.json")
    require_known(config, model)
    known = ARCHITECTURES[config["architectures"][0]]
    writer = gguf.GGUFWriter(file, known.name)
    _describe(writer, config, kind, about)
    tokenizer.write(writer)
    with ExitStack() as stack:
        tensors = list(_tensors(model, config, known, stack))
        for name, shape, _ in tensors:
            written = _type_of(name, shape, kind)
            writer.add_tensor_info(name, shape, np.dtype(np.float32), _size(shape, written), written)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, shape, read in tensors:
            writer.write_tensor_data(_packed(read(), _type_of(name, shape, kind), name))
    writer.close()
    return len(tensors)


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """Settings of the rope, whatever version of transformers wrote them."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {
        **found,
        "kind": found.get("rope_type") or found.get("type") or "default",
        "theta": float(found.get("rope_theta") or config.get("rope_theta") or 10000.0),
        "share": found.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1,
    }


def _describe(writer: Any, config: dict[str, Any], kind: GgufType, about: dict[str, str]) -> None:
    import gguf

    rope, width = _rope(config), _head_width(config)
    file_type = "ALL_F32" if kind == "f32" else f"MOSTLY_{kind.upper()}"
    writer.add_type("model")
    writer.add_name(about["name"])
    if licence := about.get("license"):
        writer.add_license(licence)
    if base := about.get("base"):
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, base)
    writer.add_file_type(gguf.LlamaFileType[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(_kv_heads(config))
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(rope["theta"])
    if rope["kind"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


def _head_width(config: dict[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _kv_heads(config: dict[str, Any]) -> int:
    return int(config.get("num_key_value_heads") or config["num_attention_heads"])


_Tensor = tuple[str, tuple[int, ...], Callable[[], FloatArray]]


def _tensors(model: Path, config: dict[str, Any], known: _Architecture, stack: ExitStack) -> Iterator[_Tensor]:
    """Name in the file, shape, and how it is read, of every tensor."""
    import gguf
    from safetensors import safe_open

    kind = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == known.name)
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    for path in sorted(model.glob("*.safetensors")):
        stored = stack.enter_context(safe_open(path, framework="pt"))
        for own in sorted(stored.keys()):
            if own == "lm_head.weight" and config.get("tie_word_embeddings"):
                continue  # the embeddings again
            name = names.get_name(own, try_suffixes=(".weight", ".bias"))
            if name is None:
                raise ModelError(f"{model.name}: GGUF has no place for {own!r} in {known.name}. {_OTHERWISE}")
            turned = _turned_heads(own, config) if known.turns_rope else None
            yield name, tuple(stored.get_slice(own).get_shape()), _reader(stored, own, turned)
    if _rope(config)["kind"] == "llama3":
        factors = _llama3_factors(_rope(config), _head_width(config))
        yield "rope_freqs.weight", factors.shape, lambda: factors


def _reader(stored: Any, own: str, heads: int | None) -> Callable[[], FloatArray]:
    def read() -> FloatArray:
        value: FloatArray = stored.get_tensor(own).float().numpy()
        return value if heads is None else _turn(value, heads)

    return read


def _turned_heads(name: str, config: dict[str, Any]) -> int | None:
    """Heads of a tensor whose rows are turned; None of all others."""
    if name.endswith(("q_proj.weight", "q_proj.bias")):
        return int(config["num_attention_heads"])
    return _kv_heads(config) if name.endswith(("k_proj.weight", "k_proj.bias")) else None


def _turn(value: FloatArray, heads: int) -> FloatArray:
    """Halves of each head -> pairs, as the rope of llama.cpp's `llama` wants them."""
    rows = value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2).reshape(value.shape))


def _llama3_factors(rope: dict[str, Any], width: int) -> FloatArray:
    """What Llama 3's rope divides each frequency by (transformers, `_compute_llama3_parameters`)."""
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    factor, context = float(rope["factor"]), float(rope["original_max_position_embeddings"])
    waves = 2 * math.pi * rope["theta"] ** (np.arange(0, width, 2, dtype=np.float64) / width)
    smooth = np.clip((context / waves - low) / (high - low), 0, 1)
    return np.asarray(1 / ((1 - smooth) / factor + smooth), dtype=np.float32)


def _type_of(name: str, shape: tuple[int, ...], kind: GgufType) -> Any:
    """Vectors stay in 32 bits; a row that is not whole blocks of 32 values is kept in 16."""
    import gguf

    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    chosen = "q8_0" if kind in _COARSE and name in _TABLES else kind
    if shape[-1] % 32 and chosen not in ("f32", "bf16"):
        chosen = "f16"
    return gguf.GGMLQuantizationType[chosen.upper()]


def _size(shape: tuple[int, ...], kind: Any) -> int:
    import gguf

    block, size = gguf.GGML_QUANT_SIZES[kind]
    return int(math.prod(shape) // block * size)


def _packed(value: FloatArray, kind: Any, name: str) -> NDArray[Any]:
    import gguf

    if kind.name == "F16" and float(np.abs(value).max(initial=0.0)) > np.finfo(np.float16).max:
        raise ModelError(f"{name} holds values beyond what 16 bits can (f16). Take --type bf16 or f32.")
    packed: NDArray[Any] = gguf.quantize(np.ascontiguousarray(value), kind)
    return packed
