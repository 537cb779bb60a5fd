"""The arms of bench_label.py: each answers the same prompts with the same model, in its own way."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml

from chartdistill.config import load_task
from chartdistill.demo.charts import write_chart
from chartdistill.engines import Generation, Generator, Request, VllmEngine
from chartdistill.engines.answers import decode_answer
from chartdistill.labelling.windows import cache_windows
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.model_folder import load_tokenizer

ROOT = Path(__file__).resolve().parents[1]
ARMS = ("ours", "question_major", "no_prefix_cache", "hf_generate", "hf_generate_batch")
RECORDS_PER_WINDOW = 256  # as LabelOptions
SWEEP = 10_000
"""Number of the records for the search for the batch size: no round's."""

Answer = Callable[[list[list[Request]]], list[Generation]]
"""Answers a round: per record its requests; the answers in that order."""


class Rounds:
    """The prompts of each round: per record one request per task.

    Charts of about `record_tokens` tokens, made by joining synthetic ones.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        demo = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
        self._builder = PromptBuilder.from_tokenizer(load_tokenizer(arguments.model), demo["system"])
        self._branches = [
            self._builder.branch(load_task(path).question) for path in sorted((ROOT / "configs/tasks").glob("*.yaml"))
        ]
        self._records, self._answer_tokens = arguments.records, arguments.answer_tokens
        self._prefix_tokens = len(self._builder.head_ids) + arguments.record_tokens
        self.max_model_len_tokens = self._prefix_tokens + max(map(len, self._branches)) + self._answer_tokens

    @property
    def total_tokens(self) -> int:
        """What an engine would hold that kept a whole round."""
        answers = len(self._branches) * self._answer_tokens
        return self._records * (self._prefix_tokens + sum(map(len, self._branches)) + answers)

    def requests(self, number: int) -> list[list[Request]]:
        """Of a round; other records in each."""
        draw = random.Random(number)
        return [self._about(self._chart(draw)) for _ in range(self._records)]

    def _chart(self, draw: random.Random) -> list[int]:
        text = ""
        while len(prefix := self._builder.prefix(text)) < self._prefix_tokens:
            text += write_chart(draw, "heldout").text + "\n"
        return prefix[: self._prefix_tokens]

    def _about(self, prefix: list[int]) -> list[Request]:
        return [Request([*prefix, *branch], self._answer_tokens, self._builder.end_id) for branch in self._branches]

    def held_tokens(self, requests: list[Request]) -> int:
        """What an engine holds while it answers about a record, as `Labeler.num_tokens`."""
        branches = sum(len(request.prompt_ids) - self._prefix_tokens + request.max_tokens for request in requests)
        return self._prefix_tokens + branches


def serve_arm(arm: str, arguments: argparse.Namespace) -> None:
    """Open the engine, say how long that took, then answer a round for every number read; time the answers only."""
    rounds = Rounds(arguments)
    begin = time.monotonic()
    with (_open_hf if arm.startswith("hf") else _open_vllm)(arm, arguments, rounds) as (answer, facts):
        _say({"start_seconds": round(time.monotonic() - begin - facts.get("sweep_seconds", 0), 2), **facts})
        for line in sys.stdin:
            per_record = rounds.requests(int(line))
            start = time.monotonic()
            answers = answer(per_record)
            seconds = time.monotonic() - start
            failed = [one.failure for one in answers if one.failure]
            if failed or len(answers) != sum(map(len, per_record)):
                raise SystemExit(f"{len(failed)} requests failed ({failed[:1]}), {len(answers)} were answered")
            _say({
                "seconds": seconds,
                "texts": [one.text for one in answers],
                "prompt_tokens": sum(one.prompt_tokens for one in answers),
                "cached_tokens": sum(one.cached_tokens for one in answers),
            })  # fmt: skip


def _say(facts: dict[str, Any]) -> None:
    print("@" + json.dumps(facts), flush=True)


class SmallCache(VllmEngine):
    """vLLM with a KV cache of so many tokens, whatever memory there is."""

    cache_tokens: int

    def arguments(self, on_cpu: bool, lora_rank: int | None) -> dict[str, Any]:
        given = super().arguments(on_cpu, lora_rank)
        blocks = self.cache_tokens // given.get("block_size", 16)  # vLLM's own default off CPU
        return given | {"num_gpu_blocks_override": blocks + 1}  # one block is never used


@contextmanager
def _open_vllm(arm: str, arguments: argparse.Namespace, rounds: Rounds) -> Iterator[tuple[Answer, dict[str, Any]]]:
    options: dict[str, Any] = {
        "dtype": arguments.dtype,
        "max_num_seqs": 128,
        "max_model_len_tokens": rounds.max_model_len_tokens,
        "prefix_caching": arm != "no_prefix_cache",
    }
    small = arguments.cache_tokens
    engine = VllmEngine(**options) if small is None else SmallCache(**options, cache_tokens=small)
    with engine.open(arguments.model) as generator:
        facts = {"cache_tokens": generator.cache_tokens, "round_tokens": rounds.total_tokens}
        yield partial(_question_major if arm == "question_major" else _record_major, generator, rounds), facts


def _record_major(generator: Generator, rounds: Rounds, per_record: list[list[Request]]) -> list[Generation]:
    answers = []
    for window in cache_windows(per_record, rounds.held_tokens, generator.cache_tokens, RECORDS_PER_WINDOW):
        answers += generator.generate([request for requests in window for request in requests])
    return answers


def _question_major(generator: Generator, rounds: Rounds, per_record: list[list[Request]]) -> list[Generation]:
    by_task = list(zip(*per_record, strict=True))
    answers = generator.generate([request for requests in by_task for request in requests])
    count = len(per_record)
    return [answers[task * count + record] for record in range(count) for task in range(len(by_task))]


@contextmanager
def _open_hf(arm: str, arguments: argparse.Namespace, rounds: Rounds) -> Iterator[tuple[Answer, dict[str, Any]]]:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=arguments.dtype, local_files_only=True)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    tokenizer = load_tokenizer(arguments.model)
    if arm == "hf_generate_batch":
        yield partial(_continuous, model, tokenizer), {}
        return
    sweep = time.monotonic()
    sizes = sorted(arguments.batch_sizes)
    part = [request for requests in rounds.requests(SWEEP) for request in requests][: sizes[-1]]
    _generate(model, tokenizer, sizes[0], [part[: sizes[0]]])  # the first call is slower
    rates = {}
    for size in sizes:
        start = time.monotonic()
        _generate(model, tokenizer, size, [part])
        rates[size] = round(len(part) / (time.monotonic() - start), 2)
    best = max(rates, key=lambda size: rates[size])
    facts = {"batch_size": best, "sweep_prompts_per_second": rates, "sweep_seconds": time.monotonic() - sweep}
    yield partial(_generate, model, tokenizer, best), facts


def _generate(model: Any, tokenizer: Any, batch_size: int, per_record: list[list[Request]]) -> list[Generation]:
    """transformers' own generate, on batches of prompts of like length."""
    import torch

    requests = [request for requests in per_record for request in requests]
    end = requests[0].stop_id
    order = sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt_ids))
    answers: dict[int, Generation] = {}
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        prompts = [list(requests[i].prompt_ids) for i in chosen]
        width = max(map(len, prompts))
        with torch.inference_mode():
            output = model.generate(
                input_ids=torch.tensor([[end] * (width - len(p)) + p for p in prompts], device=model.device),
                attention_mask=torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts]).to(model.device),
                generation_config=_greedy(requests[0]),
            )
        for i, ids in zip(chosen, output[:, width:].tolist(), strict=True):
            answers[i] = _generation(requests[i], ids, tokenizer)
    return [answers[i] for i in range(len(requests))]


