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
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from bench_label_arms import ARMS, ROOT, serve_arm
from chartdistill.runtime.start import prepare_process


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
