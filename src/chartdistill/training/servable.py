"""Whether the engine of the student can load the adapter that is to be trained: said before any work.

In: the student's folder, the adapter's options, the engine. What must hold: an adapter that passes here is one that the
engine takes; what cannot be found out without loading a model is left to the engine.
"""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chartdistill.engines import OpenAIEngine, TransformersEngine, VllmEngine
from chartdistill.errors import ConfigError
from chartdistill.runtime.model_folder import read_json
from chartdistill.training.options import LoraOptions

_OPTION = "train.lora.target_modules"
_ASK_VLLM = """
import json, sys
from vllm.model_executor.models.registry import ModelRegistry
model = ModelRegistry.models[sys.argv[1]].load_model_cls()
print(json.dumps(sorted(getattr(model, "embedding_modules", None) or ())))
"""


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
    if isinstance(lora.target_modules, str):  # all-linear: every engine takes those
        return
    embeddings = _embeddings_among(folder, lora.target_modules)
    if embeddings and not isinstance(engine, TransformersEngine):
        _check_embeddings(embeddings, str((read_json(folder / "config.json").get("architectures") or [""])[0]))


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


def _check_embeddings(embeddings: Sequence[str], architecture: str) -> None:
    """vLLM puts adapters on the embeddings of some architectures only; which, its model classes know."""
    asked = subprocess.run(
        [sys.executable, "-c", _ASK_VLLM, architecture], capture_output=True, text=True, check=False
    )  # a process of its own: vLLM changes what imports it
    if asked.returncode:  # not installed here, or it runs this architecture through transformers
        return
    allowed = json.loads(asked.stdout.splitlines()[-1])
    refused = [target for target in embeddings if target.rpartition(".")[2] not in allowed]
    if refused:
        raise ConfigError(
            f"{_OPTION} names {', '.join(refused)}, and vLLM loads no adapter on "
            + (
                f"embeddings of {architecture} other than {', '.join(allowed)}"
                if allowed
                else f"those of {architecture}"
            )
            + ". Leave them out (all-linear does), or set student.engine.type: transformers."
        )
