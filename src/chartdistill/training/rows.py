"""How this student's rows are laid out: chosen by its architecture and by what sharing saves, then checked.

In: the model, the examples, the options. Out: `Rows`, and what the manifest says about them. Must hold: rows that are
packed or shared have been compared with plain separate rows before the first step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    model: Any, unfit: str | None, examples: Sequence[Example], options: TrainOptions, pad_id: int
) -> tuple[Rows, dict[str, Any]]:
    """The rows of a training, and what the manifest says about sharing.

    Args:
        unfit: why the architecture cannot follow a row layout (`model.why_not_packed`); None when it can.

    Raises:
        TrainingError: packed rows do not give what plain rows give.
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
    form: RowForm = "split" if options.attention == "auto" else options.attention
    if unfit is not None:
        form = "plain"
    if reason is not None and os.environ.get("RANK", "0") == "0":
        print(f"train: separate rows, because {reason}", file=sys.stderr)
    sharing = {"shared": reason is None, "reason": reason, "form": form, "gain": round(gain, 3)}
    if form != "plain":
        some = some_of_each(examples)
        sharing["first_step_difference"] = self_check(model, some, form, reason is None, pad_id)
    return Rows(form, reason is None, pad_id), sharing
