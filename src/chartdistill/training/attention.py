"""Attention over a packed row: each branch sees its record and itself, and nothing else.

Registered with transformers under the name `ATTENTION`; a model loaded with it behaves as under `sdpa` until a
`row_layout` is passed to its forward, as transformers hands unknown keyword arguments down to the attention function.
`split` needs two calls per record: the record with itself, causally, and its branches with record and branches, under
a mask of that size; no mask of the whole row is ever made. `varlen`, on a card, needs two calls for a whole row and no
mask: all records causally, then all branches, each with the keys and values of its record and its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

ATTENTION = "chartdistill_shared_prefix"
"""Name for `from_pretrained(attn_implementation=...)`."""

_FLEX_BLOCK = 128
"""FlexAttention computes blocks of this many tokens; rows are padded to it."""


class RowLayout:
    """Where the records and branches of a packed row lie, and the masks that follow from it.

    Args:
        sizes: per record, the tokens of its prefix and of each branch (0 where a branch adds none).
        form: `split`, `varlen`, `dense` or `flex`.
        dtype: of the additive masks; the model's.
    """

    def __init__(self, sizes: Sequence[tuple[int, ...]], form: str, dtype: torch.dtype) -> None:
        self.sizes, self.form = sizes, form
        self.record_sizes = [sum(record) for record in sizes]
        self.width = sum(self.record_sizes)
        self.masks: list[torch.Tensor | None] = []
        self.runs: BranchRuns | None = None
        self.record_of = self.branch_of = torch.empty(0)
        self._block_mask: Any = None
        if form == "split":
            self.masks = [_branch_mask(record, dtype) for record in sizes]
            return
        if form == "varlen":
            self.runs = branch_runs(sizes)
            return
        if form == "flex":
            self.width = -(-self.width // _FLEX_BLOCK) * _FLEX_BLOCK
        self.record_of, self.branch_of = torch.full((2, self.width), -1)
        column = 0
        for number, record in enumerate(sizes):
            for branch, size in enumerate(record):
                self.record_of[column : column + size] = number
                self.branch_of[column : column + size] = branch
                column += size
        if form == "dense":
            self.masks = [_additive(visible(self.record_of, self.branch_of), dtype)]

    def to(self, device: torch.device, non_blocking: bool = False) -> RowLayout:
        """Move the masks to a device, in place."""
        self.masks = [None if mask is None else mask.to(device, non_blocking=non_blocking) for mask in self.masks]
        if self.runs is not None:
            self.runs = self.runs.to(device, non_blocking)
        self.record_of = self.record_of.to(device, non_blocking=non_blocking)
        self.branch_of = self.branch_of.to(device, non_blocking=non_blocking)
        return self

    def block_mask(self) -> Any:
        """FlexAttention's mask, made once per pass."""
        if self._block_mask is None:
            from torch.nn.attention.flex_attention import create_block_mask

            record_of, branch_of = self.record_of, self.branch_of

            def sees(batch: Any, head: Any, query: Any, key: Any) -> Any:
                same_record = record_of[query] == record_of[key]
                same_branch = (branch_of[key] == 0) | (branch_of[query] == branch_of[key])
                return same_record & same_branch & (key <= query)

            self._block_mask = create_block_mask(
                sees, B=None, H=None, Q_LEN=self.width, KV_LEN=self.width, device=record_of.device
            )
        return self._block_mask


class BranchRuns(NamedTuple):
    """A row as the two calls of `varlen` see it; numbers of columns, and where each run of them starts and ends."""

    records: torch.Tensor
    """Columns of all records [record tokens]."""
    record_ends: torch.Tensor
    """0 and the end of each record among them [records + 1], int32, as those below."""
    branches: torch.Tensor
    """Columns of all branches [branch tokens]; may be none."""
    branch_ends: torch.Tensor
    """[branches + 1]"""
    seen: torch.Tensor
    """For each branch the columns of its record, then its own [seen tokens]."""
    seen_ends: torch.Tensor
    """[branches + 1]"""
    back: torch.Tensor
    """Where each column of the row stands in records + branches [columns]."""
    longest: tuple[int, int, int]
    """Record, branch, seen run."""

    def to(self, device: torch.device, non_blocking: bool) -> BranchRuns:
        """The same on a device."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=non_blocking)
            for name, value in self._asdict().items()
            if isinstance(value, torch.Tensor)
        }
        return self._replace(**moved)


def branch_runs(sizes: Sequence[tuple[int, ...]]) -> BranchRuns:
    """Where records and branches lie, from their sizes as in `RowLayout`."""
    records, branches, seen = list[torch.Tensor](), list[torch.Tensor](), list[torch.Tensor]()
    column = 0
    for prefix, *others in sizes:
        record = torch.arange(column, column + prefix)
        records.append(record)
        column += prefix
        for size in filter(None, others):
            own = torch.arange(column, column + size)
            branches.append(own)
            seen.append(torch.cat([record, own]))
            column += size
    order = torch.cat([*records, *branches])
    return BranchRuns(
        *_joined(records), *_joined(branches), *_joined(seen), order.argsort(),
        (_longest(records), _longest(branches), _longest(seen)),
    )  # fmt: skip


def _joined(runs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    ends = torch.tensor([0, *(len(run) for run in runs)]).cumsum(0).to(torch.int32)
    return torch.cat(list(runs)) if runs else torch.empty(0, dtype=torch.long), ends


def _longest(runs: Sequence[torch.Tensor]) -> int:
    return max(map(len, runs), default=0)


def visible(record_of: torch.Tensor, branch_of: torch.Tensor) -> torch.Tensor:
    """Who sees whom [columns, columns], from each column's record and branch (0: the record itself)."""
    same_record = record_of[:, None] == record_of[None, :]
    same_branch = (branch_of[None, :] == 0) | (branch_of[:, None] == branch_of[None, :])
    return (same_record & same_branch).tril()


