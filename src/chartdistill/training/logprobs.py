"""How likely a trained student finds given continuations of one prefix: what memorisation is measured by.

In: a student, a prefix and its continuations as token ids. Out: natural log-probabilities. Must hold: the same as one
plain forward pass per continuation; the prefix is computed once.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chartdistill.errors import ModelError
from chartdistill.training.model import chosen_dtype
from chartdistill.training.options import TrainOptions

_LOGITS_AT_ONCE = 1 << 26
"""Continuations x tokens x vocabulary of one pass; 256 MiB in 32 bits."""
_CONTINUATIONS_AT_ONCE = 512


def load_trained(folder: Path, adapter: Path, options: TrainOptions) -> Any:
    """The student in `folder` with a trained adapter, for reading alone.

    Raises:
        ModelError: model or adapter cannot be loaded.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, GenerationConfig

    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=chosen_dtype(options), local_files_only=True)
        model.generation_config = GenerationConfig()  # the folder's may sample, or punish repetition
        trained = PeftModel.from_pretrained(model, adapter)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"the student in {folder} cannot be loaded with the adapter in {adapter}: {error}") from error
    return trained.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with; every row keeps one token at least behind them."""
    limit = min(len(row) for row in rows) - 1
    return next((i for i in range(limit) if len({row[i] for row in rows}) > 1), limit)


def continuation_logprobs(model: Any, prefix: Sequence[int], continuations: Sequence[Sequence[int]]) -> list[float]:
    """Sum of the log-probabilities of each continuation's tokens behind the prefix (of one token at least)."""
    import torch

    found = [0.0] * len(continuations)
    vocabulary = model.config.get_text_config().vocab_size
    order = sorted(range(len(continuations)), key=lambda i: len(continuations[i]))
    with torch.no_grad():
        ids = torch.tensor([list(prefix)], device=model.device)
        read = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        first = read.logits[0, -1].float().log_softmax(-1)
        start = 0
        while start < len(order):
            width = len(continuations[order[min(start + _CONTINUATIONS_AT_ONCE, len(order)) - 1]])
            room = max(1, _LOGITS_AT_ONCE // (width * vocabulary))
            chosen = order[start : start + min(_CONTINUATIONS_AT_ONCE, room)]
            for i, value in zip(chosen, _batch(model, read.past_key_values, first, chosen, continuations), strict=True):
                found[i] = value
            start += len(chosen)
    return found


def _batch(
    model: Any, cache: Any, first: Any, chosen: Sequence[int], continuations: Sequence[Sequence[int]]
) -> list[float]:
    """`first`: log-probabilities [vocabulary] of the token right behind the prefix, whose keys are in `cache`."""
    import torch

    rows = [list(continuations[i]) for i in chosen]
    width = max(map(len, rows))
    padded = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=first.device)
    real = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in rows], device=first.device)
    values = first[padded[:, :1]]
    if width > 1:
        own = copy.deepcopy(cache)
        own.batch_repeat_interleave(len(rows))
        # Padding stands behind what counts, where causal attention does not look.
        logits = model(input_ids=padded[:, :-1], past_key_values=own, use_cache=True).logits
        later = logits.float().log_softmax(-1).gather(2, padded[:, 1:, None])[:, :, 0]
        values = torch.cat([values, later], 1)
    return [float(value) for value in (values * real).sum(1)]
