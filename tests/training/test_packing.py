"""Packed, shared rows against one plain transformers row per answer: same loss, same gradient of every parameter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.errors import TrainingError
from chartdistill.training.attention import RowLayout, register_attention, shared_prefix_attention, visible
from chartdistill.training.losses import micro_batch_loss, trained_logits
from chartdistill.training.packing import Branch, Example, RowForm, collate, plan_micro_batches, sharing_gain
from chartdistill.training.self_check import self_check
from training_shapes import FAMILIES, make_example, make_model

MIXED = [
    make_example("a", 17, [(3, 4), (5, 1), (2, 9), (4, 2)], 1),
    make_example("b", 1, [(2, 6), (1, 1)], 2),
    make_example("c", 30, [(6, 3)], 3),
]


def separate_loss(model: Any, examples: Sequence[Example]) -> torch.Tensor:
    """The oracle: one unpadded sequence per answer, nothing of ours passed to transformers."""
    losses = []
    for example in examples:
        for branch in example.branches:
            ids = [*example.prefix_ids, *branch.question_ids, *branch.answer_ids]
            logits = model(input_ids=torch.tensor([ids])).logits[0]
            start = len(ids) - len(branch.answer_ids)
            target = torch.tensor(branch.answer_ids)
            loss = torch.nn.functional.cross_entropy(logits[start - 1 : -1], target, reduction="sum")
            losses.append(loss * branch.weight)
    return torch.stack(losses).sum()


def packed_loss(model: Any, examples: Sequence[Example], form: RowForm = "split", **options: Any) -> torch.Tensor:
    return torch.stack([micro_batch_loss(model, one) for one in collate(examples, form, **options)]).sum()


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    assert len(found) >= 14 and all(value.norm() > 0 for value in found.values())
    return found


def assert_same(
    model: Any, plain: Any, examples: Sequence[Example], relative: float = 1e-5, **options: Any
) -> tuple[float, float, str]:
    """Returns the relative errors: of the loss, and of the gradient that is furthest off, with its name."""
    ours, theirs = packed_loss(model, examples, **options), separate_loss(plain, examples)
    away = abs(ours.item() - theirs.item()) / abs(theirs.item())
    assert away <= relative
    expected, found = gradients(plain, theirs), gradients(model, ours)
    worst, name = max((float((found[n] - value).norm() / value.norm()), n) for n, value in expected.items())
    assert found.keys() == expected.keys() and worst <= relative, name
    return away, worst, name.removeprefix("base_model.model.model.").removesuffix(".default.weight")


@pytest.fixture(scope="module")
def exactness() -> Iterator[list[str]]:
    """A table that `pytest -s` shows: python -m pytest tests/training/test_packing.py -s -k equal_separate"""
    lines = [f"{'family':<18}{'checkpointing':<15}{'loss':>9}{'worst gradient':>16}  of"]
    yield lines
    print("\n\nrelative error of packed, shared rows against separate rows, float32\n" + "\n".join(lines))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_equal_separate_rows(family: str, checkpointing: bool, exactness: list[str]) -> None:
    model, plain = make_model(family), make_model(family, attention="sdpa")
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()
        assert model.get_base_model().is_gradient_checkpointing
    loss, gradient, name = assert_same(model, plain, MIXED)
    exactness.append(f"{family:<18}{'on' if checkpointing else 'off':<15}{loss:>9.0e}{gradient:>16.0e}  {name}")


@pytest.mark.parametrize("form", ["split", "dense", "plain"])
@pytest.mark.parametrize("shared", [True, False])
def test_every_form_of_row_is_the_same(form: RowForm, shared: bool) -> None:
    assert_same(make_model("qwen3_tied"), make_model("qwen3_tied", attention="sdpa"), MIXED, form=form, shared=shared)


def varlen_by_the_book(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, **options: Any
) -> Any:
    """What the documentation of torch.nn.attention.varlen says, run by run; the kernel itself needs a card."""
    assert options["window_size"] == (-1, 0) and cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    times = query.shape[1] // key.shape[1] if options["enable_gqa"] else 1
    parts = []
    for (a, b), (c, d) in zip(pairwise(cu_seq_q.tolist()), pairwise(cu_seq_k.tolist()), strict=True):
        assert 0 < b - a <= max_q and b - a <= d - c <= max_k
        q = query[a:b].transpose(0, 1)
        k, v = (one[c:d].transpose(0, 1).repeat_interleave(times, 0) for one in (key, value))
        scores = q @ k.transpose(1, 2) * options["scale"]
        unseen = torch.ones(b - a, d - c, dtype=torch.bool).triu(1 + (d - c) - (b - a))
        parts.append((scores.masked_fill(unseen, -math.inf).softmax(2) @ v).transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shared", [True, False])
def test_rows_of_runs_are_the_same(family: str, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_by_the_book)
    plain = make_model(family, attention="sdpa")
    assert_same(make_model(family), plain, MIXED, form="varlen", shared=shared)
    without = replace(MIXED[0], branches=(replace(MIXED[0].branches[0], question_ids=(), answer_ids=(7,)),))
    assert_same(make_model(family), plain, [without, MIXED[2]], form="varlen", shared=shared)  # a branch of no column
    assert_same(make_model(family), plain, [without], form="varlen", shared=shared)


def test_torch_takes_the_runs_forward_and_backward() -> None:
    """The call as a card would see it, shapes alone: the meta device computes nothing."""
    layout = RowLayout([(17, 6, 5), (1, 2), (30, 8, 0)], "varlen", torch.bfloat16).to(torch.device("meta"))
    sizes = ((1, 4, layout.width, 8), (1, 2, layout.width, 8), (1, 2, layout.width, 8))
    q, k, v = (torch.empty(size, device="meta", dtype=torch.bfloat16, requires_grad=True) for size in sizes)
    output, _ = shared_prefix_attention(torch.nn.Identity(), q, k, v, None, scaling=0.3, row_layout=layout)
    assert output.shape == (1, layout.width, 4, 8)
    output.sum().backward()
    assert all(one.grad is not None and one.grad.shape == one.shape for one in (q, k, v))


def test_no_kernel_that_plans_for_each_shape() -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    register_attention()
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.parametrize("tasks", range(1, 9))
def test_one_to_eight_tasks(tasks: int) -> None:
    examples = [
        make_example("a", 12, [(1 + i % 3, 1 + i % 4) for i in range(tasks)], tasks),
        make_example("left_out", 9, [(2, 3)] * max(1, tasks - 1), 20 + tasks),
    ]
    assert_same(make_model("llama"), make_model("llama", attention="sdpa"), examples)


def test_dora_and_rslora_are_the_same() -> None:
    lora = {"use_dora": True, "use_rslora": True}
    assert_same(make_model("llama", **lora), make_model("llama", attention="sdpa", **lora), MIXED)


branches = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), min_size=1, max_size=5)
records = st.lists(st.tuples(st.integers(1, 12), branches), min_size=1, max_size=4)


@settings(max_examples=15, deadline=None)
@given(shapes=records, room=st.integers(8, 60))
def test_any_shape_is_the_same(shapes: list[tuple[int, list[tuple[int, int]]]], room: int) -> None:
    """Also branches without a question, whose first token the record's last one predicts, and several passes."""
    examples = [make_example(f"r{i}", prefix, parts, i) for i, (prefix, parts) in enumerate(shapes)]
    model, plain = make_model("qwen2").double(), make_model("qwen2", attention="sdpa").double()
    # Rotary embeddings stay in single precision on both sides.
    ours = packed_loss(model, examples, dtype=torch.float64, tokens_per_pass=room)
    theirs = separate_loss(plain, examples)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    ours.backward()
    theirs.backward()
    pairs = zip(model.named_parameters(), plain.parameters(), strict=True)
    compared = [(name, one.grad, other.grad) for (name, one), other in pairs if one.requires_grad]
    for name, one, other in compared:  # a token that sees itself alone has no gradient in queries and keys
        assert (one - other).norm() <= 1e-5 * other.norm() + 1e-9, name
    assert len(compared) == 28 and sum(float(one.norm()) for _, one, _ in compared) > 0


