"""A LoRA adapter on disk, as PEFT writes it: what it changes, and whether it is for a model.

In: a folder with adapter_config.json and adapter_model.safetensors. Must hold: what passes here is whole, is LoRA, and
each of its matrices has the module of the model that it is for, in that module's shape; no code and no pickle is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chartdistill.errors import ModelError
from chartdistill.runtime.model_folder import read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_AGAIN = "Copy the adapter again."
_PREFIX = "base_model.model."
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq")
"""`init_lora_weights` after which the adapter fits a changed base model only (PEFT's documentation of LoraConfig)."""
_Shape = tuple[int, ...]


@dataclass(frozen=True)
class Adapter:
    """A whole adapter."""

    folder: Path
    config: Mapping[str, Any]
    """adapter_config.json."""
    shapes: Mapping[str, _Shape]
    """Name of a tensor, without PEFT's prefix -> shape."""
    mark: str
    """SHA-256 of configuration and weights: other than before, and it is another adapter."""

    @property
    def rank(self) -> int:
        """The highest of its matrices."""
        ranks = [shape[0] for name, shape in self.shapes.items() if ".lora_A" in name or ".lora_embedding_A" in name]
        return max(ranks)

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that it changes."""
        return tuple(sorted({_module_of(name) for name in self.shapes}))

    @property
    def embeddings(self) -> tuple[str, ...]:
        """Those of them that are input or output embeddings."""
        tables = {_module_of(name) for name in self.shapes if ".lora_embedding_" in name}
        return tuple(name for name in self.modules if name in tables or name.rpartition(".")[2] == "lm_head")

    def facts(self) -> dict[str, str]:
        """For manifests: no path of this machine."""
        return {"name": self.folder.name, "sha256": self.mark}


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter's configuration, and the names and shapes of its weights.

    Raises:
        ModelError: it is not there, not whole, a pickle, or no LoRA adapter that goes with an unchanged model.
    """
    if not folder.is_dir():
        raise ModelError(f"adapter folder {folder} does not exist. Give a folder with {CONFIG} and {WEIGHTS}.")
    if not (folder / CONFIG).is_file():
        what = "a model folder; name it as `model:`" if (folder / "config.json").is_file() else "not an adapter folder"
        raise ModelError(f"{folder} has no {CONFIG}: it is {what}.")
    config, shapes = read_json(folder / CONFIG), _shapes(folder)
    kind, start = config.get("peft_type"), config.get("init_lora_weights")
    if kind != "LORA":
        raise ModelError(f"{folder / CONFIG}: peft_type is {kind!r}; only LORA adapters are used here.")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise ModelError(
            f"{folder / CONFIG}: init_lora_weights is {start!r}, which changed the base model's weights too, so the "
            "adapter does not fit the model as it is. Convert it with PEFT's path_initial_model_for_weight_conversion."
        )
    adapter = Adapter(folder, config, shapes, _mark(folder))
    said = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    if adapter.rank not in said:
        raise ModelError(
            f"{folder}: {CONFIG} names the rank {config.get('r')}, the weights have {adapter.rank}: the two files are "
            f"not of one adapter. {_AGAIN}"
        )
    return adapter


def adapter_rank(folder: Path) -> int:
    """The rank that an engine must make room for."""
    return read_adapter(folder).rank


def _shapes(folder: Path) -> dict[str, _Shape]:
    path = folder / WEIGHTS
    if not path.is_file():
        pickled = " It has adapter_model.bin, a pickle, which can run code when it is loaded: save it as safetensors."
        raise ModelError(f"{folder} has no {WEIGHTS}.{pickled if (folder / 'adapter_model.bin').is_file() else ''}")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:  # checks that the file has the length its head says
            names = list(stored.keys())
            shapes = {name.removeprefix(_PREFIX): tuple(stored.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}. {_AGAIN}") from error
    if not any(".lora_A" in name or ".lora_embedding_A" in name for name in shapes):
        raise ModelError(f"{path} holds no LoRA weights. {_AGAIN}")
    return shapes


def _mark(folder: Path) -> str:
    digest = hashlib.sha256()
    # In an order of its own, so that a config written anew with the same values is the same adapter.
    digest.update(json.dumps(read_json(folder / CONFIG), sort_keys=True).encode())
    with (folder / WEIGHTS).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _module_of(name: str) -> str:
    """`model.layers.0.self_attn.q_proj` of `model.layers.0.self_attn.q_proj.lora_A.weight`."""
    return name.partition(".lora_")[0].removesuffix(".weight")


def model_modules(model: Path) -> dict[str, Any]:
    """The modules of the model in a folder by name, with shapes and without weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        loaded = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model, local_files_only=True))
    return dict(loaded.named_modules())


def require_fit(adapter: Adapter, model: Path) -> None:
    """Compare every matrix of an adapter with the module of the model that it is for.

    Raises:
        ModelError: the first that has no place in the model, or another shape.
    """
    modules = model_modules(model)
    for name, shape in sorted(adapter.shapes.items()):
        if ".lora_" not in name:  # a whole module that was trained along (modules_to_save)
            continue
        place = _module_of(name)
        if place not in modules:
            raise _not_for(adapter, model, f"it changes {place!r}, which the model does not have")
        wanted = _wanted_shape(name, shape, modules[place])
        if wanted is not None and shape != wanted:
            raise _not_for(
                adapter, model, f"{name!r} has the shape {_written(shape)}, the model needs {_written(wanted)}"
            )


def _wanted_shape(name: str, shape: _Shape, module: Any) -> _Shape | None:
    """With the adapter's own rank; None for what has no shape of the module (a bias of DoRA, say)."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, nn.Embedding):
        ins, outs = module.num_embeddings, module.embedding_dim
    elif isinstance(module, Conv1D):
        ins, outs = module.weight.shape
    elif isinstance(module, nn.Linear):
        ins, outs = module.in_features, module.out_features
    else:
        return None
    if ".lora_A" in name or ".lora_embedding_A" in name:
        return (shape[0], ins)
    if ".lora_B.weight" in name or ".lora_embedding_B" in name:
        return (outs, shape[-1])
    return None


def _written(shape: _Shape) -> str:
    return " x ".join(map(str, shape))


def _not_for(adapter: Adapter, model: Path, why: str) -> ModelError:
    named = adapter.config.get("base_model_name_or_path")
    of = f" (it names {Path(str(named)).name!r} as its base model)" if named else ""
    return ModelError(
        f"the adapter {adapter.folder} is not for the model {model}{of}: {why}. Name the model that it was trained on."
    )
