"""The trainer's parts: examples and shared-prefix rows, the collator, the LoRA loop."""

from chartdistill.training.launch import launch_options
from chartdistill.training.memory import LOGITS_AT_ONCE, answer_bytes_per_token
from chartdistill.training.options import (
    NEEDS_WEIGHTS,
    DistillationOptions,
    LoraOptions,
    OnPolicyOptions,
    Parallel,
    TrainOptions,
)
from chartdistill.training.servable import check_adapter
from chartdistill.training.starting_adapter import go_on_from

__all__ = [
    "LOGITS_AT_ONCE",
    "NEEDS_WEIGHTS",
    "DistillationOptions",
    "LoraOptions",
    "OnPolicyOptions",
    "Parallel",
    "TrainOptions",
    "answer_bytes_per_token",
    "check_adapter",
    "go_on_from",
    "launch_options",
]
