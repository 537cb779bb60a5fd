"""How fast the teacher labels, beside the other ways to do it: same model, same prompts, same outputs, one run.

    make bench-label
    python scripts/bench_label.py --model path/to/model --records 40 --record-tokens 900 --out runs/bench/label.json

Arms: `ours` (vLLM, record-major: all prompts of a record next to each other, in windows that fit the KV cache),
`question_major` (vLLM, one question after the other over all records), `no_prefix_cache` (vLLM), `hf_generate`
(transformers' generate, sorted by length, the best of several batch sizes), `hf_generate_batch` (transformers'
continuous batching). Each arm is a process of its own; rounds are interleaved, so that a noisy machine is noisy for
all; the start of an engine is measured apart. An arm that cannot run here says why.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from chartdistill.config import load_task
from chartdistill.demo.charts import write_chart
from chartdistill.engines import Generation, Request, TransformersEngine, VllmEngine
from chartdistill.model_folder import load_tokenizer
from chartdistill.prompts import PromptBuilder

ROOT = Path(__file__).resolve().parents[1]
ARMS = ("ours", "question_major", "no_prefix_cache", "hf_generate", "hf_generate_batch")
BATCH_SIZES = (4, 8, 16, 32)


def make_requests(model: Path, records: int, record_tokens: int, answer_tokens: int) -> list[list[Request]]:
    """Per record, one request per task; charts of about `record_tokens` tokens, made by joining synthetic ones."""
    builder = PromptBuilder.from_tokenizer(load_tokenizer(model), _demo()["system"])
    tasks = [load_task(path) for path in sorted((ROOT / "configs/tasks").glob("*.yaml"))]
    rng = random.Random(5)
    per_record = []
    for _ in range(records):
        text = write_chart(rng, "heldout").text
        while len(builder.plain(text)) < record_tokens:
            text += "\n" + write_chart(rng, "heldout").text
        prefix = builder.prefix(text)[: record_tokens + 20]
        per_record.append(
            [Request([*prefix, *builder.branch(t.question)], answer_tokens, builder.end_id) for t in tasks]
        )
    return per_record


def _demo() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    return values


def vllm_engine(dtype: str, prefix_caching: bool, longest: int) -> VllmEngine:
    return VllmEngine(dtype=dtype, max_num_seqs=128, max_model_len_tokens=longest, prefix_caching=prefix_caching)


def serve_arm(arm: str, arguments: argparse.Namespace) -> None:
    """A child process: open the engine, say how long that took, then run a round for every line read."""
    per_record = make_requests(arguments.model, arguments.records, arguments.record_tokens, arguments.answer_tokens)
    longest = max(len(r.prompt_ids) + r.max_tokens for requests in per_record for r in requests) + 8
    by_question = [requests[i] for i in range(len(per_record[0])) for requests in per_record]
    flat = [request for requests in per_record for request in requests]
    begin = time.monotonic()
    if arm.startswith("hf"):
        if arm == "hf_generate_batch":
            _serve(lambda: continuous_batching(arguments, flat), begin)
            return
        best = None
        for size in BATCH_SIZES:  # the sweep is not part of any round
            with TransformersEngine(dtype=arguments.dtype, batch_size=size).open(arguments.model) as generator:
                part = flat[: max(size * 2, 32)]
                sweep = time.monotonic()
                generator.generate(part)
                rate = len(part) / (time.monotonic() - sweep)
            if best is None or rate > best[0]:
                best = (rate, size)
        assert best is not None
        begin = time.monotonic()
        with TransformersEngine(dtype=arguments.dtype, batch_size=best[1]).open(arguments.model) as generator:
            _serve(lambda: generator.generate(flat), begin, batch_size=best[1])
        return
    with vllm_engine(arguments.dtype, arm != "no_prefix_cache", longest).open(arguments.model) as generator:
        if arm == "question_major":
            order = [by_question.index(request) for request in flat]

            def run() -> list[Generation]:
                answers = generator.generate(by_question)
                return [answers[place] for place in order]

            _serve(run, begin)
        else:
            _serve(lambda: generator.generate(flat), begin)


def continuous_batching(arguments: argparse.Namespace, requests: list[Request]) -> list[Generation]:
    """transformers' own continuous batching (paged attention)."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    global _loaded
    if _loaded is None:
        model = AutoModelForCausalLM.from_pretrained(
            arguments.model, dtype=arguments.dtype, attn_implementation="sdpa", local_files_only=True
        )
        _loaded = (model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), load_tokenizer(arguments.model))
    model, tokenizer = _loaded
    config = GenerationConfig(
        max_new_tokens=requests[0].max_tokens,
        do_sample=False,
        eos_token_id=requests[0].stop_id,
        pad_token_id=requests[0].stop_id,
    )
    outputs = model.generate_batch(inputs=[list(r.prompt_ids) for r in requests], generation_config=config)
    answers = []
    for output in outputs.values():
        ids = [i for i in output.generated_tokens if i != requests[0].stop_id]
        answers.append(Generation(tokenizer.decode(ids, skip_special_tokens=True), "stop"))
    return answers


