"""How long does it take? The least that computing and reading need, from shapes alone, and what is likely."""

from __future__ import annotations

from dataclasses import dataclass

from chartdistill.doctor.machine import Card
from chartdistill.doctor.memory_plan import tokens_at_once
from chartdistill.doctor.model_shape import ModelShape
from chartdistill.doctor.workload import Work
from chartdistill.training import TrainOptions

PEAK_SHARE = {"label": 0.4, "train": 0.3}
"""Share of a card's peak that is taken as likely. Published LoRA training of 8B models on H100 reaches 0.41-0.43 (NeMo
AutoModel), small models 0.25-0.4; labelling is bound by computing, too. Not measured with this program."""


@dataclass(frozen=True)
class TimePlan:
    """Seconds: the least that physics allows, and what is likely."""

    floor_s: float
    likely_s: float
    how: str


def label_time(
    shape: ModelShape, card: Card, cards: int, work: Work, weight_bytes: float, cache_tokens: int
) -> TimePlan | None:
    """Floor of labelling; None when the card's figures are not known.

    Computing: 2 x active parameters per token, and 2 x layers x heads x head_dim x record tokens^2 for attention,
    each record computed once. Reading: weights and cache once for each token decoded by all requests in flight.
    """
    eight_bit = shape.quantization.get("quant_method") == "fp8" and card.fp8_tflops is not None
    peak = card.fp8_tflops if eight_bit else card.tflops
    if peak is None or card.gbytes_per_s is None:
        return None
    asked = work.tasks * work.prompts_per_task
    decoded = work.tasks * work.answer_tokens + (asked - work.tasks)
    tokens = work.record_tokens + asked * work.question_tokens + decoded
    attention = 2 * shape.layers * shape.heads * shape.head_dim * work.record_tokens**2
    flops = work.records * (2.0 * shape.active_parameters * tokens + attention)
    computing = flops / (cards * peak * 1e12)
    in_flight = max(1, min(256, cache_tokens // tokens_at_once(work)) * work.tasks)
    steps = work.records * decoded / in_flight
    cache = in_flight * (work.record_tokens + work.question_tokens) * shape.kv_bytes_per_token
    reading = steps * (weight_bytes + cache) / (cards * card.gbytes_per_s * 1e9)
    floor = max(computing, reading)
    how = (
        f"max({flops:.2e} FLOP / {cards} x {peak:.0f} TFLOP/s = {computing:.0f} s, {steps:.0f} steps x "
        f"{(weight_bytes + cache) / 1e9:.1f} GB / {cards} x {card.gbytes_per_s:.0f} GB/s = {reading:.0f} s); "
        f"likely: / {PEAK_SHARE['label']}"
    )
    return TimePlan(floor, floor / PEAK_SHARE["label"], how)


def train_time(shape: ModelShape, card: Card, cards: int, work: Work, options: TrainOptions) -> TimePlan | None:
    """Floor of training; None when the card's figures are not known.

    LoRA needs 2N for the forward and 2N for the activations' backward pass per token, 2N more with checkpointing; the
    output layer 4 x vocabulary x hidden for each answer token.
    """
    if card.tflops is None:
        return None
    per_token = 6 if options.gradient_checkpointing else 4
    tokens = work.record_tokens + work.tasks * (work.question_tokens + work.answer_tokens)
    body = shape.active_parameters - shape.embedding_parameters
    attention = 7 * shape.layers * shape.heads * shape.head_dim * work.record_tokens**2
    head = 4.0 * shape.vocab * shape.hidden * work.tasks * work.answer_tokens
    flops = options.epochs * work.records * (per_token * body * tokens + attention + head)
    floor = flops / (cards * card.tflops * 1e12)
    how = (
        f"{options.epochs} epochs x {work.records} records x ({per_token} x {body / 1e9:.2f}e9 x {tokens} tokens + "
        f"attention + output layer) = {flops:.2e} FLOP / {cards} x {card.tflops:.0f} TFLOP/s; likely: / "
        f"{PEAK_SHARE['train']}"
    )
    return TimePlan(floor, floor / PEAK_SHARE["train"], how)
