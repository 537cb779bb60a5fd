"""How fast the student is trained, beside other ways to do it: same model, records, adapter and records per step.

    make bench-train        # 30 million parameters, bfloat16, the whole sweep: 10 minutes or so on 2 cores with AVX512
    python scripts/bench_train.py --dtype float32 --tasks 4 --record-tokens 900 --arms ours trl_tuned

Arms: `ours` (shared-prefix rows), `ours_separate` (the same trainer, one row per answer), `trl_tuned` (TRL's
SFTTrainer: this dtype, no gradient checkpointing, logits at the trained tokens only, none of its extra metrics),
`trl_stock` (SFTTrainer as it comes, but for max_length, which would cut the answers off), `hf_loop` (a plain loop over
padded rows). TRL is not a dependency: `pip install --no-deps "trl==1.16.*"` into the environment.

`--vary` gives records of many lengths, as charts have, to our own arms: what a kernel does for every new shape, one
length hides.

What keeps it fair: every arm has the same tokens per pass and optimizer steps; records are of one length, so rows are
never padded, packing would save nothing, and transformers takes its fast causal kernel in every arm. The learning rate
is so small that nothing is learned: all arms then have the same mean loss over a round, and one that differs (that
trains other tokens, or another model) ends the benchmark. Each arm is one process; rounds are interleaved, so that a
noisy machine is noisy for all; a round begins with a fresh model, and its first step does not count. Memory is what a
round takes beyond the process before it: libraries are not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench_train_arms import ARMS, SHAPES, Point, one_round

SAME_LOSS = {"float32": 1e-4, "bfloat16": 2e-3}
"""Relative difference between the arms' mean losses that is rounding. Scoring other tokens makes a per cent or more."""

WARM_UP = Point("tiny", "float32", "split", tasks=2, record_tokens=16, records_per_step=1, tokens_per_pass=64, steps=1)


def serve(arm: str, threads: int) -> None:
    """A child process: runs a round for every point read."""
    from chartdistill.runtime.start import prepare_process

    prepare_process()
    import torch

    torch.set_num_threads(threads)
    with contextlib.suppress(Exception):  # loads all libraries, which are not to count; what fails will fail again
        one_round(arm, WARM_UP)
    for line in sys.stdin:
        try:
            facts = one_round(arm, Point(**json.loads(line)))
        except Exception as error:  # whatever stops an arm is a finding about that arm
            text = (str(error).splitlines() or [""])[0][:200]
            facts = {"skipped": f"{type(error).__name__}: {text}"}
            if os.environ.get("BENCH_VERBOSE"):
                raise
        print("@" + json.dumps(facts), flush=True)


class Arm:
    """A child process that answers every point with the facts of one round."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        command = [sys.executable, str(Path(__file__).resolve()), "--serve", name, "--threads", str(threads)]
        errors = None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)

    def round(self, point: Point) -> dict[str, Any]:
        """Run one round; `skipped` says why there is none."""
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(asdict(point)) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass
        for line in self._child.stdout:
            if line.startswith("@"):
                facts: dict[str, Any] = json.loads(line[1:])
                return facts
        return {"skipped": f"ended with exit code {self._child.wait()} (BENCH_VERBOSE=1 shows why)"}

    def close(self) -> None:
        """Let the process end."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()


def measure(point: Point, arms: list[Arm], rounds: int) -> dict[str, dict[str, Any]]:
    """Interleaved rounds of all arms at one point. An arm that failed once is not asked again."""
    found: dict[str, list[dict[str, Any]]] = {arm.name: [] for arm in arms}
    skipped: dict[str, str] = {}
    for _ in range(rounds):
        for arm in arms:
            if arm.name not in skipped:
                facts = arm.round(point)
                if "skipped" in facts:
                    skipped[arm.name] = facts["skipped"]
                else:
                    found[arm.name].append(facts)
    return {
        name: {"skipped": skipped[name]}
        if name in skipped
        else {
            "records_per_second": [facts["records_per_second"] for facts in facts_of],
            "peak_bytes": max(facts["peak_bytes"] for facts in facts_of),
            "loss": statistics.fmean(facts["loss"] for facts in facts_of),
        }
        for name, facts_of in found.items()
    }


