"""On-policy distillation: the divergence, the student's own answers, and the passes of both models over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.errors import TrainingError
from chartdistill.training import OnPolicyOptions, TrainOptions
from chartdistill.training.generate import draw_answers, generate_everywhere
from chartdistill.training.on_policy import OnPolicy, OwnAnswers, OwnPass, check_room, generalized_jsd
from chartdistill.training.packing import Example, RowForm
from chartdistill.training.rows import Rows
from training_shapes import FAMILIES, VOCABULARY, make_example, make_model

END = 2
STUDENTS = [
    make_example("a", 17, [(3, 4), (5, 1), (2, 9)], 1),
    make_example("b", 1, [(2, 6), (1, 1)], 2),
    make_example("c", 30, [(6, 3)], 3),
]
TEACHERS = [replace(one, prefix_ids=[9, 8, 7, *one.prefix_ids, 5]) for one in STUDENTS]
"""Longer prompts: the teacher's has worked examples."""
SHARED = Rows("split", True, 0)
BETAS = (0.0, 0.1, 0.5, 0.9, 1.0)


def by_definition(student: torch.Tensor, teacher: torch.Tensor, beta: float) -> torch.Tensor:
    """From probabilities, in float64; no logarithm of a mixture is taken in log space."""
    q, p = student.double().softmax(-1), teacher.double().softmax(-1)
    if beta == 0:
        return (p * (p / q).log()).sum(-1)
    if beta == 1:
        return (q * (q / p).log()).sum(-1)
    m = beta * p + (1 - beta) * q
    return beta * (p * (p / m).log()).sum(-1) + (1 - beta) * (q * (q / m).log()).sum(-1)


def two_logits(seed: int, tokens: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(tokens, 13, generator=draw) * 4 for _ in range(2))
    return student.requires_grad_(), teacher


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), beta=st.one_of(st.sampled_from(BETAS), st.floats(0.01, 0.99)))
def test_the_divergence_and_its_gradient_follow_the_definition(seed: int, beta: float) -> None:
    student, teacher = two_logits(seed)
    theirs = by_definition(student, teacher, beta)
    (expected,) = torch.autograd.grad(theirs.sum(), student)
    for kind, relative in ((torch.float64, 1e-6), (torch.float32, 2e-5)):  # the gradient is stored in float32
        ours = generalized_jsd(student.to(kind), teacher.to(kind), beta)
        assert (ours - theirs).norm() <= relative * theirs.norm() and (ours >= -1e-6).all()
        (found,) = torch.autograd.grad(ours.sum(), student)
        assert (found - expected).norm() <= relative * expected.norm()


def test_between_the_ends_the_divergence_goes_to_them() -> None:
    student, teacher = (one.detach().double() / 4 for one in two_logits(1))
    for end, beta, share in ((0.0, 1e-7, 1e-7), (1.0, 1 - 1e-7, 1e-7)):
        torch.testing.assert_close(
            generalized_jsd(student, teacher, beta) / share,
            generalized_jsd(student, teacher, end),
            rtol=1e-4,
            atol=1e-6,
        )
    assert (generalized_jsd(student, teacher, 0.5) <= math.log(2)).all()
    assert generalized_jsd(student, student, 0.5).abs().max() < 1e-12
    # Logits that far apart underflow as probabilities; the divergence is still a number.
    far = torch.tensor([[0.0, -300.0]]), torch.tensor([[-300.0, 0.0]])
    assert [round(generalized_jsd(*far, beta).item(), 4) for beta in (0.0, 0.5, 1.0)] == [
        300,
        round(math.log(2), 4),
        300,
    ]


@pytest.mark.parametrize("beta", BETAS)
def test_the_divergence_is_that_of_trl(beta: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    gkd = pytest.importorskip("trl.experimental.gkd", reason="trl is not among the dependencies")
    student, teacher = two_logits(3, tokens=12)
    labels = torch.tensor([[-100, 4, 5, 6, -100, 1], [-100, -100, 2, 2, 2, 2]])
    theirs = gkd.GKDTrainer.generalized_jsd_loss(
        student.view(2, 6, -1), teacher.view(2, 6, -1), labels=labels, beta=beta
    )
    trained = (labels != -100).flatten()
    ours = generalized_jsd(student[trained], teacher[trained], beta).mean()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*(torch.autograd.grad(one, student)[0] for one in (ours, theirs)), rtol=1e-4, atol=1e-7)


