"""On-policy distillation: the student answers training prompts, and learns the teacher's distribution on its answers.

In: the student as it is now, a step's examples, the teacher's weights. Out: passes of the student's own answers, and
their loss. Must hold: an answer depends on the student's weights, the seed, the epoch and its place alone, never on
what else is in a batch, so that a resumed run makes the same ones; loss and gradients are those of separate rows.

Labels show the student right answers only. Once it has gone wrong it stands where no label has been; its own answers
bring the teacher there. For a fraction of the prompts (Agarwal et al., "On-Policy Distillation of Language Models:
Learning from Self-Generated Mistakes", ICLR 2024, algorithm 1; reverse KL alone: Gu et al., "MiniLLM", ICLR 2024).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from chartdistill.errors import TrainingError
from chartdistill.schema import content_hash
from chartdistill.training.generate import draw_answers, room_for_answers
from chartdistill.training.losses import trained_logits
from chartdistill.training.memory import LOGITS_AT_ONCE
from chartdistill.training.model import compute_dtype
from chartdistill.training.options import OnPolicyOptions, TrainOptions
from chartdistill.training.packing import Branch, Example, MicroBatch, one_pass, plan_rows
from chartdistill.training.rows import Rows


def generalized_jsd(student: torch.Tensor, teacher: torch.Tensor, beta: float) -> torch.Tensor:
    """Generalised Jensen-Shannon divergence of two sets of logits [tokens, vocabulary], in nats [tokens].

    With the teacher's distribution P, the student's Q and M = beta P + (1 - beta) Q: beta KL(P || M) + (1 - beta)
    KL(Q || M) (Agarwal et al. 2024, equation 1). It goes to 0 at both ends; there the divergences stand that it goes
    to when divided by beta or by 1 - beta: KL(P || Q) at 0, KL(Q || P) at 1, as in TRL's GKDTrainer.
    """
    wide = torch.promote_types(student.dtype, torch.float32)
    q, p = student.to(wide).log_softmax(-1), teacher.to(wide).log_softmax(-1)
    if beta == 0:
        return _kl(p, q)
    if beta == 1:
        return _kl(q, p)
    mixture = torch.logaddexp(p + math.log(beta), q + math.log1p(-beta))
    return beta * _kl(p, mixture) + (1 - beta) * _kl(q, mixture)


def divergences(student: torch.Tensor, teacher: torch.Tensor, beta: float) -> torch.Tensor:
    """`generalized_jsd`, a few tokens at a time and computed again for the backward pass: else it would keep about ten
    arrays as large as the logits."""
    at_once = max(1, LOGITS_AT_ONCE // student.shape[1])
    parts = zip(torch.split(student, at_once), torch.split(teacher, at_once), strict=True)
    return torch.cat(
        [checkpoint(generalized_jsd, *part, beta, use_reentrant=False, preserve_rng_state=False) for part in parts]
    )


def _kl(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """KL(one || other) of log-probabilities."""
    return (one.exp() * (one - other)).sum(-1)


@dataclass(frozen=True)
class OwnPass:
    """A pass of the student's own answers, in the student's rows and in the teacher's: the same tokens in one order."""

    student: MicroBatch
    teacher: MicroBatch

    @property
    def records(self) -> tuple[str, ...]:
        """Whose answers they are."""
        return self.student.records

    @property
    def total_weight(self) -> float:
        """Of all trained tokens."""
        return self.student.total_weight

    @property
    def num_tokens(self) -> int:
        """Trained tokens."""
        return self.student.num_tokens

    def to(self, device: torch.device) -> OwnPass:
        """The same on a device."""
        return OwnPass(self.student.to(device), self.teacher.to(device))


