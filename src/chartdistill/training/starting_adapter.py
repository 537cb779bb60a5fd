"""The adapter that a student starts from: training goes on with its weights, so the result is one adapter.

In: the options of `train`, and the adapter. Out: the options that hold. Must hold: what a config says of the adapter is
what the adapter is; what it leaves out the adapter decides.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from chartdistill.errors import ConfigError
from chartdistill.runtime.adapter_folder import CONFIG, Adapter, model_modules
from chartdistill.training.options import LoraOptions, TrainOptions

_OWN = {"rank": "r", "alpha": "lora_alpha", "use_rslora": "use_rslora", "use_dora": "use_dora"}
"""Our name of an option -> PEFT's. Dropout is not among them: it is a matter of training, not of the weights."""
_NOT_TRAINED_ON = ("modules_to_save", "lora_bias", "trainable_token_indices", "layer_replication",
                   "alora_invocation_tokens", "use_bdlora", "use_qalora")  # fmt: skip


def go_on_from(options: TrainOptions, start: Adapter, model: Path) -> TrainOptions:
    """The options of a training that goes on from an adapter.

    Args:
        model: the folder of the student.

    Raises:
        ConfigError: the adapter holds what is not trained here, or the config says of it what is not so.
    """
    if unfit := [name for name in _NOT_TRAINED_ON if start.config.get(name)]:
        raise ConfigError(
            f"student.adapter {start.folder}: {CONFIG} sets {', '.join(unfit)}, with which no training goes on here. "
            "Start from a plain LoRA adapter, or leave out student.adapter."
        )
    if start.config.get("bias", "none") != "none":
        raise ConfigError(
            f"student.adapter {start.folder}: {CONFIG} sets bias to {start.config['bias']!r}, which changes the base "
            "model. Start from an adapter with bias none, or leave out student.adapter."
        )
    said = options.lora
    wrong = [
        f"{ours} is {getattr(said, ours)}, the adapter's is {start.config.get(theirs, False)}"
        for ours, theirs in _OWN.items()
        if ours in said.model_fields_set and getattr(said, ours) != start.config.get(theirs, False)
    ]
    if "target_modules" in said.model_fields_set and _targets(said, model) != set(start.modules):
        kinds = sorted({name.rpartition(".")[2] for name in start.modules})
        wrong.append(f"target_modules is {said.target_modules}, the adapter is on {', '.join(kinds)}")
    if wrong:
        raise ConfigError(
            f"train.lora does not agree with student.adapter {start.folder}: {'; '.join(wrong)}. Leave these out (the "
            "adapter decides), or start from another adapter."
        )
    values: dict[str, Any] = {ours: start.config.get(theirs, False) for ours, theirs in _OWN.items()}
    last_names = tuple(sorted({name.rpartition(".")[2] for name in start.modules}))
    # PEFT stores what was meant in several forms; by their last names where all modules of these names are meant.
    whole = _targets(LoraOptions(target_modules=last_names), model) == set(start.modules)
    values["target_modules"] = last_names if whole else start.modules
    return options.model_copy(update={"lora": said.model_copy(update=values)})


def _targets(lora: LoraOptions, model: Path) -> set[str]:
    """The modules of a model that an adapter with these options would be on."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    modules = model_modules(model)
    if lora.target_modules == "all-linear":  # but the output layer, as PEFT has it
        kinds = (nn.Linear, Conv1D)
        return {name for name, one in modules.items() if isinstance(one, kinds) and not name.endswith("lm_head")}
    ends = "|".join(re.escape(target) for target in lora.target_modules)
    return {name for name in modules if re.search(rf"(^|\.)({ends})$", name)}


def load_start(model: Any, start: Path, lora: LoraOptions) -> Any:
    """A frozen model with an adapter whose weights are trained further."""
    from peft import PeftConfig, PeftModel

    config: Any = PeftConfig.from_pretrained(str(start))
    config.inference_mode, config.lora_dropout = False, lora.dropout
    return PeftModel.from_pretrained(model, str(start), is_trainable=True, config=config)
