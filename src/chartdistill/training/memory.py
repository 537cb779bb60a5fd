"""Memory that runs out, said in terms of the options that decide how much is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chartdistill.errors import TrainingError
from chartdistill.training.options import TrainOptions


@contextmanager
def memory_errors(options: TrainOptions) -> Iterator[None]:
    """Turn the many ways in which torch says that memory ran out into one error.

    Raises:
        TrainingError: names the options to change.
    """
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and "can't allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"memory ran out. Lower train.tokens_per_pass (now {options.tokens_per_pass}; the result stays the same)"
            f"{'' if options.gradient_checkpointing else ', or set train.gradient_checkpointing to true (slower)'}"
            f"{'' if options.load_in_4bit else ', or train.load_in_4bit to true'}."
        ) from error
