"""Examples, and the rows of token ids that a forward pass sees.

A packed row is several records, each with all of its answers behind it, and no padding:

    [record 1] [branch 1] [branch 2] ... [record 2] [branch 1] ...

A branch (question + answer) sees its record and itself, nothing else, and its positions continue from the record's
end; so every answer gets exactly the logits it would get in a row of its own, while the record is computed once.
Logits are computed at the columns that predict an answer token; the record's last token may predict the first token
of several branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from chartdistill.training.distillation import TeacherTokens

RowForm = Literal["split", "varlen", "dense", "flex", "plain"]
"""How a row is laid out and attended to; plain: padded rows and transformers' own masks."""


@dataclass(frozen=True)
class Branch:
    """One question about the record, and its answer."""

    task: str
    question_ids: Sequence[int]
    answer_ids: Sequence[int]
    """With the end id; these are the trained tokens."""
    weight: float = 1.0
    """Of each answer token in the loss."""
    teacher: TeacherTokens | None = None
    """What the teacher held likely at each answer token, for distillation."""


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

    @property
    def size(self) -> int:
        """Tokens of the row: the record once, and all branches (an answer's last token is predicted, never read)."""
        return len(self.prefix_ids) + sum(self.branch_sizes)

    @property
    def branch_sizes(self) -> list[int]:
        """Tokens each branch takes in the row."""
        return [len(b.question_ids) + len(b.answer_ids) - 1 for b in self.branches]

    def separate(self) -> list[Example]:
        """The same answers, each in an example of its own."""
        return [replace(self, branches=(branch,)) for branch in self.branches]


def sharing_gain(examples: Sequence[Example]) -> float:
    """How many times more tokens separate rows would compute than shared ones."""
    shared = sum(example.size for example in examples)
    return sum(row.size for example in examples for row in example.separate()) / shared


def plan_micro_batches(examples: Sequence[Example], tokens_per_pass: int) -> list[list[Example]]:
    """Distribute examples over as few passes as first fit decreasing needs, and evenly over those: two passes of four
    records launch as many kernels as one of seven and one of one, and need less memory."""
    by_size = sorted(examples, key=lambda one: -one.size)
    passes: list[list[Example]] = []
    room: list[int] = []
    for example in by_size:
        place = next((i for i, left in enumerate(room) if left >= example.size), len(passes))
        if place == len(passes):
            passes.append([])
            room.append(tokens_per_pass)
        passes[place].append(example)
        room[place] -= example.size
    even: list[list[Example]] = [[] for _ in passes]
    taken = [0] * len(passes)
    for example in by_size:  # the longest first, each into the emptiest
        place = taken.index(min(taken))
        even[place].append(example)
        taken[place] += example.size
    return even if max(taken, default=0) <= tokens_per_pass - min(room, default=0) else passes


def plan_padded(rows: Sequence[Example], tokens_per_pass: int) -> list[list[Example]]:
    """Distribute rows of one answer each over passes that hold so many tokens with their padding: those of like length
    together, since beside a long one each short row takes as much."""
    passes: list[list[Example]] = []
    for row in sorted(rows, key=lambda one: -one.size):
        if passes and (len(passes[-1]) + 1) * passes[-1][0].size <= tokens_per_pass:
            passes[-1].append(row)
        else:
            passes.append([row])
    return passes