def test_targets_are_the_answer_tokens_and_nothing_else() -> None:
    one = collate(MIXED, "split")[0]
    order = sorted(MIXED, key=lambda example: -example.size)
    branches = [branch for example in order for branch in example.branches]
    assert one.targets.tolist() == [token for branch in branches for token in branch.answer_ids]
    assert one.weights.tolist() == [branch.weight for branch in branches for _ in branch.answer_ids]
    assert one.total_weight == pytest.approx(float(one.weights.sum()))
    assert one.records == tuple(example.record for example in order)
    assert one.inputs["input_ids"].shape[1] == sum(example.size for example in MIXED)


def test_logits_are_computed_at_answers_only() -> None:
    model = make_model("llama")
    one = collate(MIXED, "split")[0]
    assert trained_logits(model, one).shape[0] == len(one.targets) < one.inputs["input_ids"].shape[1]


def test_passes_hold_every_example_once_within_the_budget() -> None:
    examples = [make_example(str(i), 5 + 7 * i % 40, [(2, 3)] * (1 + i % 4), i) for i in range(30)]
    passes = plan_micro_batches(examples, 100)
    assert sorted(e.record for group in passes for e in group) == sorted(e.record for e in examples)
    assert all(sum(e.size for e in group) <= 100 for group in passes)
    assert len(passes) <= 1.3 * sum(e.size for e in examples) / 100 + 1
    assert [len(group) for group in plan_micro_batches(examples, 1)] == [1] * 30


def test_the_passes_of_a_step_are_of_equal_size() -> None:
    """A step of 8 records of 1,050 tokens overflows a pass of 8,192 by one record: four and four, not seven and one."""
    step = [make_example(str(i), 1050 - 4 * (12 + 30 - 1), [(12, 30)] * 4, i) for i in range(8)]
    assert {one.size for one in step} == {1050}
    assert [len(group) for group in plan_micro_batches(step, 8192)] == [4, 4]