def _additive(allowed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, float("-inf"))


def _branch_mask(record: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor | None:
    """Mask [branch tokens, record and branch tokens]; None where a single causal call does."""
    prefix, branches = record[0], [size for size in record[1:] if size]
    if len(branches) < 2:
        return None
    branch_of = torch.repeat_interleave(torch.arange(len(branches)), torch.tensor(branches))
    among = (branch_of[:, None] == branch_of[None, :]).tril()
    return _additive(torch.cat([torch.ones(len(branch_of), prefix, dtype=torch.bool), among], 1), dtype)


def shared_prefix_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    row_layout: RowLayout | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function for transformers' AttentionInterface.

    `query` [1, heads, columns, width]; `key` and `value` may have fewer heads. Returns [1, columns, heads, width].
    """
    if row_layout is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        done: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return done
    options = {"dropout_p": dropout, "scale": scaling}
    if row_layout.form == "flex":
        output = _flex(query, key, value, row_layout.block_mask(), scaling)
    elif row_layout.form == "dense":
        output = _masked(query, key, value, row_layout.masks[0], options)
    elif row_layout.runs is not None:
        output = _varlen(query, key, value, row_layout.runs, scaling)
    else:
        output = _split(query, key, value, row_layout, options)
    return output.transpose(1, 2).contiguous(), None


def _split(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: RowLayout, options: dict[str, Any]
) -> torch.Tensor:
    grouped = query.shape[1] != key.shape[1]
    parts = []
    # split, not slices: its backward joins the parts once, where each slice would fill a whole row with zeros.
    by_record = zip(*(torch.split(tensor, layout.record_sizes, 2) for tensor in (query, key, value)), strict=True)
    for (q, k, v), record, mask in zip(by_record, layout.sizes, layout.masks, strict=True):
        if mask is None:
            parts.append(scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped, **options))
            continue
        size = record[0]
        head, tail = torch.split(q, [size, q.shape[2] - size], 2)
        parts.append(
            scaled_dot_product_attention(
                head, k[:, :, :size], v[:, :, :size], is_causal=True, enable_gqa=grouped, **options
            )
        )
        parts.append(_masked(tail, k, v, mask, options))
    return torch.cat(parts, 2)


def _varlen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, runs: BranchRuns, scaling: float | None
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # [columns, heads, width]
    record, branch, seen = runs.longest
    # Causal with fewer queries than keys is aligned to the end: a branch sees its whole record and itself up to here.
    options: dict[str, Any] = {"scale": scaling, "window_size": (-1, 0), "enable_gqa": q.shape[1] != k.shape[1]}
    at, ends = runs.records, runs.record_ends
    parts: list[Any] = [varlen_attn(q[at], k[at], v[at], ends, ends, record, record, **options)]
    if branch:
        own, at = runs.branches, runs.seen
        parts.append(varlen_attn(q[own], k[at], v[at], runs.branch_ends, runs.seen_ends, branch, seen, **options))
    output: torch.Tensor = torch.cat(parts)[runs.back].transpose(0, 1)[None]
    return output


def _masked(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, options: dict[str, Any]
) -> torch.Tensor:
    grouped = query.shape[1] != key.shape[1]
    if grouped and query.is_cuda:  # no CUDA kernel takes both a mask and grouped heads; the fallback is slow
        times = query.shape[1] // key.shape[1]
        key, value, grouped = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1), False
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=grouped, **options)


_compiled_flex: Any = None


def _flex(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, block_mask: Any, scaling: float | None
) -> torch.Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    global _compiled_flex
    call: Any = flex_attention
    if query.is_cuda:
        if _compiled_flex is None:
            # dynamic: rows differ in length, and compiling for each length takes seconds.
            _compiled_flex = torch.compile(flex_attention, dynamic=True)
        call = _compiled_flex
    grouped = query.shape[1] != key.shape[1]
    output: torch.Tensor = call(query, key, value, block_mask=block_mask, scale=scaling, enable_gqa=grouped)
    return output


def register_attention() -> None:
    """Make `ATTENTION` known to transformers. Masks for calls without a layout are those of `sdpa`.

    Also switches cuDNN's kernels for it off in this process: they make a plan for every new shape, which takes longer
    than the step, and every record is a new shape (an H200: 2,900 tokens a second with them, 21,000 without).
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(ATTENTION, shared_prefix_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
