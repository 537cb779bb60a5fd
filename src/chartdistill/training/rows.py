"""How this student's rows are laid out: chosen by its architecture and by what sharing saves, then checked.

In: the model, the examples, the options. Out: `Rows`, and what the manifest says about them. Must hold: rows that are
packed or shared have been compared with plain separate rows before the first step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chartdistill.errors import TrainingError
from chartdistill.training.memory import is_memory
from chartdistill.training.model import compute_dtype
from chartdistill.training.options import TrainOptions
from chartdistill.training.packing import Example, RowForm, sharing_gain
from chartdistill.training.self_check import self_check, some_of_each

_LEAST_GAIN = 1.2
"""Below this factor of saved tokens sharing is not worth its branch masks."""


@dataclass(frozen=True)
class Rows:
    """How examples become micro-batches."""

    form: RowForm
    shared: bool
    pad_id: int


def choose_rows(
    model: Any,
    unfit: str | None,
    examples: Sequence[Example],
    options: TrainOptions,
    pad_id: int,
    role: str = "student",
) -> tuple[Rows, dict[str, Any]]:
    """The rows of a training, and what the manifest says about sharing. They are not checked yet.

    Args:
        unfit: why the architecture cannot follow a row layout (`model.why_not_packed`); None when it can.
        role: whose rows they are.
    """
    gain = sharing_gain(examples)
    reason = None
    if not options.shared_prefix:
        reason = "train.shared_prefix is false"
    elif options.attention == "plain":
        reason = "train.attention is plain"
    elif unfit is not None:
        reason = unfit
    elif gain < _LEAST_GAIN:
        reason = f"sharing would save a factor of {gain:.2f} only, under {_LEAST_GAIN}"
    form: RowForm = options.attention if options.attention != "auto" else "varlen" if _has_varlen(model) else "split"
    if unfit is not None:
        form = "plain"
    if reason is not None and os.environ.get("RANK", "0") == "0":
        whose = "" if role == "student" else f" for the {role}"
        print(f"train: separate rows{whose}, because {reason}", file=sys.stderr)
    sharing = {"shared": reason is None, "reason": reason, "form": form, "gain": round(gain, 3)}
    return Rows(form, reason is None, pad_id), sharing


def check_rows(
    model: Any, rows: Rows, examples: Sequence[Example], options: TrainOptions, sharing: dict[str, Any]
) -> Rows:
    """Compare these rows with plain ones; where `train.attention: auto` chose `varlen` and this card does not compute
    it right, take `split`. What was found goes into `sharing`.

    Raises:
        TrainingError: packed rows do not give what plain rows give, or cannot be computed on this machine.
    """
    if rows.form == "plain":
        return rows
    some = some_of_each(examples)
    if rows.form == "varlen" and options.attention == "auto":
        try:
            sharing["first_step_difference"] = self_check(model, some, rows.form, rows.shared, rows.pad_id)
        except (TrainingError, RuntimeError, ImportError) as error:
            if is_memory(error):
                raise
            rows = replace(rows, form="split")
            sharing |= {"form": "split", "not_varlen": _first_line(error)}
        else:
            return rows
    try:
        sharing["first_step_difference"] = self_check(model, some, rows.form, rows.shared, rows.pad_id)
    except TrainingError:
        raise
    except (RuntimeError, ImportError) as error:
        if options.attention == "auto" or options.compile or is_memory(error):  # whose errors others put into words
            raise
        raise TrainingError(
            f"train.attention is {options.attention}, which does not run here: {_first_line(error)} Set it to auto."
        ) from error
    return rows


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _has_varlen(model: Any) -> bool:
    """Whether flash attention over runs of any length is likely to work: it takes 16-bit numbers, heads of up to 256,
    and a card of the Ampere generation or later (the documentation of torch.nn.attention.varlen)."""
    import torch

    if model.device.type != "cuda" or compute_dtype(model) == torch.float32:
        return False
    config = model.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return width <= 256 and width % 8 == 0 and torch.cuda.get_device_capability(model.device) >= (8, 0)
