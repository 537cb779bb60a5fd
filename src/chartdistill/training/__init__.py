"""The trainer's parts: examples and shared-prefix rows, the collator, the LoRA loop."""

from chartdistill.training.launch import launch_options
from chartdistill.training.options import DistillationOptions, LoraOptions, Parallel, TrainOptions
from chartdistill.training.servable import check_adapter

__all__ = ["DistillationOptions", "LoraOptions", "Parallel", "TrainOptions", "check_adapter", "launch_options"]
