"""How fast the teacher labels, beside the other ways to do it: same model, same prompts, same outputs, one run.

    make bench-label            # 4 tasks x 900-token records; then 200 of them, of which the cache holds an eighth
    python scripts/bench_label.py --model path/to/model --dtype bfloat16 --records 200 --apart

Arms: `ours` (vLLM, record-major: all prompts of a record next to each other, in windows that fit the KV cache),
`question_major` (vLLM, one question after the other over all records), `no_prefix_cache` (vLLM, as ours without it),
`hf_generate` (transformers' generate, sorted by length, at the best of several batch sizes), `hf_generate_batch`
(transformers' continuous batching). An arm that cannot run here says why. `--cache-tokens` makes vLLM's KV cache small,
as it is beside large weights on a card: then question-major order finds each record gone when its next question comes.

What keeps it fair: every arm answers the same prompts, greedily and without constraints, and its answers are compared
with ours. Each round has records of its own, so that a prefix cache holds none of them beforehand, as in use. Each arm
is a process of its own that stands still (SIGSTOP) while another is timed: an idle vLLM polls for a second. Rounds are
interleaved, so that a noisy machine is noisy for all; the first one warms up and does not count. The start of an engine
and the search for the batch size are no part of a round. Memory is what an arm's processes hold at most, without the
GPU's.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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
from chartdistill.runtime.start import prepare_process

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


class Arm:
    """A child process, and the peak memory of it and its own children. It stands still between its rounds."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.seconds: list[float] = []
        self.texts: list[list[str]] = []
        self.prompt_tokens = self.cached_tokens = self.peak_bytes = 0
        self.facts: dict[str, Any] = {}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (read when the child has ended)
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        threading.Thread(target=self._watch_memory, daemon=True).start()
        self.facts |= self._read() or {}
        self._signal(psutil.Process.suspend)

    def round(self, number: int) -> None:
        """Run a round and keep what it gave; nothing where the arm has failed."""
        if "failed" in self.facts:
            return
        assert self._child.stdin is not None
        self._signal(psutil.Process.resume)
        with suppress(BrokenPipeError):
            self._child.stdin.write(f"{number}\n")
            self._child.stdin.flush()
        result = self._read()
        self._signal(psutil.Process.suspend)
        if result is not None:
            self.seconds.append(result["seconds"])
            self.texts.append(result["texts"])
            self.prompt_tokens += result["prompt_tokens"]
            self.cached_tokens += result["cached_tokens"]

    def close(self) -> None:
        """End it; one that is in the middle of a round, too."""
        assert self._child.stdin is not None
        self._signal(psutil.Process.resume)
        with suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._signal(psutil.Process.kill)

    def _read(self) -> dict[str, Any] | None:
        """What it says next; None when it has ended, whose reason is then in `facts`."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith("@"):
                said: dict[str, Any] = json.loads(line[1:])
                return said
        code = self._child.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        self.facts["failed"] = f"exit code {code}: {lines[-1] if lines else 'it said nothing'}"
        return None

    def _family(self) -> list[psutil.Process]:
        try:
            process = psutil.Process(self._child.pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _signal(self, send: Callable[[psutil.Process], None]) -> None:
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                send(process)

    def _watch_memory(self) -> None:
        while self._child.poll() is None:
            held = 0
            for process in self._family():
                with suppress(psutil.NoSuchProcess):  # short-lived helpers come and go
                    held += process.memory_info().rss
            self.peak_bytes = max(self.peak_bytes, held)
            time.sleep(0.2)


def measure(arguments: argparse.Namespace) -> list[Arm]:
    """All arms, `rounds` times and once more to warm up."""
    names = ("model", "dtype", "records", "record_tokens", "answer_tokens", "cache_tokens")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    sizes = [str(size) for size in arguments.batch_sizes]
    command = [sys.executable, str(Path(__file__).resolve()), *options, "--batch-sizes", *sizes, "--serve"]
    groups = [[name] for name in arguments.arms] if arguments.apart else [arguments.arms]
    measured: list[Arm] = []
    for group in groups:
        arms: list[Arm] = []
        try:
            for name in group:
                arms.append(Arm(name, [*command, name]))  # noqa: PERF401  (what has started must be ended)
            for number in range(arguments.rounds + 1):
                for arm in arms:
                    arm.round(number)
        finally:
            for arm in arms:
                arm.close()
        measured += arms
    return measured


def summarise(arm: Arm, reference: Arm, records: int) -> dict[str, Any]:
    """What the JSON says of an arm; `reference` is the one whose answers it is compared with."""
    rounds = zip(arm.texts, reference.texts, strict=False)  # one that failed has fewer
    pairs = [pair for ours, theirs in rounds for pair in zip(ours, theirs, strict=True)]
    return {
        **arm.facts,
        "records_per_second": [round(records / seconds, 3) for seconds in arm.seconds[1:]],
        "cached_share": round(arm.cached_tokens / arm.prompt_tokens, 4) if arm.prompt_tokens else None,
        "same_text": round(sum(one == other for one, other in pairs) / len(pairs), 4) if pairs else None,
        "peak_bytes": arm.peak_bytes,
    }


def print_table(results: dict[str, dict[str, Any]], reference: str) -> None:
    """Medians over the rounds with their range, and relative to the median of `reference`."""
    base = results[reference]["records_per_second"]
    print(
        f"{'arm':<18}{'records/s':>10}{'least':>8}{'most':>8}{'relative':>10}{'cached':>8}{'same text':>10}"
        f"{'start s':>9}{'peak GiB':>10}"
    )
    for name, result in results.items():
        rates = result["records_per_second"]
        if not rates or not base:
            print(f"{name:<18}{result.get('failed', 'no round was finished')}")
            continue
        middle, cached = statistics.median(rates), result["cached_share"]
        print(
            f"{name:<18}{middle:>10.2f}{min(rates):>8.2f}{max(rates):>8.2f}{middle / statistics.median(base):>10.2f}"
            f"{'' if cached is None else f'{cached:.3f}':>8}{result['same_text']:>10.4f}{result['start_seconds']:>9.1f}"
            f"{result['peak_bytes'] / 2**30:>10.2f}{'  then failed: ' + result['failed'] if 'failed' in result else ''}"
        )
    if any((result["same_text"] or 1) < 1 for result in results.values()):
        print("Not all answers are the same: in low precision two tokens can be equally likely; else an arm is wrong.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "src/chartdistill/demo/models/teacher")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--records", type=int, default=24, help="in each round")
    parser.add_argument("--record-tokens", type=int, default=900)
    parser.add_argument("--answer-tokens", type=int, default=48)
    parser.add_argument("--cache-tokens", type=int, help="of vLLM's KV cache; default: what its memory gives")
    parser.add_argument("--rounds", type=int, default=3, help="that count; one more warms up")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[4, 16, 64], help="of hf_generate")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--apart", action="store_true", help="one arm after the other: where two do not fit on a GPU")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/label.json"))
    parser.add_argument("--serve", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    prepare_process()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # arms and engines that stand still must be ended
    if arguments.serve:
        serve_arm(arguments.serve, arguments)
        return
    arms = measure(arguments)
    if held := arms[0].facts.get("cache_tokens"):
        whole = arms[0].facts["round_tokens"]
        print(f"A round of {arguments.records} records holds {whole:,} tokens, vLLM's cache {held:,}.")
    results = {arm.name: summarise(arm, arms[0], arguments.records) for arm in arms}
    print_table(results, arms[0].name)
    names = ("model", "dtype", "records", "record_tokens", "answer_tokens", "cache_tokens", "rounds")
    setting = {name: str(getattr(arguments, name)) for name in names}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"setting": setting, "arms": results}, indent=1) + "\n")
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