def on_policy(teacher: Any, rows: Rows = SHARED, **values: Any) -> OnPolicy:
    chosen = OnPolicyOptions(**{"lmbda": 1.0, "max_new_tokens": 7, "from_epoch": 0, **values})
    return OnPolicy(teacher, rows, TEACHERS, TrainOptions(on_policy=chosen, dtype="float32"), VOCABULARY, END)


def make_teacher(family: str, **options: Any) -> Any:
    teacher = make_model(family, **options).merge_and_unload()
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.05)
    return teacher.requires_grad_(False).eval()


def separate_loss(student: Any, teacher: Any, answered: dict[tuple[str, str], Sequence[int]], beta: float) -> Any:
    """The oracle: for each answer one unpadded sequence in each model, in float64."""
    losses = []
    for one, other in zip(STUDENTS, TEACHERS, strict=True):
        for branch in one.branches:
            answer = answered[one.record, branch.task]
            logits = []
            for model, prefix in ((student, one.prefix_ids), (teacher, other.prefix_ids)):
                ids = [*prefix, *branch.question_ids, *answer]
                logits.append(model(input_ids=torch.tensor([ids])).logits[0, -len(answer) - 1 : -1])
            losses.append((by_definition(*logits, beta) * branch.weight).sum())
    return torch.stack(losses).sum()


def answers_in(passes: Sequence[OwnPass], examples: Sequence[Example], chosen: OnPolicy) -> dict[Any, Sequence[int]]:
    """What the student answered, asked again: answers hang on their own seeds alone."""
    own = [chosen._answers(STUDENT["model"], [one], 0) for one in examples]
    ids = [[*answer, END] if len(answer) < chosen.options.max_new_tokens else answer for some in own for answer in some]
    assert sorted(t for answer in ids for t in answer) == sorted(t for p in passes for t in p.student.targets.tolist())
    return dict(zip([(e.record, b.task) for e in examples for b in e.branches], ids, strict=True))


STUDENT: dict[str, Any] = {}


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("family", "form", "shared", "teachers"),
    [
        *((family, "split", True, SHARED) for family in FAMILIES),
        ("qwen3_tied", "dense", True, Rows("plain", False, 0)),
        ("qwen3_tied", "split", False, Rows("dense", True, 0)),
        ("qwen3_tied", "plain", False, SHARED),
    ],
)
def test_loss_and_gradients_are_those_of_separate_rows(
    family: str, form: RowForm, shared: bool, teachers: Rows, beta: float
) -> None:
    student, plain = make_model(family), make_model(family, attention="sdpa").double()
    teacher, plain_teacher = make_teacher(family), make_teacher(family, attention="sdpa").double()
    STUDENT["model"] = student
    chosen = on_policy(teacher, teachers, beta=beta)
    passes = chosen.passes(student, STUDENTS, 0, Rows(form, shared, 0))
    answered = answers_in(passes, STUDENTS, chosen)
    assert len({tuple(answer) for answer in answered.values()}) > 3
    ours = torch.stack([chosen.loss(student, one) for one in passes]).sum()
    theirs = separate_loss(plain, plain_teacher, answered, beta)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert sum(one.total_weight for one in passes) == sum(
        branch.weight * len(answered[one.record, branch.task]) for one in STUDENTS for branch in one.branches
    )
    ours.backward()
    theirs.backward()
    expected = {name: one.grad for name, one in plain.named_parameters() if one.requires_grad}
    assert len(expected) >= 14
    for name, one in student.named_parameters():
        if one.requires_grad:
            assert (one.grad - expected[name]).norm() <= 2e-5 * expected[name].norm(), name
    assert all(one.grad is None for one in teacher.parameters())


def test_small_passes_add_up_to_one() -> None:
    student, teacher = make_model("llama"), make_teacher("llama")
    whole, small = on_policy(teacher), on_policy(teacher)
    small._tokens_per_pass = 20
    losses = []
    for chosen, count in ((whole, 1), (small, 3)):
        passes = chosen.passes(student, STUDENTS, 0, SHARED)
        assert len(passes) == count
        losses.append(sum(chosen.loss(student, one).item() for one in passes))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert whole.done.divergence == pytest.approx(losses[0]) and whole.done.answers == small.done.answers == 6


