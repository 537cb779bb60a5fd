"""What `train` leaves, made without training."""

from __future__ import annotations

from pathlib import Path


def write_adapter(folder: Path, model: Path) -> None:
    """A LoRA adapter of a model folder, with random values, always the same."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(7)
    get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).save_pretrained(folder)
