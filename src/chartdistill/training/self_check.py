"""The self-check before the first step: packed, shared rows must give what plain transformers gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chartdistill.errors import TrainingError
from chartdistill.training.losses import trained_logits
from chartdistill.training.model import compute_dtype
from chartdistill.training.packing import Branch, Example, RowForm, collate

if TYPE_CHECKING:
    import torch

_ALLOWED = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
"""Difference allowed between the log-probabilities of both ways, relative to their size, by dtype."""
_LEAK_ALLOWED = {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}
"""The same between two packed rows of which only a part differs that must not be seen: the shapes are equal, so
rounding is too, and a leak shows that would drown in the rounding between two ways of computing."""


_CHECKED_TOKENS = 4096
"""A few records are packed up to about this many tokens."""


def some_of_each(examples: Sequence[Example]) -> list[Example]:
    """A record with the most answers and the shortest others, so that one row holds records and branches."""
    by_use = sorted(examples, key=lambda example: (-len(example.branches), example.longest))
    chosen = by_use[:1]
    for example in sorted(by_use[1:], key=lambda example: example.size)[:2]:
        if sum(one.size for one in chosen) + example.size <= _CHECKED_TOKENS:
            chosen.append(example)
    return chosen


def self_check(model: Any, examples: Sequence[Example], form: RowForm, shared: bool, pad_id: int) -> float:
    """Compare one packed row with a plain row per answer, then change one branch and see whether others notice.

    Args:
        examples: a few records, packed into one row; the more branches the better.

    Returns:
        The relative difference of the log-probabilities of the trained tokens.

    Raises:
        TrainingError: they differ by more than rounding, or a branch sees what it must not.
    """
    import torch

    training, dtype = model.training, compute_dtype(model)
    model.eval()
    try:
        with torch.no_grad():
            plain = torch.cat(
                [_logprobs(model, [row], "plain", True, pad_id, dtype) for e in examples for row in e.separate()]
            )
            packed = _logprobs(model, examples, form, shared, pad_id, dtype)
            leak = _leak(model, examples, form, shared, pad_id, dtype, packed)
    finally:
        model.train(training)
    kind = str(dtype).removeprefix("torch.")
    scale = plain.abs().mean().clamp(min=1e-6)
    difference = float((packed - plain).abs().mean() / scale)
    if not difference <= _ALLOWED[kind]:
        raise _mismatch(f"log-probabilities differ by {difference:.1e} (allowed {_ALLOWED[kind]:.0e})", examples)
    if not leak / float(scale) <= _LEAK_ALLOWED[kind]:
        raise _mismatch(f"an answer changes by {leak:.1e} nats with one that it must not see", examples)
    return difference


def _mismatch(what: str, examples: Sequence[Example]) -> TrainingError:
    return TrainingError(
        f"packed rows do not give what separate rows give: {what}, on records "
        f"{', '.join(example.record for example in examples)}. This model's attention does not follow the row layout: "
        "set train.attention to plain."
    )


def _logprobs(
    model: Any, examples: Sequence[Example], form: RowForm, shared: bool, pad_id: int, dtype: torch.dtype
) -> torch.Tensor:
    """Log-probability of each trained token [tokens], in the order of the examples."""
    import torch

    device = next(model.parameters()).device
    passes = collate(examples, form, shared, dtype=dtype, pad_id=pad_id)
    assert len(passes) == 1
    one = passes[0].to(device)
    logprobs = trained_logits(model, one).float().log_softmax(1).gather(1, one.targets[:, None]).squeeze(1)
    order = _order(examples, shared)
    parts = torch.split(logprobs, [len(branch.answer_ids) for branch in order])
    place = {id(branch): number for number, branch in enumerate(order)}
    return torch.cat([parts[place[id(branch)]] for example in examples for branch in example.branches])


def _order(examples: Sequence[Example], shared: bool) -> list[Branch]:
    """The branches in the order of a pass, which sorts its rows by length."""
    rows = list(examples) if shared else [row for example in examples for row in example.separate()]
    return [branch for row in sorted(rows, key=lambda one: -one.size) for branch in row.branches]


def _leak(
    model: Any,
    examples: Sequence[Example],
    form: RowForm,
    shared: bool,
    pad_id: int,
    dtype: torch.dtype,
    before: torch.Tensor,
) -> float:
    """How much other answers change, at most, when all the tokens of the first branch change."""
    first = examples[0].branches[0]
    other = examples[0].branches[-1] if len(examples[0].branches) > 1 else examples[-1].branches[-1]
    spare = [*other.question_ids, *other.answer_ids] or [pad_id]

    def changed(ids: Sequence[int]) -> list[int]:
        return [spare[i % len(spare)] if spare[i % len(spare)] != token else pad_id for i, token in enumerate(ids)]

    branch = replace(first, question_ids=changed(first.question_ids), answer_ids=changed(first.answer_ids))
    altered = [replace(examples[0], branches=(branch, *examples[0].branches[1:])), *examples[1:]]
    after = _logprobs(model, altered, form, shared, pad_id, dtype)
    same = slice(len(first.answer_ids), None)
    if not len(before[same]):
        return 0.0
    return float((after[same] - before[same]).abs().max())
