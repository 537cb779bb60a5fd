"""Does it fit? Memory from shapes alone.

Every figure is a sum of named parts with its formula in words, so that it can be checked by hand. Memory of training
follows what autograd keeps for the trainer in `training/` (found by listing every saved tensor of a real step, and
held to within 10% of a measured one by tests/doctor/test_memory_plan.py). vLLM's own start-up measures its part again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chartdistill.doctor.machine import Card
from chartdistill.doctor.model_shape import ModelShape
from chartdistill.doctor.workload import Work
from chartdistill.engines import TransformersEngine, VllmEngine
from chartdistill.runtime.machine import GIB
from chartdistill.training import LOGITS_AT_ONCE, TrainOptions, answer_bytes_per_token

CARD_RESERVE_BYTES = 1.5 * GIB
"""CUDA context, kernels' workspaces, CUDA graphs, the allocator's gaps. Typical, not computed."""
FULL_BATCH_BYTES = 70 * GIB
"""From this card memory on, vLLM 0.32 computes 16,384 tokens a step and decodes 1,024 requests at once, else 8,192
and 256 (vllm/engine/arg_utils.py); an A100 keeps the smaller numbers."""


@dataclass(frozen=True)
class Part:
    """One part of a sum, in bytes on one card."""

    name: str
    bytes: float
    how: str
    """The formula, with its numbers."""


@dataclass(frozen=True)
class MemoryPlan:
    """Memory of one process on one card (or on the machine, without cards)."""

    parts: tuple[Part, ...]
    room_bytes: float
    """What it may take."""
    cache_tokens: int | None = None
    """Tokens the KV cache holds, for an engine."""
    records_at_once: int | None = None

    @property
    def bytes(self) -> float:
        """All parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def fits(self) -> bool:
        """Whether the parts are no more than the room."""
        return self.bytes <= self.room_bytes