def test_ids_that_only_one_model_has_are_left_out() -> None:
    """Models of one family and one tokenizer are padded to other sizes."""
    student, teacher = make_model("llama"), make_teacher("llama")
    chosen = OnPolicy(teacher, SHARED, TEACHERS, on_policy_options(max_new_tokens=30, temperature=3.0), 60, END)
    passes = chosen.passes(student, STUDENTS, 0, SHARED)
    assert max(int(one.student.targets.max()) for one in passes) < 60
    wider = torch.nn.Linear(32, 200, bias=False)
    with torch.no_grad():
        wider.weight[:60] = teacher.lm_head.weight[:60]
        before = sum(chosen.loss(student, one).item() for one in passes)
        teacher.lm_head = wider
        assert sum(chosen.loss(student, one).item() for one in passes) == pytest.approx(before, rel=1e-6)


def on_policy_options(**values: Any) -> TrainOptions:
    return TrainOptions(on_policy=OnPolicyOptions(**{"lmbda": 1.0, **values}), dtype="float32")


PROMPTS = [[5, 6, 7], [8] * 12, [9, 10], [3, 4, 5, 6]]


def drawn(seeds: Sequence[int], prompts: Sequence[Sequence[int]] = PROMPTS, temperature: float = 1.0,
          room: tuple[int, int] = (10_000, 32), tokens: int = 12) -> list[list[int]]:  # fmt: skip
    return draw_answers(make_model("llama").eval(), prompts, END, tokens, room, seeds, temperature, VOCABULARY)


def test_an_answer_hangs_on_its_prompt_and_seed_alone() -> None:
    seeds = [11, 12, 13, 14]
    together = drawn(seeds)
    assert [drawn([seed], [prompt])[0] for seed, prompt in zip(seeds, PROMPTS, strict=True)] == together
    assert drawn(seeds, room=(40, 2)) == together
    assert drawn(seeds[::-1], PROMPTS[::-1])[::-1] == together
    assert drawn([21, 22, 23, 24]) != together


def test_at_temperature_0_answers_are_the_likeliest() -> None:
    greedy = generate_everywhere(make_model("llama").eval(), PROMPTS, END, 12, 10_000)
    assert drawn([1, 2, 3, 4], temperature=0.0) == greedy


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature: float) -> None:
    count = 4000
    first = [answer[0] if answer else END for answer in drawn(range(count), [PROMPTS[0]] * count, temperature,
                                                              (1 << 30, count), 1)]  # fmt: skip
    with torch.no_grad():
        logits = make_model("llama").eval()(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1]
    expected = (logits.double() / temperature).softmax(0)
    found = torch.bincount(torch.tensor(first), minlength=VOCABULARY) / count
    spread = (expected * (1 - expected) / count).sqrt()
    assert ((found - expected).abs() <= 5 * spread + 1 / count).all()
    assert expected.max() < 0.99


def test_records_are_drawn_by_the_epoch_and_no_other_record() -> None:
    teacher = make_teacher("llama")
    chosen = on_policy(teacher, lmbda=0.3)
    names = [f"record {i}" for i in range(2000)]
    share = sum(chosen._is_drawn(name, 1) for name in names) / len(names)
    assert share == pytest.approx(0.3, abs=0.05)
    first, second = ([chosen._is_drawn(name, epoch) for name in names] for epoch in (0, 1))
    assert first != second and first == [chosen._is_drawn(name, 0) for name in names[::-1]][::-1]
    assert all(on_policy(teacher, lmbda=1.0)._is_drawn(name, 0) for name in names)


def test_an_answer_that_is_cut_teaches_no_end() -> None:
    chosen = on_policy(make_teacher("llama"), max_new_tokens=3)
    branch = STUDENTS[0].branches[0]
    chosen.done = OwnAnswers()
    assert chosen._answered(branch, [5, 6, 7]).answer_ids == [5, 6, 7]
    assert chosen._answered(branch, [5, 6]).answer_ids == [5, 6, END]
    assert chosen._answered(branch, []).answer_ids == [END]
    assert (chosen.done.answers, chosen.done.cut, chosen.done.tokens) == (3, 1, 7)


def test_a_prompt_without_room_for_an_answer_is_refused() -> None:
    both = {"student": STUDENTS, "teacher": TEACHERS}
    check_room(both, {"student: train.max_tokens": 46, "teacher: its context": 50}, 10)
    with pytest.raises(
        TrainingError, match=r"1 of 3 .* behind the student's .*longest 36 tokens; c\): train.max_tokens"
    ):
        check_room(both, {"student: train.max_tokens": 45}, 10)
    with pytest.raises(
        TrainingError, match=r"2 of 3 .*teacher's prompt.* a, c\): its context is 30\. Lower train\.on_pol"
    ):
        check_room(both, {"teacher: its context": 30}, 10)
