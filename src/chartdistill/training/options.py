"""What a config may say about training."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LoraOptions(BaseModel):
    """The adapter (see peft.LoraConfig)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    """The adapter's output is scaled by alpha / rank (rsLoRA: alpha / sqrt(rank))."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    use_rslora: bool = False


class TrainOptions(BaseModel):
    """How the student is tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lora: LoraOptions = LoraOptions()
    epochs: float = Field(default=3, gt=0)
    learning_rate: float = Field(default=2e-4, gt=0)
    warmup_fraction: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps during which the learning rate rises; then it falls along a cosine."""
    records_per_step: int = Field(default=8, ge=1)
    """Records (with all their tasks) per optimizer step and process."""
    records_per_pass: int | None = Field(default=None, ge=1)
    """Records per forward pass; lower it when memory runs out. None: all of a step's at once."""
    max_tokens: int = Field(default=4096, ge=16)
    """Longest example (record, question and answer). A longer one stops the run before the first step."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    shared_prefix: bool = True
    """Compute a record once for all of its answers. Same gradients as separate rows, several times faster."""
    load_in_4bit: bool = False
    """QLoRA: the frozen student in NF4 (bitsandbytes)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the frozen student. auto: bfloat16 on CUDA where the card has it, else float32."""
    gradient_checkpointing: bool = False
    """Less memory for about a third more time."""
    validation_passes: int = Field(default=3, ge=0)
    """How often, spread over the run, the validation loss is measured."""
    seed: int = 0