@dataclass
class OwnAnswers:
    """What a step did with the student's own answers; sums, so that steps and processes add up."""

    answers: float = 0
    cut: float = 0
    """Of these, those that did not end within `max_new_tokens`."""
    tokens: float = 0
    weight: float = 0
    """Of the tokens in the loss."""
    divergence: float = 0
    """Sum over tokens, with their weights, in nats."""
    answering_s: float = 0
    teacher_s: float = 0
    """Its forward passes."""
    student_s: float = 0
    """The student's forward and backward passes over its answers."""

    def values(self) -> list[float]:
        """All figures, in one order."""
        return list(asdict(self).values())


class OnPolicy:
    """Makes and scores the student's own answers.

    Args:
        teacher: frozen, on this process's device.
        rows: the teacher's.
        examples: the training records with the teacher's prompts.
        vocabulary: so many ids the tokenizers have; logits beyond are padding of one model or the other, and left out.
        end_id: that ends an answer.
    """

    def __init__(
        self, teacher: Any, rows: Rows, examples: Sequence[Example], options: TrainOptions, vocabulary: int, end_id: int
    ) -> None:
        assert options.on_policy is not None
        self.options: OnPolicyOptions = options.on_policy
        self.done = OwnAnswers()
        """Of the step that is being made."""
        self._teacher, self._rows, self._vocabulary, self._end_id = teacher, rows, vocabulary, end_id
        self._asked = {example.record: example for example in examples}
        self._seed, self._tokens_per_pass = options.seed, options.tokens_per_pass
        self._teacher_dtype = compute_dtype(teacher)

    def passes(self, student: Any, examples: Sequence[Example], epoch: int, rows: Rows) -> list[OwnPass]:
        """Passes of the student's answers to the prompts of those examples that are drawn in this epoch (from 0).

        Args:
            student: as it trains; without a wrapper for several processes.
            rows: the student's.
        """
        self.done = OwnAnswers()
        drawn = [example for example in examples if self._is_drawn(example.record, epoch)]
        if not drawn:
            return []
        begun = self._now()
        was_training = student.training
        student.eval()
        answers = iter(self._answers(student, drawn, epoch))
        student.train(was_training)
        own = [replace(one, branches=tuple(self._answered(b, next(answers)) for b in one.branches)) for one in drawn]
        self.done.answering_s = self._now() - begun
        whole = own if rows.shared else [row for example in own for row in example.separate()]
        groups = plan_rows(whole, rows.form, self._tokens_per_pass)
        dtype = compute_dtype(student)
        return [OwnPass(one_pass(group, rows.form, dtype, rows.pad_id), self._for_teacher(group)) for group in groups]

    def loss(self, student: Any, own: OwnPass) -> torch.Tensor:
        """The divergence summed over a pass's tokens with their weights (divide by `total_weight` for the mean)."""
        begun = self._now()
        with torch.no_grad():
            teacher = trained_logits(self._teacher, own.teacher)[:, : self._vocabulary]
        self.done.teacher_s += self._now() - begun
        student_logits = trained_logits(student, own.student)[:, : self._vocabulary]
        loss = (divergences(student_logits, teacher, self.options.beta) * own.student.weights).sum()
        self.done.divergence += float(loss.detach())
        self.done.weight += own.total_weight
        return loss

    def _seeded(self, *place: object) -> int:
        return int(content_hash(self._seed, *place), 16) % (1 << 63)

    def _is_drawn(self, record: str, epoch: int) -> bool:
        draw = torch.Generator().manual_seed(self._seeded("record", epoch, record))
        return float(torch.rand(1, generator=draw, dtype=torch.float64)) < self.options.lmbda

    def _answers(self, student: Any, examples: Sequence[Example], epoch: int) -> list[list[int]]:
        asked = [(example, branch) for example in examples for branch in example.branches]
        return draw_answers(
            student,
            [[*example.prefix_ids, *branch.question_ids] for example, branch in asked],
            self._end_id,
            self.options.max_new_tokens,
            room_for_answers(student, self._tokens_per_pass),
            [self._seeded("answer", epoch, example.record, branch.task) for example, branch in asked],
            self.options.temperature,
            self._vocabulary,
            [len(example.prefix_ids) for example, _ in asked],
        )

    def _answered(self, branch: Branch, answer: list[int]) -> Branch:
        cut = len(answer) == self.options.max_new_tokens
        ids = answer if cut else [*answer, self._end_id]
        self.done.answers += 1
        self.done.cut += cut
        self.done.tokens += len(ids)
        return replace(branch, answer_ids=ids, teacher=None)

    def _for_teacher(self, group: Sequence[Example]) -> MicroBatch:
        """The pass with the teacher's prompts: records, branches and so trained tokens in the same order."""
        rows = [self._with_teachers_prompt(example) for example in group]
        if not self._rows.shared:
            rows = [row for example in rows for row in example.separate()]
        return one_pass(rows, self._rows.form, self._teacher_dtype, self._rows.pad_id)

    def _with_teachers_prompt(self, own: Example) -> Example:
        asked = self._asked[own.record]
        questions = {branch.task: branch.question_ids for branch in asked.branches}
        branches = tuple(replace(branch, question_ids=questions[branch.task]) for branch in own.branches)
        return Example(own.record, asked.prefix_ids, branches)

    def _now(self) -> float:
        """Seconds, once the device has done what it was given."""
        if self._teacher.device.type == "cuda":
            torch.cuda.synchronize(self._teacher.device)
        return time.perf_counter()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what happens in here as the student's, but for what the teacher takes of it."""
        begun, of_teacher = self._now(), self.done.teacher_s
        yield
        self.done.student_s += self._now() - begun - (self.done.teacher_s - of_teacher)


