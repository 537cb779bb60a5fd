"""Examples, and the rows of token ids that a forward pass sees.

A row is one record with all of its answers behind it:

    [padding] [prefix: the record] [branch 1] [branch 2] ... [padding]

A branch (question + answer) sees the record and itself, never another branch, and its positions continue from the
record's end; so every answer gets exactly the logits it would get in a row of its own, while the record is computed
once. Prefixes are aligned at their end, so that the columns that carry answers are about the same in all rows and
the logits of the others need not be computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

IGNORE = -100
"""Label of a column that is not trained (the value torch's cross entropy ignores)."""

_PADDING = -1


@dataclass(frozen=True)
class Branch:
    """One question about the record, and its answer."""

    task: str
    question_ids: Sequence[int]
    answer_ids: Sequence[int]
    """With the end id; these are the trained tokens."""


@dataclass(frozen=True)
class Example:
    """A record and the answers to be learned from it."""

    record: str
    prefix_ids: Sequence[int]
    branches: tuple[Branch, ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt plus answer."""
        return len(self.prefix_ids) + max(len(b.question_ids) + len(b.answer_ids) for b in self.branches)

    def separate(self) -> list[Example]:
        """The same answers, each in an example of its own."""
        return [Example(self.record, self.prefix_ids, (branch,)) for branch in self.branches]


def collate(examples: Sequence[Example], pad_id: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Rows of equal length.

    Returns:
        input_ids, position_ids [rows, columns]; attention_mask [rows, 1, columns, columns], additive, in `dtype`
        (a bool mask is added as 0/1 by some attention implementations); logits_to_keep [kept], the columns whose
        logits are needed; labels and shift_labels [rows, kept], the token each kept column predicts, or IGNORE.
    """
    import torch

    prefix_width = max(len(example.prefix_ids) for example in examples)
    # An answer's last token is predicted, never read.
    widths = [sum(len(b.question_ids) + len(b.answer_ids) - 1 for b in e.branches) for e in examples]
    shape = (len(examples), prefix_width + max(widths))
    ids = torch.full(shape, pad_id)
    positions = torch.zeros(shape, dtype=torch.long)
    branch_of = torch.full(shape, _PADDING)
    labels = torch.full(shape, IGNORE)
    for row, example in enumerate(examples):
        size = len(example.prefix_ids)
        first = prefix_width - size
        ids[row, first:prefix_width] = torch.tensor(example.prefix_ids)
        positions[row, first:prefix_width] = torch.arange(size)
        branch_of[row, first:prefix_width] = 0
        column = prefix_width
        for number, branch in enumerate(example.branches, 1):
            tokens = [*branch.question_ids, *branch.answer_ids[:-1]]
            end = column + len(tokens)
            ids[row, column:end] = torch.tensor(tokens)
            positions[row, column:end] = torch.arange(size, size + len(tokens))
            branch_of[row, column:end] = number
            labels[row, column + len(branch.question_ids) - 1 : end] = torch.tensor(branch.answer_ids)
            column = end
    kept = (labels != IGNORE).any(0).nonzero().squeeze(1)
    return {
        "input_ids": ids,
        "position_ids": positions,
        "attention_mask": _additive_mask(branch_of, dtype),
        "logits_to_keep": kept,
        "labels": labels[:, kept],
        "shift_labels": labels[:, kept],
    }


def _additive_mask(branch_of: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    import torch

    columns = branch_of.shape[1]
    query, key = branch_of[:, :, None], branch_of[:, None, :]
    causal = torch.ones(columns, columns, dtype=torch.bool).tril()
    visible = causal & ((query == key) | (key == 0)) & (key != _PADDING)
    visible |= torch.eye(columns, dtype=torch.bool)  # padding sees itself: a row without any key is not a number
    mask = torch.zeros(visible.shape, dtype=dtype)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]