def label_plan(
    shape: ModelShape, engine: VllmEngine, card: Card | None, work: Work, weight_bytes: float, ram_bytes: int = 0
) -> MemoryPlan:
    """Memory of a vLLM engine; the KV cache takes what the other parts leave, as vLLM does.

    Args:
        card: None for a CPU; then `ram_bytes` is the machine's memory.
        weight_bytes: of the whole model, before it is divided over cards.
    """
    ways = engine.tensor_parallel_size
    large = card is not None and card.memory_bytes >= FULL_BATCH_BYTES and "a100" not in card.name.lower()
    step = engine.max_num_batched_tokens or (4096 if card is None else 16384 if large else 8192)
    rows = engine.max_num_seqs or (1024 if large else 256)
    act = 4 if engine.dtype == "float32" else 2
    wide = (3 * shape.intermediate / ways + 4 * shape.hidden) * act * step
    parts = [
        Part("weights", weight_bytes / ways, _count(shape.parameters) + _shared(weight_bytes, ways)),
        Part("one step's activations", wide, f"{step:,} tokens x (3 x {shape.intermediate // ways:,} + "
             f"4 x {shape.hidden:,}) x {act} bytes"),
        Part("logits", rows * shape.vocab * 8.0, f"{rows:,} requests x {shape.vocab:,} x (4 + 4) bytes"),
    ]  # fmt: skip
    token = kv_bytes_per_card(shape, ways) * (2 if engine.dtype == "float32" else 1)
    if card is None:
        cache = float(engine.cpu_kv_cache_gib * GIB)
        room = float(ram_bytes)
    else:
        parts.append(Part("CUDA context and graphs", CARD_RESERVE_BYTES, "typical"))
        room = card.memory_bytes * engine.gpu_memory_utilization
        cache = max(0.0, room - sum(part.bytes for part in parts))
    tokens = int(cache / token)
    parts.append(Part("KV cache", cache, f"{tokens:,} tokens x {token:,} bytes"))
    return MemoryPlan(tuple(parts), room, tokens, tokens // tokens_at_once(work))


def kv_bytes_per_card(shape: ModelShape, ways: int) -> int:
    """Bytes of one token's keys and values (16 bits) on each of `ways` cards; a card has at least one head."""
    return 2 * shape.layers * math.ceil(shape.kv_heads / ways) * shape.head_dim * 2


def tokens_at_once(work: Work) -> int:
    """KV cache of one record with all its questions in flight; the record itself is there once."""
    answer = work.longest_answer_tokens + work.longest_thought_tokens
    return work.record_tokens + work.samples * work.tasks * (work.question_tokens + answer)


def parallel_problem(shape: ModelShape, ways: int) -> str | None:
    """Why a model cannot be divided over so many cards; None when it can."""
    if shape.heads % ways or (shape.kv_heads % ways and ways % shape.kv_heads):
        return f"{shape.heads} heads with {shape.kv_heads} for keys and values do not divide by {ways}"
    width = shape.expert_intermediate or shape.intermediate
    block = (shape.quantization.get("weight_block_size") or [1])[0]
    if width % (ways * block):
        return f"feed-forward width {width} does not divide into {ways} parts of whole blocks of {block}"
    return None


def train_plan(
    shape: ModelShape,
    options: TrainOptions,
    room_bytes: float,
    work: Work,
    on_card: bool,
    ways: int = 1,
    teacher: ModelShape | None = None,
) -> MemoryPlan:
    """Memory of training at the token budget, on one card: a pass full of typical records, the longest record that
    `train.max_tokens` allows with all of its answers, or the answers of a validation, whichever needs most.

    Args:
        ways: cards that the student's weights are distributed over (`train.parallel: fsdp`).
        teacher: lies beside the student where `train.on_policy` asks for it, and reads passes of the student's own
            answers.
    """
    width = 4 if options.dtype == "float32" or (options.dtype == "auto" and not on_card) else 2
    beside = teacher if options.on_policy is not None else None
    plans = [
        training_memory(shape, options, width, sizes, trained, room_bytes, on_card, ways, beside, own=False)
        for sizes, trained in _largest_passes(options, work)
    ]
    if (options.validation_passes and options.validation_records) or beside is not None:
        plans.append(validation_memory(shape, options, width, room_bytes, on_card, ways, beside))
    if options.on_policy is not None and beside is not None:
        answering = replace(work, longest_answer_tokens=options.on_policy.max_new_tokens)
        for sizes, trained in _largest_passes(options, answering):
            plans.append(training_memory(shape, options, width, sizes, trained, room_bytes, on_card, ways, beside))
            plans.append(_reading(shape, beside, options, width, sizes, trained, room_bytes, on_card))
    return max(plans, key=lambda plan: plan.bytes)


def _largest_passes(options: TrainOptions, work: Work) -> list[tuple[list[tuple[int, int]], int]]:
    """Per record of a pass the tokens of the record and of all its branches, and the answer tokens of the pass: of the
    longest record, and of a pass full of typical ones."""
    branches = work.tasks * (work.question_tokens + work.longest_answer_tokens)
    longest = (options.max_tokens - branches // work.tasks, branches)
    each = work.record_tokens + branches
    many = [(work.record_tokens, branches)] * (options.tokens_per_pass // each)
    answers = work.tasks * work.longest_answer_tokens
    # Records of a pass are packed by the answers they have: those with short ones leave room for a part of another.
    rest = (options.tokens_per_pass % each, 0)
    return [([longest], answers), ([*many, rest], len(many) * answers)]


def training_memory(
    shape: ModelShape,
    options: TrainOptions,
    dtype_bytes: int,
    sizes: Sequence[tuple[int, int]],
    trained: int,
    room_bytes: float,
    on_card: bool,
    ways: int = 1,
    teacher: ModelShape | None = None,
    own: bool = True,
) -> MemoryPlan:
    """Peak memory of a training step with packed rows.

    Args:
        dtype_bytes: of the frozen student; what is not quantised.
        sizes: per record of the pass, the tokens of the record and of all its branches.
        trained: answer tokens in the pass.
        ways: cards that weights, gradients and optimizer are distributed over.
        teacher: beside the student.
        own: with a teacher, of the student's own answers, whose loss is the divergence from it (training/on_policy.py).
    """
    tokens = sum(prefix + branches for prefix, branches in sizes)
    act = dtype_bytes
    layer = saved_bytes_per_token(shape, options, act, on_card)
    mask = sum(branches * (prefix + branches) for prefix, branches in sizes) * act
    backward = tokens * (8.0 * shape.intermediate + 2 * shape.hidden * act)
    logits = trained * shape.vocab
    loss, loss_how = logits * 12.0, f"{trained:,} answer tokens x {shape.vocab:,} x 12 bytes"
    if teacher is not None and own:
        loss, loss_how = _divergence_bytes(logits, options), f"logits of {trained:,} answer tokens x {shape.vocab:,}"
    if options.gradient_checkpointing:
        kept, how = tokens * shape.layers * shape.hidden * act, f"{shape.layers} layers x {shape.hidden * act:,} bytes"
        backward += tokens * layer
    else:
        kept, how = tokens * shape.layers * layer, f"{shape.layers} layers x {layer:,} bytes"
    parts = [
        Part("activations", kept, f"{tokens:,} tokens x {how}"),
        Part("attention masks", float(mask), f"branches x (record + branches) x {act} bytes"),
        Part(
            "loss, or backward of a layer",
            max(loss, backward),
            f"the larger of {loss / GIB:.2f} GiB ({loss_how}) and "
            f"{backward / GIB:.2f} GiB ({tokens:,} tokens x {backward / tokens:,.0f} bytes)",
        ),
    ]
    held, last = _held(shape, options, act, on_card, ways, teacher)
    return MemoryPlan((*held, *parts, *last), room_bytes)


def _divergence_bytes(logits: int, options: TrainOptions) -> float:
    """Of the logits of both models, their gradient and what the divergence of a part of them needs; in the end the
    gradient's parts are joined. `logits`: answer tokens x vocabulary."""
    between = options.on_policy is not None and 0 < options.on_policy.beta < 1
    at_once = min(logits, LOGITS_AT_ONCE)
    return max(16.0 * logits, 12.0 * logits + (32.0 if between else 16.0) * at_once)


def _reading(
    shape: ModelShape,
    teacher: ModelShape,
    options: TrainOptions,
    act: int,
    sizes: Sequence[tuple[int, int]],
    trained: int,
    room_bytes: float,
    on_card: bool,
) -> MemoryPlan:
    """Peak memory while the teacher reads a pass of the student's answers, before the student does. Its worked examples
    are not counted."""
    tokens = sum(prefix + branches for prefix, branches in sizes)
    wide = (3 * teacher.intermediate + 4 * teacher.hidden) * act
    parts = [
        Part("the teacher's activations", float(tokens * wide), f"{tokens:,} tokens x {wide:,} bytes"),
        Part("its logits", 4.0 * trained * teacher.vocab, f"{trained:,} answer tokens x {teacher.vocab:,} x 4 bytes"),
    ]
    held, last = _held(shape, options, act, on_card, 1, teacher)
    return MemoryPlan((*held, *parts, *last), room_bytes)


def validation_memory(
    shape: ModelShape,
    options: TrainOptions,
    dtype_bytes: int,
    room_bytes: float,
    on_card: bool,
    ways: int = 1,
    teacher: ModelShape | None = None,
) -> MemoryPlan:
    """Peak memory while the student that is being trained generates answers (see training/generate.py): a batch of
    `tokens_per_pass` padded tokens, or the one longest prompt; a card takes more at once only where memory is free.
    Arguments as for `training_memory`."""
    tokens = max(options.tokens_per_pass, options.max_tokens)
    each = answer_bytes_per_token(
        shape.layers, shape.kv_heads * shape.head_dim, shape.intermediate, shape.hidden, dtype_bytes
    )
    held, last = _held(shape, options, dtype_bytes, on_card, ways, teacher)
    generating = Part("prompts and answers", float(tokens * each), f"{tokens:,} tokens x {each:,} bytes")
    return MemoryPlan((*held, generating, *last), room_bytes)


def generate_plan(
    shape: ModelShape, engine: TransformersEngine, room_bytes: float, work: Work, weight_bytes: float, on_card: bool
) -> MemoryPlan:
    """Memory of the transformers engine: a batch of prompts, each with a record of its own."""
    act = 4 if engine.dtype == "float32" or (engine.dtype == "auto" and shape.dtype == "float32") else 2
    prompts = engine.batch_size * (max(work.record_tokens, work.longest_record_tokens) + work.question_tokens)
    tokens = prompts + engine.batch_size * (work.longest_answer_tokens + work.longest_thought_tokens)
    parts = [
        Part("weights", weight_bytes, _count(shape.parameters) + _shared(weight_bytes, 1)),
        *_generating(shape, tokens, prompts, act, (3 * shape.intermediate + 4 * shape.hidden) * act),
    ]
    if on_card:
        parts.append(Part("CUDA context and gaps", CARD_RESERVE_BYTES, "typical"))
    return MemoryPlan(tuple(parts), room_bytes)


def _generating(shape: ModelShape, tokens: int, prompts: int, act: int, wide: int) -> list[Part]:
    """Beside the weights, what transformers' generate holds for so many padded tokens. Those of prompts are computed at
    once, with `wide` bytes each in a layer; later one layer's keys and values are there twice while they grow."""
    token = 2 * shape.kv_heads * shape.head_dim * act
    return [
        Part("keys and values", float(tokens * token * (shape.layers + 1)),
             f"{tokens:,} tokens x ({shape.layers} + 1) layers x {token:,} bytes"),
        Part("one layer's activations", float(prompts * wide), f"{prompts:,} tokens x {wide:,} bytes"),
    ]  # fmt: skip


def _held(
    shape: ModelShape, options: TrainOptions, act: int, on_card: bool, ways: int, teacher: ModelShape | None = None
) -> tuple[list[Part], list[Part]]:
    """What a training process holds all the time: weights and what belongs to the adapter; and the rest."""
    weights = shape.weight_bytes("float32" if act == 4 else "bfloat16", "nf4" if options.load_in_4bit else None) or 0.0
    adapter = shape.adapter_parameters(options.lora.rank, options.lora.target_modules)
    rest = []
    if teacher is not None:
        size = teacher.weight_bytes("float32" if act == 4 else "bfloat16") or float(teacher.parameters * act)
        rest.append(Part("the teacher's weights", size, _count(teacher.parameters) + _shared(size, 1)))
    if ways > 1:
        gathered = (shape.embedding_parameters + 2 * shape.block_parameters / shape.layers) * act
        rest.append(Part("gathered weights", gathered, "embeddings and two layers, whole while they are used"))
    if on_card:
        rest.append(Part("CUDA context and gaps", CARD_RESERVE_BYTES, "typical"))
    return [
        Part("weights", weights / ways, _count(shape.parameters) + _shared(weights, ways)),
        Part("adapter", 4.0 * adapter / ways, f"{adapter:,} parameters x 4 bytes{_over(ways)}"),
        Part("gradients and AdamW", 12.0 * adapter / ways, f"{adapter:,} parameters x (4 + 8) bytes{_over(ways)}"),
    ], rest


def saved_bytes_per_token(shape: ModelShape, options: TrainOptions, act: int, on_card: bool) -> int:
    """What autograd keeps of one token in one layer, in bytes.

    Two RMSNorm inputs in 32 bits; queries, keys, values and the result of attention (on a card also keys and values
    repeated for every head, for the branches); gate, its activation and up; the input of the adapted layers, once for
    those that have the same (see training/lora_products.py), and each one's product with A. Weights are frozen, so
    nothing else is needed.
    """
    h, f = shape.hidden, shape.intermediate
    a, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    targets = options.lora.target_modules
    names = set(shape.linear_widths) if isinstance(targets, str) else set(targets) & set(shape.linear_widths)
    inputs = {"o_proj": a, "down_proj": f}
    same = {"o_proj": "o", "down_proj": "down", "gate_proj": "mlp", "up_proj": "mlp"}
    copies = sum({same.get(name, "attention"): inputs.get(name, h) for name in names}.values())
    attention = 2 * a + 2 * kv + (2 * a if on_card and a != kv else 0)
    norms = 2 * h + (a + kv if shape.query_key_norm else 0)
    return 4 * norms + act * (attention + 3 * f + copies + options.lora.rank * len(names))


def _count(parameters: int) -> str:
    size = f"{parameters / 1e9:.2f} billion" if parameters >= 1e8 else f"{parameters / 1e6:.2f} million"
    return f"{size} parameters"


def _shared(weight_bytes: float, ways: int) -> str:
    size = f"{weight_bytes / 1e9:.2f} GB" if weight_bytes >= 1e8 else f"{weight_bytes / 1e6:.1f} MB"
    return f", {size}{_over(ways)}"


def _over(ways: int) -> str:
    return f" over {ways} cards" if ways > 1 else ""
