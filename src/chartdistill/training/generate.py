"""Answers of the model that is being trained: greedy ones for validation, drawn ones for on-policy distillation."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from chartdistill.training.compiled import uncompiled
from chartdistill.training.memory import answer_tokens_at_once
from chartdistill.training.model import compute_dtype, is_sharded

_PROMPTS_PER_BATCH = 32
"""Where the room is a training pass's, as on a CPU."""
_PROMPTS_PER_BATCH_ON_A_CARD = 128


def room_for_answers(model: Any, tokens_per_pass: int, free: int | None = None) -> tuple[int, int]:
    """Padded tokens, and prompts, of a batch of answers.

    A training pass's tokens on a CPU. On a card as many as half of the memory holds that is free now: nothing is kept
    for a backward pass, and a batch of 7 prompts would leave the card waiting for the next launch.

    Args:
        free: bytes of a card; None: of the one that the model is on.
    """
    import torch

    if free is None:
        if model.device.type != "cuda":
            return tokens_per_pass, _PROMPTS_PER_BATCH
        free, _ = torch.cuda.mem_get_info(model.device)
        free += torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
    fit = answer_tokens_at_once(model.config.get_text_config(), free, compute_dtype(model).itemsize)
    return max(fit, tokens_per_pass), _PROMPTS_PER_BATCH_ON_A_CARD


def generate_everywhere(
    model: Any,
    prompts: Sequence[Sequence[int]],
    end_id: int,
    max_tokens: int,
    tokens_at_once: int,
    prompts_at_once: int = _PROMPTS_PER_BATCH,
    expected: Sequence[int] | None = None,
) -> list[list[int]]:
    """Answers to all prompts, on every process. Each process generates its share; where the model's weights are
    distributed over the processes (FSDP), all generate all, as they gather each layer together.

    Args:
        max_tokens: of an answer.
        tokens_at_once: room of a batch, for padded prompts with their answers; a longer prompt is a batch of its own.
        prompts_at_once: most prompts of a batch.
        expected: how many tokens each answer probably has; those of like length are answered together, so that no
            short one waits for a long one.

    Returns:
        Token ids, without the end id; an answer that did not end within `max_tokens` is as it stands then.
    """
    processes, process = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    room, expected = (tokens_at_once, prompts_at_once), expected or [0] * len(prompts)
    if processes > 1 and is_sharded():
        from accelerate.utils import broadcast_object_list

        # The first process's answers count: were they to differ, so would the processes' decisions to stop.
        same: list[list[int]] = broadcast_object_list(
            _generate(model, prompts, end_id, max_tokens, room, expected, together=True)
        )
        return same
    mine = range(process, len(prompts), processes)
    given = _generate(model, [prompts[i] for i in mine], end_id, max_tokens, room, [expected[i] for i in mine])
    answers = dict(zip(mine, given, strict=True))
    if processes > 1:
        from accelerate.utils import gather_object

        answers = dict(gather_object(list(answers.items())))
    return [answers[i] for i in range(len(prompts))]


def draw_answers(
    model: Any,
    prompts: Sequence[Sequence[int]],
    end_id: int,
    max_tokens: int,
    room: tuple[int, int],
    seeds: Sequence[int],
    temperature: float,
    vocabulary: int,
) -> list[list[int]]:
    """Answers to all prompts of this process, each drawn with a seed of its own, whatever else is in its batch.

    A token is drawn by inversion (Devroye, "Non-Uniform Random Variate Generation", 1986, II.2.1): the first whose
    cumulative probability exceeds the next uniform number of the prompt's own generator, which runs on the CPU.

    Args:
        max_tokens: of an answer.
        room: of a batch, as `room_for_answers` gives it.
        seeds: one per prompt.
        temperature: by which logits are divided; 0: the likeliest token.
        vocabulary: ids from this one on are never drawn.

    Returns:
        Token ids, without the end id; an answer that did not end has `max_tokens` of them.
    """
    import torch

    def uniform(seed: int) -> torch.Tensor:
        return torch.rand(max_tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def choose(chosen: Sequence[int], width: int) -> Any:
        numbers = torch.stack([uniform(seeds[i]) for i in chosen]).to(model.device) if temperature > 0 else None

        def only_the_chosen(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            known = scores[:, :vocabulary].double()
            if numbers is None:
                drawn = known.argmax(1)
            else:
                sums = (known / temperature).softmax(1).cumsum(1)
                at = numbers[:, ids.shape[1] - width, None] * sums[:, -1:]
                # Rounding may put the number at the very end, behind the last token that has a probability.
                drawn = torch.minimum(torch.searchsorted(sums, at, right=True)[:, 0], sums.argmax(1))
            return torch.full_like(scores, float("-inf")).scatter_(1, drawn[:, None], 0.0)

        return only_the_chosen

    return _generate(model, prompts, end_id, max_tokens, room, [0] * len(prompts), choose=choose)


def _generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    end_id: int,
    max_tokens: int,
    room: tuple[int, int],
    expected: Sequence[int],
    together: bool = False,
    choose: Callable[[Sequence[int], int], Any] | None = None,
) -> list[list[int]]:
    """Likeliest tokens, after what `choose` makes of the scores.

    Args:
        together: all processes are in here, and go on until the last of them is done.
        choose: of the numbers of a batch's prompts and its padded width, a transformers logits processor.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    config = GenerationConfig(
        max_new_tokens=max_tokens, do_sample=False, eos_token_id=end_id, pad_token_id=end_id, use_cache=True
    )
    answers: list[list[int]] = [[] for _ in prompts]
    for chosen in _batches([len(prompt) for prompt in prompts], max_tokens, *room, expected):
        width = max(len(prompts[i]) for i in chosen)
        ids = [[end_id] * (width - len(prompts[i])) + list(prompts[i]) for i in chosen]
        seen = [[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in chosen]
        with torch.no_grad(), uncompiled():
            output = model.generate(
                input_ids=torch.tensor(ids, device=model.device),
                attention_mask=torch.tensor(seen, device=model.device),
                generation_config=config,
                synced_gpus=together,
                logits_processor=LogitsProcessorList([] if choose is None else [choose(chosen, width)]),
            )
        for i, row in zip(chosen, output[:, width:].tolist(), strict=True):
            answers[i] = row[: row.index(end_id)] if end_id in row else row
    return answers


def _batches(
    lengths: Sequence[int], max_tokens: int, tokens_at_once: int, prompts_at_once: int, expected: Sequence[int]
) -> Iterator[list[int]]:
    """Numbers of the prompts that are answered together: those whose answers are within a factor of two, and of them
    short prompts first, so that none is padded much. None fills a card."""
    chosen: list[int] = []
    widest = 0
    for i in sorted(range(len(lengths)), key=lambda i: (expected[i].bit_length(), lengths[i])):
        widest = max(widest, lengths[i])
        full = (len(chosen) + 1) * (widest + max_tokens) > tokens_at_once
        if chosen and (full or len(chosen) == prompts_at_once):
            yield chosen
            chosen, widest = [], lengths[i]
        chosen.append(i)
    if chosen:
        yield chosen
