"""Adapter weights on disk: the best one so far, and the final one."""

from __future__ import annotations

import os
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chartdistill.runtime.run_folder import disk_errors


def best_path(folder: Path, step: int | str) -> Path:
    """Where the adapter of the validation of a step stands, which was the best until then. Each has a file of its own:
    a run that is killed before its next checkpoint goes back to one that knows only those before."""
    return folder / f"best-{step}.safetensors"


def adapter_tensors(model: Any, full_state: dict[str, Any] | None = None) -> dict[str, Any]:
    """The adapter's weights by the names PEFT stores them under. `full_state`: gathered weights of a sharded model."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, state_dict=full_state, save_embedding_layers=False)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def save_tensors(path: Path, tensors: dict[str, Any]) -> None:
    """Write weights whole or not at all."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    with disk_errors(path):
        save_file(tensors, temporary, metadata={"format": "pt"})
        os.chmod(temporary, 0o600)
        os.replace(temporary, path)


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote."""
    from safetensors.torch import load_file

    tensors: dict[str, Any] = load_file(path)
    return tensors


def put_tensors(model: Any, tensors: dict[str, Any]) -> None:
    """Give a model these adapter weights."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, tensors)


@dataclass(frozen=True)
class BaseName:
    """Which model an adapter is for, in words that mean the same on any machine."""

    name: str
    """A hub name, or that of a folder without a path."""
    revision: str | None = None
    """Of a hub name."""


def save_adapter(model: Any, tensors: dict[str, Any], folder: Path, base: BaseName | None = None) -> None:
    """Write a PEFT adapter folder: adapter_model.safetensors and adapter_config.json.

    The same adapter gives the same bytes, and they hold no path of this machine.

    Args:
        base: of the model below; None: the name of its folder.
    """
    config = copy(model.peft_config[model.active_adapter])
    # PEFT takes the folder that was loaded.
    base = base or BaseName(Path(config.base_model_name_or_path or "").name)
    config.base_model_name_or_path, config.revision = base.name or None, base.revision
    config.inference_mode = True
    if isinstance(config.target_modules, set):  # of strings, whose order is another in every process
        config.target_modules = sorted(config.target_modules)
    with disk_errors(folder):
        config.save_pretrained(folder)
    save_tensors(folder / "adapter_model.safetensors", tensors)
