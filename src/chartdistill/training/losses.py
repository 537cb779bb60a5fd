"""The loss of a pass: cross entropy on the labels, and distillation from the teacher's likeliest tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chartdistill.training.options import DistillationOptions

if TYPE_CHECKING:
    import torch

    from chartdistill.training.packing import MicroBatch

_NOTHING = -1e9
"""Log-probability of a bucket that does not exist: finite, so that its gradient is 0 and not a NaN."""


def trained_logits(model: Any, one: MicroBatch) -> torch.Tensor:
    """Run the model; return the logits [trained tokens, vocabulary] that predict the trained tokens."""
    logits: torch.Tensor = model(**one.inputs, use_cache=False).logits
    flat = logits.flatten(0, 1)
    return flat if one.trained is None else flat[one.trained]


def micro_batch_loss(model: Any, one: MicroBatch, distillation: DistillationOptions | None = None) -> torch.Tensor:
    """The loss of a pass, summed over its trained tokens with their weights (divide by `total_weight` for the mean).

    With distillation, tokens of which the teacher's distribution is known cost (1 - weight) x cross entropy +
    weight x temperature^2 x divergence; the others cross entropy alone.
    """
    import torch

    logits = trained_logits(model, one).float()
    losses = torch.nn.functional.cross_entropy(logits, one.targets, reduction="none")
    if distillation is not None and one.teacher_ids is not None and one.teacher_logprobs is not None:
        known = one.teacher_logprobs.isfinite().any(1)
        divergence = tail_bucket_divergence(logits, one.teacher_ids, one.teacher_logprobs, distillation.temperature)
        mixed = (1 - distillation.weight) * losses + distillation.weight * distillation.temperature**2 * divergence
        losses = torch.where(known, mixed, losses)
    return (losses * one.weights).sum()


def tail_bucket_divergence(
    logits: torch.Tensor, teacher_ids: torch.Tensor, teacher_logprobs: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Forward Kullback-Leibler divergence KL(teacher || student) in nats, with all unlisted tokens in one bucket.

    Both distributions are reduced to the k listed tokens and one bucket with the rest of the probability; then their
    log-probabilities are divided by the temperature and normalised again. At temperature 1 this is the divergence of
    the reduced distributions, a lower bound of the full one (data-processing inequality). The factor temperature^2
    that keeps gradients of one size (Hinton, Vinyals, Dean 2015, section 2) is left to the caller.

    Args:
        logits: the student's [tokens, vocabulary], float32.
        teacher_ids, teacher_logprobs: [tokens, k]; -inf marks a place without a token. A token the student's
            vocabulary lacks is counted into the rest.

    Returns:
        Divergence [tokens]; 0 where nothing is listed.
    """
    import torch

    vocabulary = logits.shape[1]
    listed = teacher_logprobs.isfinite() & (teacher_ids < vocabulary)
    ids = teacher_ids.clamp(max=vocabulary - 1)
    normalizer = logits.logsumexp(1, keepdim=True)
    student = (logits.gather(1, ids) - normalizer).masked_fill(~listed, _NOTHING)
    taken = torch.zeros_like(logits).scatter_add_(1, ids, listed.to(logits.dtype)) > 0
    rest = logits.masked_fill(taken, _NOTHING).logsumexp(1, keepdim=True) - normalizer
    teacher = teacher_logprobs.float().masked_fill(~listed, _NOTHING)
    exists = listed.sum(1, keepdim=True) < vocabulary  # else the rest is rounding, not probability
    teacher_rest = (1 - teacher.exp().sum(1, keepdim=True)).clamp(min=0) * exists
    teacher_rest = torch.where(teacher_rest > 0, teacher_rest.clamp(min=1e-30).log(), _NOTHING)
    said = (torch.cat([teacher, teacher_rest], 1) / temperature).log_softmax(1)
    answered = (torch.cat([student, rest.clamp(min=_NOTHING)], 1) / temperature).log_softmax(1)
    probability = said.exp()
    terms = torch.where(probability > 0, probability * (said - answered), 0.0)
    return torch.where(listed.any(1), terms.sum(1), 0.0)
