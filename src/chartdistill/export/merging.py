"""Base and adapter -> one model folder, in the dtype that the base is stored in.

In: a checked model folder, an adapter that fits it. Out: safetensors with tokenizer, template, licence and a generation
config that ends where the student learned to end. Must hold: each changed matrix is added up in 32 bits and rounded
once; what a merge cannot hold is refused by name, before any work.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chartdistill.errors import ModelError
from chartdistill.runtime.adapter_folder import CONFIG, Adapter
from chartdistill.runtime.model_folder import read_json

_NOT_MERGED = {
    "modules_to_save": "whole modules that were trained along",
    "trainable_token_indices": "rows of the embeddings that were trained along",
    "alora_invocation_tokens": "an adapter that is off until certain tokens are read",
    "layer_replication": "layers that the base does not have",
    "target_parameters": "parameters that are no module's own",
    "lora_bias": "biases that the base does not have",
    "use_bdlora": "a form of LoRA that was not tried here",
    "use_qalora": "a form of LoRA that was not tried here",
    "arrow_config": "several adapters of which each token takes one",
}
"""Options of PEFT that are no product added to a matrix, or were not tried."""
_TOKENIZER_FILES = ("tokenizer*", "chat_template*", "special_tokens_map.json", "added_tokens.json", "vocab.*",
                    "merges.txt")  # fmt: skip
LICENCES = ("LICEN[CS]E*", "NOTICE*", "USE_POLICY*")


def require_mergeable(adapter: Adapter, base: Path) -> None:
    """Refuse what a merged model could not hold.

    Raises:
        ModelError: what of the adapter or the base it is, and what to do.
    """
    config = read_json(base / "config.json")
    if "quantization_config" in config:
        kind = (config["quantization_config"] or {}).get("quant_method", "an unknown method")
        raise ModelError(
            f"{base} holds quantised weights ({kind}), and a merge adds to whole ones. Give the run the unquantised "
            "model of the same name as its student, or take the adapter as it is: --to vllm-adapter."
        )
    unfit = [f"{name} ({_NOT_MERGED[name]})" for name in _NOT_MERGED if adapter.config.get(name)]
    if adapter.config.get("bias", "none") != "none":
        unfit.append(f"bias {adapter.config['bias']!r} (biases of the base that were trained along)")
    if unfit:
        raise ModelError(
            f"{adapter.folder / CONFIG} sets {', '.join(unfit)}, which no merge here holds. Take the adapter as it is "
            "(--to vllm-adapter, if vLLM serves it), or train a plain LoRA adapter."
        )
    tied = config.get("tie_word_embeddings", True)
    if adapter.embeddings and tied:
        raise ModelError(
            f"{adapter.folder} changes {', '.join(adapter.embeddings)}, and {base} has one matrix for input and output "
            "embeddings (tie_word_embeddings): merged into it, the change would be on the other side too. Take the "
            "adapter as it is (--to vllm-adapter), or train one without (train.lora.target_modules: all-linear)."
        )


def merge(base: Path, adapter: Adapter, folder: Path, end_id: int) -> dict[str, Any]:
    """Write the merged model into `folder`.

    Args:
        end_id: the id that ends an answer.

    Returns:
        What was done: `dtype` of the weights, `matrices` that were changed.

    Raises:
        ModelError: the base cannot be loaded, or a merged matrix is not finite.
    """
    import torch
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{base} cannot be loaded to be merged: {error}") from error
    with_adapter = PeftModel.from_pretrained(model, adapter.folder)
    changed = 0
    for name, module in with_adapter.named_modules():
        if isinstance(module, BaseTunerLayer):
            weight = module.get_base_layer().weight
            stored = weight.dtype
            weight.data = weight.data.float()
            module.merge()
            weight.data = weight.data.to(stored)
            if not torch.isfinite(weight.data).all():
                raise ModelError(f"{name}: base and adapter add up to more than {stored} holds. Train it again.")
            changed += 1
    merged = with_adapter.unload()
    dtype = str(merged.dtype).removeprefix("torch.")
    merged.save_pretrained(folder)
    copy_matching(base, folder, (*_TOKENIZER_FILES, *LICENCES))
    _write_generation_config(base, folder, end_id)
    return {"dtype": dtype, "matrices": changed}


def copy_matching(source: Path, folder: Path, patterns: tuple[str, ...]) -> None:
    """Copy the files of a folder (not of folders in it) whose names match."""
    for pattern in patterns:
        for path in sorted(source.glob(pattern)):
            if path.is_file():
                shutil.copyfile(path, folder / path.name)


def _write_generation_config(base: Path, folder: Path, end_id: int) -> None:
    """Greedy, and ended by the id that the student learned to end with, or by the base's own."""
    path = base / "generation_config.json"
    own: Mapping[str, Any] = read_json(path) if path.is_file() else read_json(base / "config.json")
    ends = own.get("eos_token_id")
    listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
    kept = {name: own[name] for name in ("bos_token_id", "pad_token_id") if own.get(name) is not None}
    config = {**kept, "eos_token_id": [end_id, *(i for i in listed if i != end_id)], "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