def test_plain_passes_hold_their_padding_within_the_budget() -> None:
    """A long row beside many short ones would make each as long as itself."""
    step = [make_example(str(i), size, [(3, 4), (2, 2)], i) for i, size in enumerate((90, *[8] * 20, 40, 70))]
    passes = collate(step, "plain", shared=False, tokens_per_pass=120)
    assert all(one.inputs["input_ids"].numel() <= 120 for one in passes)
    packed = collate(step, "split", tokens_per_pass=120)
    assert sorted(t for one in passes for t in one.targets.tolist()) == sorted(
        t for one in packed for t in one.targets.tolist()
    )
    assert len(passes) == 5 + 5, "rows of like length are together"  # 6 long ones, and 40 of 11 and 14 tokens
    assert [len(one.records) for one in collate(step[:1], "plain", shared=False, tokens_per_pass=16)] == [1, 1]


def test_the_gain_is_counted_in_tokens() -> None:
    one = make_example("a", 900, [(10, 31)] * 4, 0)
    assert sharing_gain([one]) == pytest.approx(4 * (900 + 40) / (900 + 4 * 40))
    assert sharing_gain([make_example("b", 900, [(10, 31)], 0)]) == 1


def test_an_example_without_trained_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="record x"):
        collate([Example("x", [1, 2], (Branch("t", [3], []),))], "split")


def dense_of(layout: RowLayout) -> torch.Tensor:
    """Who sees whom, from first principles: over all pairs of columns."""
    owners = [(r, b) for r, record in enumerate(layout.sizes) for b, size in enumerate(record) for _ in range(size)]
    seen = [
        [q >= k and one[0] == other[0] and other[1] in (0, one[1]) for k, other in enumerate(owners)]
        for q, one in enumerate(owners)
    ]
    return torch.tensor(seen)


def test_all_masks_say_the_same() -> None:
    sizes = [(3, 2, 0, 4), (1, 1), (2, 3, 3, 1)]
    width = sum(map(sum, sizes))
    expected = dense_of(RowLayout(sizes, "split", torch.float32))
    dense = RowLayout(sizes, "dense", torch.float32)
    assert torch.equal(visible(dense.record_of, dense.branch_of), expected)
    flex = RowLayout(sizes, "flex", torch.float32)
    assert flex.width == 128
    sees = flex.block_mask().mask_mod
    columns = torch.arange(width)
    assert torch.equal(sees(None, None, columns[:, None], columns[None, :]), expected)


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_flex_attention_gives_the_same_logits(family: str) -> None:
    """Forward only: on a CPU FlexAttention has no backward."""
    model = make_model(family).eval()
    split, flex = (collate(MIXED, form)[0] for form in ("split", "flex"))
    with torch.no_grad():
        expected, found = trained_logits(model, split), trained_logits(model, flex)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_self_check_passes_and_says_how_close() -> None:
    assert self_check(make_model("llama"), MIXED, "split", True, 0) < 1e-5
    assert self_check(make_model("llama").bfloat16(), MIXED, "split", True, 0) < 3e-2


def leak_between_branches(layout: RowLayout) -> None:
    layout.masks = [
        None if mask is None else torch.full_like(mask, float("-inf")).triu(1 + sizes[0])
        for mask, sizes in zip(layout.masks, layout.sizes, strict=True)
    ]


def blind_to_the_last_token(layout: RowLayout) -> None:
    for mask, sizes in zip(layout.masks, layout.sizes, strict=True):
        if mask is not None and sizes[0] > 1:
            mask[:, sizes[0] - 1] = float("-inf")


def records_run_together(layout: RowLayout) -> None:
    layout.sizes = [(sum(map(sum, layout.sizes)),)]
    layout.record_sizes, layout.masks = [layout.width], [None]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bug", [leak_between_branches, blind_to_the_last_token, records_run_together])
def test_the_self_check_catches_a_wrong_mask(bug: Any, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    built = RowLayout.__init__

    def wrong(layout: RowLayout, *arguments: Any) -> None:
        built(layout, *arguments)
        bug(layout)

    model = make_model("llama").to(kind)
    monkeypatch.setattr(RowLayout, "__init__", wrong)
    with pytest.raises(TrainingError, match=r"train\.attention to plain"):
        self_check(model, MIXED, "split", True, 0)


def test_the_self_check_catches_positions_that_run_on() -> None:
    model = make_model("llama")
    forward = model.get_base_model().forward

    def running_on(**inputs: Any) -> Any:
        if "row_layout" in inputs:
            inputs["position_ids"] = torch.arange(inputs["input_ids"].shape[1])[None]
        return forward(**inputs)

    model.get_base_model().forward = running_on
    with pytest.raises(TrainingError, match="log-probabilities differ"):
        self_check(model, MIXED, "split", True, 0)
