"""Answers of the model that is being trained: greedy ones for validation, drawn ones for on-policy distillation.

A record is computed once for all questions about it: its keys and values are kept, and each batch of prompts begins
with those of its records.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

from chartdistill.training.compiled import uncompiled
from chartdistill.training.memory import answer_tokens_at_once
from chartdistill.training.model import compute_dtype, is_sharded, why_not_packed

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
    shared: Sequence[int] | None = None,
) -> list[list[int]]:
    """Answers to all prompts, on every process. Each process generates its share; where the model's weights are
    distributed over the processes (FSDP), all generate all, as they gather each layer together.

    Args:
        max_tokens: of an answer.
        tokens_at_once: room of a batch, for padded prompts with their answers; a longer prompt is a batch of its own.
        prompts_at_once: most prompts of a batch.
        expected: how many tokens each answer probably has; those of like length are answered together, so that no
            short one waits for a long one.
        shared: of each prompt, the first tokens that are its record's, with which others may begin; None: of none.

    Returns:
        Token ids, without the end id; an answer that did not end within `max_tokens` is as it stands then.
    """
    processes, process = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    room, expected, shared = (tokens_at_once, prompts_at_once), expected or [0] * len(prompts), shared or []
    if processes > 1 and is_sharded():
        from accelerate.utils import broadcast_object_list

        # The first process's answers count: were they to differ, so would the processes' decisions to stop.
        same: list[list[int]] = broadcast_object_list(
            _generate(model, prompts, end_id, max_tokens, room, expected, shared, together=True)
        )
        return same
    mine = _share(prompts, shared, process, processes)
    asked, likely, records = (
        [prompts[i] for i in mine],
        [expected[i] for i in mine],
        [shared[i] for i in mine if shared],
    )
    given = _generate(model, asked, end_id, max_tokens, room, likely, records)
    answers = dict(zip(mine, given, strict=True))
    if processes > 1:
        from accelerate.utils import gather_object

        answers = dict(gather_object(list(answers.items())))
    return [answers[i] for i in range(len(prompts))]


def _share(prompts: Sequence[Sequence[int]], shared: Sequence[int], process: int, processes: int) -> list[int]:
    """Numbers of the prompts of one of the processes: all of a record, or each process would compute it."""
    if not shared:
        return list(range(process, len(prompts), processes))
    return sorted(chain.from_iterable(list(_by_record(prompts, shared).values())[process::processes]))


def draw_answers(
    model: Any,
    prompts: Sequence[Sequence[int]],
    end_id: int,
    max_tokens: int,
    room: tuple[int, int],
    seeds: Sequence[int],
    temperature: float,
    vocabulary: int,
    shared: Sequence[int] = (),
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
        shared: as `generate_everywhere` takes it.

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

    return _generate(model, prompts, end_id, max_tokens, room, [0] * len(prompts), shared, choose=choose)


def _generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    end_id: int,
    max_tokens: int,
    room: tuple[int, int],
    expected: Sequence[int],
    shared: Sequence[int],
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
    # A model that has more to keep of a token than its key and value computes whole prompts.
    records = _by_record(prompts, () if why_not_packed(model) is not None else shared)
    for group in _groups(records, room[0] // 2):
        computed = _Computed(model, group, end_id)
        numbers = [i for questions in group.values() for i in questions]
        lengths, likely = [len(prompts[i]) for i in numbers], [expected[i] for i in numbers]
        for batch in _batches(lengths, max_tokens, *room, likely):
            chosen = [numbers[i] for i in batch]
            ids, seen, cache = computed.batch([prompts[i] for i in chosen], chosen)
            width = ids.shape[1]
            with torch.no_grad(), uncompiled():
                output = model.generate(
                    input_ids=ids,
                    attention_mask=seen,
                    past_key_values=cache,
                    generation_config=config,
                    synced_gpus=together,
                    logits_processor=LogitsProcessorList([] if choose is None else [choose(chosen, width)]),
                )
            for i, row in zip(chosen, output[:, width:].tolist(), strict=True):
                answers[i] = row[: row.index(end_id)] if end_id in row else row
    return answers


Records = dict[tuple[int, ...], list[int]]
"""Tokens of a record -> the numbers of the prompts that begin with them."""


def _by_record(prompts: Sequence[Sequence[int]], shared: Sequence[int]) -> Records:
    records: Records = {}
    for number, (prompt, size) in enumerate(zip(prompts, shared or [0] * len(prompts), strict=True)):
        records.setdefault(tuple(prompt[:size]), []).append(number)
    return records


def _groups(records: Records, tokens_at_once: int) -> Iterator[Records]:
    """Records that are computed together, those of like length, within so many padded tokens."""
    group: Records = {}
    for record in sorted(records, key=len):
        if group and (len(group) + 1) * len(record) > tokens_at_once:
            yield group
            group = {}
        group[record] = records[record]
    if group:
        yield group


class _Computed:
    """Keys and values of the records of a group, from which batches of their prompts go on.

    Args:
        group: its records, and which prompts are about them.
        pad_id: fills rows up at their left, unseen.
    """

    def __init__(self, model: Any, group: Records, pad_id: int) -> None:
        import torch

        self._pad_id, self._device, self._layers = pad_id, model.device, list[tuple[Any, Any]]()
        self._sizes = [len(record) for record in group]
        self._row = {number: row for row, numbers in enumerate(group.values()) for number in numbers}
        if not any(self._sizes):
            return
        ids, seen = self._padded(list(group), max(self._sizes))
        positions = (seen.cumsum(1) - 1).clamp(min=0)
        no_logits = {"logits_to_keep": 1} if model._supports_logits_to_keep() else {}  # as transformers' generate does
        with torch.no_grad(), uncompiled():
            done = model(input_ids=ids, attention_mask=seen, position_ids=positions, use_cache=True, **no_logits)
        self._layers = [(layer.keys, layer.values) for layer in done.past_key_values.layers]

    def batch(self, prompts: Sequence[Sequence[int]], numbers: Sequence[int]) -> tuple[Any, Any, Any]:
        """Token ids and mask [prompts, width] of some prompts, given with their numbers, and the cache to go on from
        (None: there is none)."""
        import torch
        from transformers import DynamicCache

        rows = [self._row[number] for number in numbers]
        sizes = [self._sizes[row] for row in rows]
        begins = [prompt[:size] for prompt, size in zip(prompts, sizes, strict=True)]
        ends = [prompt[size:] for prompt, size in zip(prompts, sizes, strict=True)]
        parts = self._padded(begins, max(sizes)), self._padded(ends, max(map(len, ends)))
        ids, seen = (torch.cat(both, 1) for both in zip(*parts, strict=True))
        if not self._layers:
            return ids, seen, None
        at, first = torch.tensor(rows, device=self._device), max(self._sizes) - max(sizes)
        cache = DynamicCache([(keys[at, :, first:], values[at, :, first:]) for keys, values in self._layers])
        return ids, seen, cache

    def _padded(self, rows: Sequence[Sequence[int]], width: int) -> tuple[Any, Any]:
        import torch

        ids = [[self._pad_id] * (width - len(row)) + list(row) for row in rows]
        seen = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids, device=self._device).long(), torch.tensor(seen, device=self._device).long()


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
