"""How long does it take? The least that computing and reading need, from shapes alone, and what is likely."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chartdistill.doctor.machine import Card
from chartdistill.doctor.memory_plan import tokens_at_once
from chartdistill.doctor.model_shape import ModelShape
from chartdistill.doctor.workload import Work
from chartdistill.training import TrainOptions

DISK_GBYTES_PER_S = 2.0
"""Reading weights from a common NVMe disk, 10^9 bytes per second; a disk behind a network is slower."""
PEAK_SHARE = {"label": 0.4, "train": 0.2}
"""Share of a card's peak that is taken as likely. Training: an H200 reached 0.19 of its 989 TFLOP/s at 1.5 billion
parameters with passes of 11,000 tokens, 0.22 with 45,000 (docs/training.md); a larger student comes nearer. Labelling
is bound by computing, too; its share was not measured with this program."""


IMPORTS_S, COMPILING_S, GRAPHS_S = 45.0, 45.0, 20.0
"""Of an engine's start beside reading weights. Importing torch and vLLM from a cold disk, in our process and in its
engine's: measured once beside an H200. torch.compile with the warm-up, and capturing CUDA graphs: of 8B models in
public logs of vLLM 0.6 to 0.23, 19 to 49 s and 15 to 32 s; longer with more layers, and none where the caches of an
earlier start are still there. With LoRA every graph is captured twice, with and without an adapter
(`cudagraph_specialize_lora`). Not measured with this program."""


@dataclass(frozen=True)
class TimePlan:
    """Seconds: the least that physics allows, and what is likely."""

    floor_s: float
    likely_s: float
    """With the start of the engine, where there is one."""
    how: str
    not_in_it: str
    """What else takes time, and is not estimated."""


def label_time(
    shape: ModelShape,
    card: Card,
    cards: int,
    work: Work,
    weight_bytes: float,
    cache_tokens: int,
    start: tuple[float, str] = (0.0, "the engine's start"),
) -> TimePlan | None:
    """Floor of labelling with one engine; None when the card's figures are not known.

    Args:
        cards: that the engine is divided over.
        work: of this engine.
        start: seconds and words of `engine_start`.

    Computing: 2 x active parameters per token, and 2 x layers x heads x head_dim x record tokens^2 for attention,
    each record computed once. Reading: weights and cache once for each token decoded by all requests in flight.
    """
    peak = card.fp8_tflops if multiplies_in_8_bits(shape, card) else card.tflops
    if peak is None or card.gbytes_per_s is None:
        return None
    asked = work.tasks * work.samples * work.prompts_per_task
    answers = work.tasks * work.samples
    decoded = answers * work.answer_tokens + (asked - answers) + asked * work.thought_tokens
    tokens = work.record_tokens + asked * work.question_tokens + decoded
    attention = 2 * shape.layers * shape.heads * shape.head_dim * work.record_tokens**2
    flops = work.records * (2.0 * shape.active_parameters * tokens + attention)
    computing = flops / (cards * peak * 1e12)
    in_flight = max(1, min(256, cache_tokens // tokens_at_once(work)) * answers)
    steps = work.records * decoded / in_flight
    cache = in_flight * (work.record_tokens + work.question_tokens) * shape.kv_bytes_per_token
    reading = steps * (weight_bytes + cache) / (cards * card.gbytes_per_s * 1e9)
    floor = max(computing, reading)
    how = (
        f"the larger of computing, {flops:.2e} FLOP / ({cards} x {peak:.0f} TFLOP/s) = {computing:.0f} s, and reading, "
        f"{steps:.0f} steps x {(weight_bytes + cache) / 1e9:.1f} GB / ({cards} x {card.gbytes_per_s:.0f} GB/s) = "
        f"{reading:.0f} s; likely at {PEAK_SHARE['label']:.0%} of these peaks, and {start[1]}"
    )
    return TimePlan(floor, floor / PEAK_SHARE["label"] + start[0], how, "weights behind a network, a cold cache")


def engine_start(weight_bytes: float, eager: bool, with_lora: bool) -> tuple[float, str]:
    """Seconds until an engine on a card answers, and how they come about.

    Args:
        weight_bytes: read from disk.
        eager: nothing is compiled and no graph captured.
        with_lora: it serves adapters.
    """
    reading = weight_bytes / 1e9 / DISK_GBYTES_PER_S
    said = [f"importing {IMPORTS_S:.0f} s", f"{weight_bytes / 1e9:.1f} GB of weights from disk {reading:.0f} s"]
    seconds = IMPORTS_S + reading
    if not eager:
        graphs = GRAPHS_S * (2 if with_lora else 1)
        twice = " (twice, for LoRA)" if with_lora else ""
        said.append(f"compiling {COMPILING_S:.0f} s, CUDA graphs {graphs:.0f} s{twice}")
        seconds += COMPILING_S + graphs
    return seconds, f"the engine's start: {', '.join(said)}"


def multiplies_in_8_bits(shape: ModelShape, card: Card) -> bool:
    """Whether FP8 weights are multiplied as they are. Weights with a scale for each block are so from Hopper on: on Ada
    vLLM takes Marlin, which unpacks them to 16 bits (vllm/model_executor/kernels/linear, `_POSSIBLE_FP8_BLOCK_KERNELS`:
    DeepGEMM and CUTLASS for blocks need 9.0, and the next that any card runs is Marlin)."""
    if shape.quantization.get("quant_method") != "fp8" or card.fp8_tflops is None:
        return False
    in_blocks = bool(shape.quantization.get("weight_block_size"))
    return not in_blocks or card.capability is None or card.capability >= (9, 0)


def evaluate_time(
    shape: ModelShape,
    card: Card,
    cards: int,
    work: Work,
    weight_bytes: float,
    cache_tokens: int,
    start: tuple[float, str] = (0.0, "the engine's start"),
) -> TimePlan | None:
    """Floor of asking the student's arms the consolidated question; the teacher's answers are its labels. None when the
    card's figures are not known. `work`: `records` is how often this engine is asked about a chart."""
    asked = replace(work, prompts_per_task=1, samples=1)
    return label_time(shape, card, cards, asked, weight_bytes, cache_tokens, start)


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
        f"{options.epochs:g} epochs x {work.records:,} records x ({per_token} x {body / 1e9:.2f}e9 x {tokens} tokens + "
        f"attention + output layer) = {flops:.2e} FLOP / ({cards} x {card.tflops:.0f} TFLOP/s); likely at "
        f"{PEAK_SHARE['train']:.0%} of this peak"
    )
    also = ["loading", "validation"]
    also += ["unpacking NF4"] if options.load_in_4bit else []
    also += ["the student's own answers and the teacher's reading of them"] if options.on_policy else []
    also += ["communication between cards"] if cards > 1 else []
    return TimePlan(floor, floor / PEAK_SHARE["train"], how, ", ".join(also))