def _continuous(model: Any, tokenizer: Any, per_record: list[list[Request]]) -> list[Generation]:
    """transformers' continuous batching (paged attention). What it sets up it keeps from the first round on."""
    import torch
    from transformers import ContinuousBatchingConfig

    requests = [request for requests in per_record for request in requests]
    # On a CPU as much cache as vLLM has there; it would take nine tenths of the machine's memory.
    share = None if torch.cuda.is_available() else VllmEngine().cpu_kv_cache_gib * 2**30 / psutil.virtual_memory().total
    outputs = model.generate_batch(
        inputs=[list(request.prompt_ids) for request in requests],
        generation_config=_greedy(requests[0]),
        continuous_batching_config=ContinuousBatchingConfig(max_memory_percent=share),
        persistent_manager=True,
    )
    failed = [output.error for output in outputs.values() if output.error]
    if failed or len(outputs) != len(requests):
        raise SystemExit(f"{len(outputs)} of {len(requests)} answers, {len(failed)} errors: {failed[:1]}")
    return [
        _generation(request, output.generated_tokens, tokenizer)
        for request, output in zip(requests, outputs.values(), strict=True)
    ]


def _greedy(request: Request) -> Any:
    from transformers import GenerationConfig

    end = request.stop_id
    return GenerationConfig(max_new_tokens=request.max_tokens, do_sample=False, eos_token_id=end, pad_token_id=end)


def _generation(request: Request, ids: Sequence[int], tokenizer: Any) -> Generation:
    """Without what pads it after its end, and without counts: transformers does not tell what it shares."""
    ids = list(ids)
    if request.stop_id in ids:
        ids = ids[: ids.index(request.stop_id) + 1]
    return decode_answer(request, Generation("", "stop", token_ids=tuple(ids)), tokenizer)
