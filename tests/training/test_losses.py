"""The losses against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.training import DistillationOptions
from chartdistill.training.distillation import TeacherTokens
from chartdistill.training.losses import micro_batch_loss, tail_bucket_divergence, trained_logits
from chartdistill.training.packing import Branch, Example, collate
from training_shapes import VOCABULARY, make_example, make_model


def bucketed(logprobs: list[float], ids: list[int], temperature: float) -> list[float]:
    """The definition, one token at a time, in Python floats."""
    listed = [math.exp(logprobs[i]) for i in ids]
    parts = [*listed, max(0.0, 1 - sum(listed))]
    powers = [part ** (1 / temperature) if part > 0 else 0.0 for part in parts]
    return [power / sum(powers) for power in powers]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 5), temperature=st.sampled_from([0.5, 1.0, 2.0]))
def test_the_divergence_follows_its_definition(seed: int, k: int, temperature: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    student = torch.randn(3, 11, generator=draw) * 2
    teacher = (torch.randn(3, 11, generator=draw) * 2).log_softmax(1)
    top = teacher.topk(k, dim=1)
    found = tail_bucket_divergence(student, top.indices, top.values, temperature)
    for row in range(3):
        ids = top.indices[row].tolist()
        p = bucketed(teacher[row].tolist(), ids, temperature)
        q = bucketed(student[row].log_softmax(0).tolist(), ids, temperature)
        assert found[row].item() == pytest.approx(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)), abs=1e-4)
    assert (found >= -1e-5).all()
    full = (teacher.exp() * (teacher - student.log_softmax(1))).sum(1)
    if temperature == 1:
        assert (found <= full + 1e-4).all()


def test_the_divergence_is_the_full_one_when_all_tokens_are_listed() -> None:
    draw = torch.Generator().manual_seed(0)
    student = torch.randn(4, 6, generator=draw, requires_grad=True)
    teacher = torch.randn(4, 6, generator=draw).log_softmax(1)
    top = teacher.topk(6, dim=1)
    found = tail_bucket_divergence(student, top.indices, top.values)
    full = (teacher.exp() * (teacher - student.log_softmax(1))).sum(1)
    torch.testing.assert_close(found, full, atol=1e-5, rtol=1e-5)
    (ours,) = torch.autograd.grad(found.sum(), student, retain_graph=True)
    (theirs,) = torch.autograd.grad(full.sum(), student)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_student_equal_to_the_teacher_has_nothing_to_learn() -> None:
    logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(3), requires_grad=True)
    top = logits.detach().log_softmax(1).topk(3, dim=1)
    loss = tail_bucket_divergence(logits, top.indices, top.values).sum()
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5) and logits.grad is not None
    assert logits.grad.abs().max() < 1e-5


def test_missing_and_foreign_tokens_change_nothing() -> None:
    """A place filled up with -inf repeats an id; an id past the vocabulary belongs to the rest."""
    logits = torch.randn(1, 8, generator=torch.Generator().manual_seed(5), requires_grad=True)
    short = tail_bucket_divergence(logits, torch.tensor([[2, 4]]), torch.tensor([[-0.5, -2.0]]))
    filled = torch.tensor([[2, 4, 4, 99]]), torch.tensor([[-0.5, -2.0, float("-inf"), -4.0]])
    torch.testing.assert_close(tail_bucket_divergence(logits, *filled), short)
    nothing = tail_bucket_divergence(logits, torch.tensor([[2]]), torch.tensor([[float("-inf")]]))
    assert nothing.item() == 0
    (short.sum() + nothing.sum()).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_the_mixed_loss_is_the_weighted_sum_and_ignores_answers_without_distributions() -> None:
    draw = np.random.default_rng(1)
    example = make_example("a", 9, [(2, 4), (3, 2)], 1)
    ids = draw.integers(3, VOCABULARY, (4, 3))
    known = TeacherTokens(ids, np.log(np.array([[0.6, 0.2, 0.1]] * 4, dtype=np.float32)))
    first, second = example.branches
    distilled = Example(
        "a", example.prefix_ids, (Branch("t0", first.question_ids, first.answer_ids, 0.5, known), second)
    )
    model = make_model("llama").eval()
    one = collate([distilled], "split")[0]
    options = DistillationOptions(weight=0.3, temperature=2.0)
    with torch.no_grad():
        found = micro_batch_loss(model, one, options).item()
        logits = trained_logits(model, one)
        entropy = torch.nn.functional.cross_entropy(logits, one.targets, reduction="none")
        teacher = torch.from_numpy(known.ids), torch.from_numpy(known.logprobs)
        divergence = tail_bucket_divergence(logits[:4], *teacher, 2.0)
    expected = 0.5 * (0.7 * entropy[:4] + 0.3 * 4 * divergence).sum() + second.weight * entropy[4:].sum()
    assert found == pytest.approx(float(expected), rel=1e-5)
    assert micro_batch_loss(model, one).item() == pytest.approx(
        0.5 * float(entropy[:4].sum()) + float(entropy[4:].sum())
    )


def test_distillation_gradients_are_those_of_separate_rows() -> None:
    known = TeacherTokens(np.arange(12).reshape(4, 3), np.log(np.full((4, 3), 0.25, dtype=np.float32)))
    parts = make_example("a", 9, [(2, 4), (3, 4), (1, 4)], 1)
    branches = tuple(Branch(b.task, b.question_ids, b.answer_ids, b.weight, known) for b in parts.branches)
    example, options = Example("a", parts.prefix_ids, branches), DistillationOptions(weight=1.0)
    gradients = []
    for shared in (True, False):
        model = make_model("qwen2")
        sum(micro_batch_loss(model, one, options) for one in collate([example], "split", shared)).backward()  # type: ignore[union-attr]
        gradients.append([p.grad for p in model.parameters() if p.requires_grad])
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
