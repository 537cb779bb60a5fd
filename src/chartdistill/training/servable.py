"""Whether the engine of the student can load the adapter that is to be trained: said before any work.

In: the student's folder, the adapter's options, the engine. What must hold: an adapter that passes here is one that the
engine takes; what cannot be found out without loading a model is left to the engine.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chartdistill.engines import OpenAIEngine, TransformersEngine, VllmEngine
from chartdistill.engines.vllm_models import adapter_support
from chartdistill.errors import ConfigError
from chartdistill.runtime.model_folder import read_json
from chartdistill.training.options import LoraOptions

_OPTION = "train.lora.target_modules"


def check_adapter(folder: Path, lora: LoraOptions, engine: VllmEngine | OpenAIEngine | TransformersEngine) -> None:
    """Refuse an adapter that could be trained and not used.

    Args:
        folder: a checked model folder, of the student.

    Raises:
        ConfigError: the option, its value, and what is allowed.
    """
    if isinstance(engine, OpenAIEngine) and engine.urls:
        raise ConfigError(
            f"student.engine.urls is {', '.join(engine.urls)}: a running endpoint cannot be given the adapter that is "
            "trained. Leave out `urls` (a server is then started here), or use engine vllm or transformers."
        )
    support = None if isinstance(engine, TransformersEngine) else adapter_support(_architecture(folder))
    if support is not None and not support.takes_adapters:
        raise ConfigError(
            f"student.engine runs vLLM, which takes no adapters for {_architecture(folder)} ({folder}). Set "
            "student.engine.type: transformers, or choose another student."
        )
    if isinstance(lora.target_modules, str):  # all-linear: every engine takes those
        return
    embeddings = _embeddings_among(folder, lora.target_modules)
    refused = [target for target in embeddings if support and target.rpartition(".")[2] not in support.embeddings]
    if refused and support is not None:
        allowed = f"embeddings but {', '.join(support.embeddings)}" if support.embeddings else "embeddings"
        raise ConfigError(
            f"{_OPTION} names {', '.join(refused)}, and vLLM takes no adapter on {allowed} of {_architecture(folder)}. "
            "Leave them out (all-linear does), or set student.engine.type: transformers."
        )


def _architecture(folder: Path) -> str:
    """As config.json names it; empty where it does not."""
    return str((read_json(folder / "config.json").get("architectures") or [""])[0])


def _embeddings_among(folder: Path, targets: Sequence[str]) -> list[str]:
    """Those of the targets that are the model's input or output embeddings; the others are linear layers.

    Raises:
        ConfigError: a target that the model does not have, or that no adapter can be put on.
    """
    import torch
    from torch import nn
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    with torch.device("meta"):  # shapes and names only
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    kinds = (nn.Linear, nn.Embedding, nn.Conv1d, Conv1D)
    modules: dict[str, Any] = dict(model.named_modules())
    known = sorted({name.rpartition(".")[2] for name, module in modules.items() if isinstance(module, kinds)})
    embeddings = []
    for target in targets:
        meant = [module for name, module in modules.items() if name == target or name.endswith(f".{target}")]
        if not meant or not all(isinstance(module, kinds) for module in meant):
            near = difflib.get_close_matches(target, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            what = f"is a {type(meant[0]).__name__}, which takes no adapter" if meant else "is no module of the student"
            raise ConfigError(f"{_OPTION}: {target!r} {what}; {hint}allowed: {', '.join(known)}, or all-linear.")
        if any(isinstance(m, nn.Embedding) or m is model.get_output_embeddings() for m in meant):
            embeddings.append(target)
    return embeddings
