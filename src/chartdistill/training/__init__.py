"""The trainer's parts: examples and shared-prefix rows, the collator, the LoRA loop."""

from chartdistill.training.launch import launch_options
from chartdistill.training.options import DistillationOptions, LoraOptions, Parallel, TrainOptions

__all__ = ["DistillationOptions", "LoraOptions", "Parallel", "TrainOptions", "launch_options"]