def check_room(examples: Mapping[str, Sequence[Example]], limits: Mapping[str, int], max_new_tokens: int) -> None:
    """Refuse prompts behind which the longest answer of the student's would not fit.

    Args:
        examples: whose prompts -> the training records with them.
        limits: whose prompts, and what limits them -> tokens; names are `role: limit`.

    Raises:
        TrainingError: names the records and what to set.
    """
    for name, limit in limits.items():
        role, what = name.split(": ")
        sizes = {e.record: len(e.prefix_ids) + max(len(b.question_ids) for b in e.branches) for e in examples[role]}
        long = [record for record, size in sizes.items() if size + max_new_tokens > limit]
        if long:
            longest = max(sizes[record] for record in long)
            raise TrainingError(
                f"train.on_policy: {len(long)} of {len(sizes)} records have no room for an answer of max_new_tokens "
                f"{max_new_tokens} behind the {role}'s prompt (longest {longest} tokens; {', '.join(long[:5])}"
                f"{', ...' if len(long) > 5 else ''}): {what} is {limit}. Lower train.on_policy.max_new_tokens"
                f"{', raise train.max_tokens' if 'max_tokens' in what else ''}, or leave these records out."
            )


def own_answers_by_epoch(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For the manifest: how much the student answered, what each phase took, the mean divergence of each epoch.

    Args:
        rows: of the steps, each {"epoch": from 0, "own": the values of `OwnAnswers`}.
    """
    epochs: dict[int, OwnAnswers] = {}
    for row in rows:
        epochs[row["epoch"]] = _sum(epochs.get(row["epoch"], OwnAnswers()).values(), row["own"])
    whole = OwnAnswers()
    for one in epochs.values():
        whole = _sum(whole.values(), one.values())
    return {
        **_counts(whole),
        "seconds": {
            "answering": round(whole.answering_s, 3),
            "teacher": round(whole.teacher_s, 3),
            "student": round(whole.student_s, 3),
        },
        "epochs": [{"epoch": epoch + 1, **_counts(one)} for epoch, one in sorted(epochs.items())],
    }


def _sum(one: Sequence[float], other: Sequence[float]) -> OwnAnswers:
    return OwnAnswers(*(a + b for a, b in zip(one, other, strict=True)))


def _counts(one: OwnAnswers) -> dict[str, Any]:
    return {
        "answers": int(one.answers),
        "cut_answers": int(one.cut),
        "answer_tokens": int(one.tokens),
        "divergence": one.divergence / one.weight if one.weight else None,
    }
