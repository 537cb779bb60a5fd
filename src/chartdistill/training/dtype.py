"""The dtype of the frozen student: as the options say, or what this machine computes fast.

In: the options and the adapter's folder. Out: the options with a dtype. Must hold: it stays the same when a killed run
goes on, and is the same for all processes, so it is chosen once and written down.
"""

from __future__ import annotations

from pathlib import Path

from chartdistill.runtime.cpu_products import prefers_bfloat16
from chartdistill.runtime.run_folder import write_text
from chartdistill.training.options import TrainOptions

_NOTE = "dtype"
_DTYPES = ("float32", "bfloat16")


def choose_dtype(options: TrainOptions, folder: Path) -> None:
    """Write down what `auto` means here, unless an earlier part of this run has. Called by the first process alone."""
    note = folder / _NOTE
    if not note.exists() or note.read_text(encoding="utf-8") not in _DTYPES:
        write_text(note, _chosen(options))


def with_dtype(options: TrainOptions, folder: Path) -> TrainOptions:
    """The options with the dtype that was written down."""
    return options.model_copy(update={"dtype": (folder / _NOTE).read_text(encoding="utf-8")})


def _chosen(options: TrainOptions) -> str:
    import torch

    if options.dtype != "auto":
        return options.dtype
    # Without what torch emulates: before Ampere that is slower than float32.
    fast = torch.cuda.is_bf16_supported(False) if torch.cuda.is_available() else prefers_bfloat16()
    return "bfloat16" if fast else "float32"
