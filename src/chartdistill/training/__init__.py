"""The trainer's parts: examples and shared-prefix rows, the collator, the LoRA loop."""

from chartdistill.training.options import DistillationOptions, LoraOptions, TrainOptions

__all__ = ["DistillationOptions", "LoraOptions", "TrainOptions"]
