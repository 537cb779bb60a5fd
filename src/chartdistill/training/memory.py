"""Memory of validation, and memory that runs out, said in terms of the options that decide how much is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chartdistill.errors import TrainingError
from chartdistill.training.options import TrainOptions

LOGITS_AT_ONCE = 1 << 24
"""Tokens x vocabulary of which a divergence is computed at once (training/on_policy.py); 64 MiB in 32 bits."""


@contextmanager
def memory_errors(options: TrainOptions) -> Iterator[None]:
    """Turn the many ways in which torch says that memory ran out into one error.

    Raises:
        TrainingError: names the options to change.
    """
    from chartdistill.training.model import is_sharded

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        takes_4bit = not (options.load_in_4bit or options.compile or options.parallel == "fsdp" or is_sharded())
        raise TrainingError(
            f"memory ran out. Lower train.tokens_per_pass (now {options.tokens_per_pass}; the result stays the same)"
            f"{'' if options.gradient_checkpointing else ', or set train.gradient_checkpointing to true (slower)'}"
            f"{', or train.load_in_4bit to true' if takes_4bit else ''}"
            f"{', or leave out train.on_policy (the teacher lies beside the student)' if options.on_policy else ''}."
        ) from error


def is_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out. That of torch's CPU allocator, of the driver ("CUDA error: out of
    memory") and of cuBLAS are of no kind of their own."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        said in str(error) for said in ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def answer_bytes_per_token(layers: int, kv_width: int, intermediate: int, hidden: int, number_bytes: int) -> int:
    """What answering holds for one padded token of a prompt, beside the weights (see training/generate.py).

    Keys and values of all layers, one layer's once more while they grow; and the larger of two: while prompts are
    computed, where the feed-forward part is widest, gate, up and their product, the layer's input and what it was made
    from; later the keys and values of the records of a group, which has half as many tokens.

    Args:
        kv_width: of one layer's keys (heads for keys and values x their width).
        number_bytes: of a number between layers.
    """
    return number_bytes * (2 * kv_width * (layers + 1) + max(3 * intermediate + 4 * hidden, kv_width * layers))


def answer_tokens_at_once(config: Any, free_bytes: float, number_bytes: int) -> int:
    """Padded tokens of prompts and answers that half of the free memory holds; `config` is the text model's."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    each = answer_bytes_per_token(
        config.num_hidden_layers, heads * width, config.intermediate_size, config.hidden_size, number_bytes
    )
    return int(free_bytes / 2 / each)