def check_losses(arms: dict[str, dict[str, Any]], dtype: str) -> None:
    """End the benchmark if the arms did not train the same tokens of the same model."""
    losses = {name: facts["loss"] for name, facts in arms.items() if "loss" in facts}
    if losses and max(losses.values()) - min(losses.values()) > SAME_LOSS[dtype] * min(losses.values()):
        said = ", ".join(f"{name} {loss:.5f}" for name, loss in losses.items())
        sys.exit(f"bench_train: the arms do not train the same: mean loss {said}; allowed {SAME_LOSS[dtype]:.0e} apart")


def print_point(point: Point, arms: dict[str, dict[str, Any]]) -> None:
    """One table: records per second (median, lowest and highest round), and ours relative to the arm, by round."""
    bound = point.tasks * point.row_tokens / point.shared_tokens
    print(f"\n{point.tasks} tasks x {point.record_tokens} tokens (bound of sharing {bound:.2f})")
    print(f"{'arm':<15}{'records/s':>10}{'lowest':>9}{'highest':>9}{'ours is':>9}{'lowest':>8}{'highest':>8}{'MiB':>8}")
    best = arms.get("ours", {}).get("records_per_second")
    for name, facts in arms.items():
        if "skipped" in facts:
            print(f"{name:<15}not run: {facts['skipped']}")
            continue
        rates = facts["records_per_second"]
        times = [mine / other for mine, other in zip(best, rates, strict=True)] if best else []
        ratio = f"{statistics.median(times):>8.2f}x{min(times):>8.2f}{max(times):>8.2f}" if times else " " * 25
        speed = f"{statistics.median(rates):>10.3f}{min(rates):>9.3f}{max(rates):>9.3f}"
        print(f"{name:<15}{speed}{ratio}{facts['peak_bytes'] / 2**20:>8.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="30m")
    parser.add_argument("--dtype", choices=tuple(SAME_LOSS), default="bfloat16")
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--record-tokens", type=int, nargs="+", default=[256, 900])
    parser.add_argument("--records-per-step", type=int, default=1)
    parser.add_argument("--tokens-per-pass", type=int, default=4096, help="room of one forward pass, for every arm")
    parser.add_argument(
        "--attention", choices=("split", "varlen", "dense", "flex"), default="split", help="of our arms"
    )
    parser.add_argument("--steps", type=int, default=1, help="timed steps per round; one more goes before them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--vary", action="store_true", help="records of half to twice as many tokens; our arms alone")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing; our arms alone")
    parser.add_argument("--compile", action="store_true", help="decoder layers through torch.compile; our arms alone")
    parser.add_argument("--apart", action="store_true", help="one arm after the other: where two do not fit on a GPU")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/train.json"))
    parser.add_argument("--serve", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.threads)
        return
    if (arguments.vary or arguments.checkpointing or arguments.compile) and not all(
        name.startswith("ours") for name in arguments.arms
    ):
        parser.error("--vary, --checkpointing and --compile are for our own arms: add --arms ours ours_separate")
    if any(name.startswith("trl") for name in arguments.arms) and find_spec("trl") is None:
        print('bench_train: TRL is not installed, so its arms are left out: pip install --no-deps "trl==1.16.*"')
        arguments.arms = [name for name in arguments.arms if not name.startswith("trl")]
    setting = {name: value for name, value in vars(arguments).items() if name not in ("out", "serve")}
    begin, points = time.monotonic(), []
    together = [] if arguments.apart else [Arm(name, arguments.threads) for name in arguments.arms]
    for record_tokens in arguments.record_tokens:
        for tasks in arguments.tasks:
            point = Point(
                arguments.shape, arguments.dtype, arguments.attention, tasks, record_tokens,
                arguments.records_per_step, arguments.tokens_per_pass, arguments.steps, arguments.vary,
                arguments.checkpointing, arguments.compile,
            )  # fmt: skip
            arms = measure(point, together, arguments.rounds)
            for name in arguments.arms if arguments.apart else ():
                alone = Arm(name, arguments.threads)
                arms |= measure(point, [alone], arguments.rounds)
                alone.close()
            print_point(point, arms)
            check_losses(arms, point.dtype)
            points.append({"tasks": tasks, "record_tokens": record_tokens, "arms": arms})
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps({"setting": setting, "points": points}, indent=1) + "\n")
    for arm in together:
        arm.close()
    print(f"\nwritten to {arguments.out}, after {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