def plan_rows(rows: Sequence[Example], form: RowForm, tokens_per_pass: int) -> list[list[Example]]:
    """Which rows of a form are computed together."""
    return (plan_padded if form == "plain" else plan_micro_batches)(rows, tokens_per_pass)


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass computes.

    `inputs` go to the model. `trained` [tokens] are the places of the trained tokens among the flattened logits, None
    when all logits are; `targets`, `weights` [tokens] belong to them, and so do `teacher_ids` and `teacher_logprobs`
    [tokens, k] (-inf where the teacher said nothing), None when no label brings any.
    """

    records: tuple[str, ...]
    inputs: dict[str, Any]
    trained: torch.Tensor | None
    targets: torch.Tensor
    weights: torch.Tensor
    total_weight: float
    teacher_ids: torch.Tensor | None = None
    teacher_logprobs: torch.Tensor | None = None

    @property
    def num_tokens(self) -> int:
        """Trained tokens."""
        return len(self.targets)

    def to(self, device: torch.device) -> MicroBatch:
        """The same pass on a device."""
        if self.targets.device == device:
            return self
        moved: dict[str, Any] = {
            name: None if (value := getattr(self, name)) is None else value.to(device, non_blocking=True)
            for name in ("trained", "targets", "weights", "teacher_ids", "teacher_logprobs")
        }
        inputs = {name: value.to(device, non_blocking=True) for name, value in self.inputs.items()}
        return replace(self, inputs=inputs, **moved)


def collate(
    examples: Sequence[Example],
    form: RowForm,
    shared: bool = True,
    tokens_per_pass: int = 1 << 30,
    dtype: torch.dtype | None = None,
    pad_id: int = 0,
) -> list[MicroBatch]:
    """The passes of some examples. `dtype` is the model's (float32 if None); `pad_id` fills padding, never seen.

    `shared` False gives every answer a row of its own; the trained tokens and their weights stay the same.
    """
    rows = list(examples) if shared else [row for example in examples for row in example.separate()]
    return [one_pass(group, form, dtype, pad_id) for group in plan_rows(rows, form, tokens_per_pass)]


def one_pass(
    examples: Sequence[Example], form: RowForm, dtype: torch.dtype | None = None, pad_id: int = 0
) -> MicroBatch:
    """A single pass with these examples, its trained tokens in their order."""
    return (_plain if form == "plain" else _packed)(examples, form, dtype, pad_id)


def _packed(examples: Sequence[Example], form: RowForm, dtype: torch.dtype | None, pad_id: int) -> MicroBatch:
    import torch

    from chartdistill.training.attention import RowLayout

    ids: list[int] = []
    positions: list[int] = []
    kept: list[int] = []
    for example in examples:
        size = len(example.prefix_ids)
        if not size or not example.branches or not all(branch.answer_ids for branch in example.branches):
            raise ValueError(f"record {example.record}: an empty prefix, no branch, or an answer without tokens")
        last_of_prefix = len(ids) + size - 1
        ids += example.prefix_ids
        positions += range(size)
        for branch in example.branches:
            tokens = [*branch.question_ids, *branch.answer_ids[:-1]]
            first = len(ids) + len(branch.question_ids) - 1
            kept.append(first if branch.question_ids else last_of_prefix)
            kept += range(first + 1, first + len(branch.answer_ids))
            ids += tokens
            positions += range(size, size + len(tokens))
    sizes = [(len(example.prefix_ids), *example.branch_sizes) for example in examples]
    layout = RowLayout(sizes, form, dtype or torch.float32)
    ids += [pad_id] * (layout.width - len(ids))
    positions += [0] * (layout.width - len(positions))
    inputs = {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        # Any 4D tensor keeps transformers from making a mask of its own; the layout says who sees whom.
        "attention_mask": torch.zeros(1, 1, 1, 1),
        "row_layout": layout,
        "logits_to_keep": torch.tensor(kept),
    }
    return MicroBatch(tuple(e.record for e in examples), inputs, None, **_targets(examples))


def _plain(examples: Sequence[Example], form: RowForm, dtype: torch.dtype | None, pad_id: int) -> MicroBatch:
    """Rows padded on the right, one answer each, with nothing that plain transformers does not know."""
    import torch

    rows = [
        [*example.prefix_ids, *branch.question_ids, *branch.answer_ids[:-1]]
        for example in examples
        for branch in example.branches
    ]
    width = max(map(len, rows))
    starts = [len(row) - len(b.answer_ids) for row, b in zip(rows, _branches(examples), strict=True)]
    wanted = [range(start, len(row)) for start, row in zip(starts, rows, strict=True)]
    kept = sorted({column for columns in wanted for column in columns})
    place = {column: number for number, column in enumerate(kept)}
    inputs = {
        "input_ids": torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        "logits_to_keep": torch.tensor(kept),
    }
    trained = [number * len(kept) + place[column] for number, columns in enumerate(wanted) for column in columns]
    return MicroBatch(tuple(e.record for e in examples), inputs, torch.tensor(trained), **_targets(examples))


def _branches(examples: Sequence[Example]) -> list[Branch]:
    return [branch for example in examples for branch in example.branches]


def _targets(examples: Sequence[Example]) -> dict[str, Any]:
    import torch

    branches = _branches(examples)
    weights = [branch.weight for branch in branches for _ in branch.answer_ids]
    targets = [token for branch in branches for token in branch.answer_ids]
    facts = {"targets": torch.tensor(targets), "weights": torch.tensor(weights), "total_weight": sum(weights)}
    if any(branch.teacher for branch in branches):
        k = max(branch.teacher.ids.shape[1] for branch in branches if branch.teacher)
        ids = torch.zeros(len(targets), k, dtype=torch.long)
        logprobs = torch.full((len(targets), k), float("-inf"))
        start = 0
        for branch in branches:
            end = start + len(branch.answer_ids)
            if branch.teacher:
                columns = branch.teacher.ids.shape[1]
                ids[start:end, :columns] = torch.from_numpy(branch.teacher.ids)
                logprobs[start:end, :columns] = torch.from_numpy(branch.teacher.logprobs)
            start = end
        facts |= {"teacher_ids": ids, "teacher_logprobs": logprobs}
    return facts
