"""Adapters of tiny models, as PEFT writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def make_adapter(model: Path, folder: Path, rank: int = 4, seed: int = 1, **options: Any) -> Path:
    """An adapter with random values, so that it changes answers. `options`: of peft.LoraConfig."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    chosen = {"lora_alpha": 32, "target_modules": ["q_proj", "v_proj", "o_proj"], "init_lora_weights": False, **options}
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    get_peft_model(base, LoraConfig(r=rank, task_type="CAUSAL_LM", **chosen)).save_pretrained(folder)
    return folder


def rewrite_config(adapter: Path, **values: Any) -> Path:
    """Change adapter_config.json; a value of None is written as null."""
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return adapter
