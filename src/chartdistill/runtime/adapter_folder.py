"""A LoRA adapter on disk, as PEFT writes it: what it changes, and whether it is for a model.

In: a folder with adapter_config.json and adapter_model.safetensors. Must hold: what passes here is whole, is LoRA, has
every matrix that its configuration makes of the model, in its shape, and no other; no code and no pickle is read.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chartdistill.errors import ModelError
from chartdistill.runtime.model_folder import read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_AGAIN = "Copy the adapter again."
_PREFIX = "base_model.model."
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
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
        if (folder / "checkpoints").is_dir():
            what = "that of a run whose training did not end; run it again, which goes on with it"
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
    _require_values(folder, config)
    adapter = Adapter(folder, config, shapes, _mark(folder))
    said = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    if adapter.rank not in said:
        raise ModelError(
            f"{folder}: {CONFIG} names the rank {config.get('r')}, the weights have {adapter.rank}: the two files are "
            f"not of one adapter. {_AGAIN}"
        )
    return adapter


def _require_values(folder: Path, config: Mapping[str, Any]) -> None:
    """PEFT takes a default for what is not there, vLLM none: one file would be two adapters."""
    alpha, targets = config.get("lora_alpha"), config.get("target_modules")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not alpha > 0:
        raise ModelError(f"{folder / CONFIG}: lora_alpha is {alpha!r}; it must be a number above 0. {_AGAIN}")
    if not targets:
        raise ModelError(f"{folder / CONFIG} names no target_modules, so it does not say what it changes. {_AGAIN}")


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
            unusable = next((name for name in names if not _is_finite(stored.get_tensor(name))), None)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}. {_AGAIN}") from error
    if not any(".lora_A" in name or ".lora_embedding_A" in name for name in shapes):
        raise ModelError(f"{path} holds no LoRA weights. {_AGAIN}")
    if other := next((name for name in names if not name.startswith(_PREFIX)), None):
        raise ModelError(
            f"{path}: PEFT would pass over {other!r}, whose name does not begin with {_PREFIX!r}. Save the adapter "
            "with PEFT's save_pretrained."
        )
    if unusable is not None:
        raise ModelError(
            f"{path}: {unusable!r} holds NaN, infinity or whole numbers, so every answer would be worthless: its "
            "training failed, or the file is damaged. Take another checkpoint, or train it again."
        )
    return shapes


def _is_finite(tensor: Any) -> bool:
    import torch

    return tensor.is_floating_point() and bool(torch.isfinite(tensor.float()).all())


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
    """Compare every matrix of an adapter with the module of the model that it is for, and all of them with those that
    its configuration makes of the model: PEFT makes up what is missing, and passes over what it has no place for.

    Raises:
        ModelError: the first that has no place in the model, or another shape; one is missing, or one too many.
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
    _require_as_configured(adapter, modules[""])


def _require_as_configured(adapter: Adapter, model: Any) -> None:
    wanted = _shapes_by_config(adapter, model)
    # PEFT saves a table of embeddings along with an adapter on it.
    tables = {f"{name}{own}.weight" for name in adapter.embeddings for own in ("", ".base_layer")}
    missing = sorted(wanted.keys() - adapter.shapes.keys())
    beyond = sorted(adapter.shapes.keys() - wanted.keys() - tables)
    other = sorted(name for name in wanted.keys() & adapter.shapes.keys() if wanted[name] != adapter.shapes[name])
    if missing:
        wrong = f"lacks {len(missing)} of the {len(wanted)} matrices that {CONFIG} makes of the model: {missing[0]!r}"
    elif beyond:
        wrong = f"holds {beyond[0]!r}, which {CONFIG} does not make of the model"
    elif other:
        shapes = _written(adapter.shapes[other[0]]), _written(wanted[other[0]])
        wrong = f"holds {other[0]!r} as {shapes[0]}, by {CONFIG} it is {shapes[1]}"
    else:
        return
    raise ModelError(f"{adapter.folder}: {WEIGHTS} {wrong}. The two files are not of one whole adapter. {_AGAIN}")


def _shapes_by_config(adapter: Adapter, model: Any) -> dict[str, _Shape]:
    """What PEFT would save of an adapter with this configuration.

    Args:
        model: without weights; it is changed.
    """
    import torch
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # about options of newer versions, and tied embeddings
        try:
            config: Any = PeftConfig.from_pretrained(str(adapter.folder))
            config.init_lora_weights = False  # some ways to begin need weights, or records
            made = get_peft_model(model, config, low_cpu_mem_usage=True)
            state = get_peft_model_state_dict(made, save_embedding_layers=False)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{adapter.folder / CONFIG}: PEFT cannot make an adapter of it: {error}. {_AGAIN}"
            ) from error
    return {name.removeprefix(_PREFIX): tuple(tensor.shape) for name, tensor in state.items()}


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