_loaded: Any = None


def _serve(run: Callable[[], list[Generation]], begin: float, **facts: Any) -> None:
    _say({"start_seconds": round(time.monotonic() - begin, 2), **facts})
    for _ in sys.stdin:
        start = time.monotonic()
        answers = run()
        seconds = time.monotonic() - start
        failed = [answer.failure for answer in answers if answer.failure]
        if failed:
            raise SystemExit(f"a request failed: {failed[0]}")
        _say(
            {
                "seconds": seconds,
                "texts": [answer.text for answer in answers],
                "prompt_tokens": sum(answer.prompt_tokens for answer in answers),
                "cached_tokens": sum(answer.cached_tokens for answer in answers),
            }
        )


def _say(facts: dict[str, Any]) -> None:
    print("@" + json.dumps(facts), flush=True)


class Arm:
    """A child process, and the peak memory of it and its own children."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name, self.seconds, self.cached_share = name, list[float](), None
        self.facts: dict[str, Any] = {}
        self.texts: list[str] | None = None
        self.peak_bytes = 0
        errors = None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        threading.Thread(target=self._watch_memory, daemon=True).start()
        self._read(self.facts.update)

    def _read(self, use: Callable[[dict[str, Any]], None]) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith("@"):
                use(json.loads(line[1:]))
                return
        self.facts["failed"] = f"ended with exit code {self._child.wait()} (BENCH_VERBOSE=1 shows why)"

    def round(self) -> None:
        if "failed" in self.facts:
            return
        assert self._child.stdin is not None
        self._child.stdin.write("go\n")
        self._child.stdin.flush()
        self._read(self._take)

    def _take(self, result: dict[str, Any]) -> None:
        self.seconds.append(result["seconds"])
        self.texts = result["texts"]
        if result["prompt_tokens"]:
            self.facts["cached_share"] = round(result["cached_tokens"] / result["prompt_tokens"], 4)

    def _watch_memory(self) -> None:
        try:
            process = psutil.Process(self._child.pid)
            while process.is_running():
                family = [process, *process.children(recursive=True)]
                self.peak_bytes = max(self.peak_bytes, sum(member.memory_info().rss for member in family))
                time.sleep(0.2)
        except psutil.Error:
            return

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "src/chartdistill/demo/models/teacher")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--records", type=int, default=40)
    parser.add_argument("--record-tokens", type=int, default=900)
    parser.add_argument("--answer-tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--apart", action="store_true", help="one arm after the other: where two do not fit on a GPU")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/label.json"))
    parser.add_argument("--serve", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_arm(arguments.serve, arguments)
        return
    options = ["model", "dtype", "records", "record_tokens", "answer_tokens"]
    shared = [f"--{name.replace('_', '-')}={getattr(arguments, name)}" for name in options]
    command = [sys.executable, str(Path(__file__).resolve()), *shared]
    arms: list[Arm] = []
    if arguments.apart:
        for name in arguments.arms:
            arms.append(Arm(name, [*command, "--serve", name]))
            for _ in range(arguments.rounds + 1):
                arms[-1].round()
            arms[-1].close()
    else:
        arms = [Arm(name, [*command, "--serve", name]) for name in arguments.arms]
        for _ in range(arguments.rounds + 1):
            for arm in arms:
                arm.round()
        for arm in arms:
            arm.close()
    write_table(arms, arguments)


def write_table(arms: list[Arm], arguments: argparse.Namespace) -> None:
    """Print the table and write the JSON. The first round warms up and does not count."""
    ours = next((arm for arm in arms if arm.name == "ours"), arms[0])
    results = {}
    print(f"{'arm':<18}{'records/s':>10}{'of ours':>9}{'cached':>8}{'same text':>10}{'start s':>9}{'peak GiB':>10}")
    for arm in arms:
        rates = [round(arguments.records / seconds, 3) for seconds in arm.seconds[1:]]
        same = None
        if arm.texts and ours.texts:
            same = sum(a == b for a, b in zip(arm.texts, ours.texts, strict=True)) / len(arm.texts)
        results[arm.name] = {
            **arm.facts,
            "records_per_second": rates,
            "same_text_as_ours": same,
            "peak_bytes": arm.peak_bytes,
        }
        if not rates:
            print(f"{arm.name:<18}{arm.facts.get('failed', 'did not run')}")
            continue
        middle = statistics.median(rates)
        base = statistics.median([arguments.records / seconds for seconds in ours.seconds[1:]])
        cached = arm.facts.get("cached_share")
        print(
            f"{arm.name:<18}{middle:>10.2f}{middle / base:>9.2f}{'' if cached is None else f'{cached:.2f}':>8}"
            f"{same:>10.3f}{arm.facts['start_seconds']:>9.1f}{arm.peak_bytes / 2**30:>10.2f}"
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    setting = {name: str(getattr(arguments, name)) for name in ("model", "dtype", "records", "record_tokens", "rounds")}
    arguments.out.write_text(json.dumps({"setting": setting, "arms": results}, indent=1) + "\n")
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
