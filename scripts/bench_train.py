"""How fast the student is trained, beside other ways to do it: same model, records, adapter and records per step.

    make bench-train
    python scripts/bench_train.py --shape 30m --tasks 1 2 4 8 --record-tokens 256 900 --out runs/bench/train.json

Arms: `ours` (shared-prefix rows), `ours_separate` (the same trainer, one row per answer), `trl_tuned` (TRL's
SFTTrainer: this dtype, no gradient checkpointing, logits at the trained tokens only), `trl_stock` (SFTTrainer as it
comes, but for max_length, which would cut the answers off), `hf_loop` (a plain loop over padded rows). All records are
of one length, so padded rows have next to no padding; TRL's packing is left off where there is no flash attention,
because it then makes a dense mask of the packed row. Each arm is a process of its own; rounds are interleaved, so that
a noisy machine is noisy for all; a round's first step does not count. An arm that cannot run here says why.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOKENIZER = ROOT / "src/chartdistill/demo/models/student"
ARMS = ("ours", "ours_separate", "trl_tuned", "trl_stock", "hf_loop")
QUESTION_TOKENS, ANSWER_TOKENS = 12, 30
SHAPES = {  # layers, width, heads, key-value heads, MLP width, vocabulary
    "tiny": (2, 64, 4, 2, 128, 1536),
    "30m": (8, 512, 8, 4, 1376, 8192),
    "130m": (12, 768, 12, 4, 3072, 16384),
    "1.5b": (28, 1536, 12, 2, 8960, 151936),
    "7b": (28, 3584, 28, 4, 18944, 152064),
}


def make_model(arguments: argparse.Namespace) -> Any:
    """A Qwen2-shaped model with random weights and our LoRA adapter, on the GPU if there is one."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from chartdistill.training import LoraOptions, TrainOptions
    from chartdistill.training.attention import ATTENTION, register_attention
    from chartdistill.training.student import add_adapter

    register_attention()
    layers, width, heads, kv_heads, mlp, vocabulary = SHAPES[arguments.shape]
    config = Qwen2Config(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, num_key_value_heads=kv_heads,
        intermediate_size=mlp, vocab_size=vocabulary, max_position_embeddings=8192, tie_word_embeddings=True,
        pad_token_id=0, eos_token_id=2, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    attention = ATTENTION if arguments.serve.startswith("ours") else "sdpa"
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation=attention, dtype=getattr(torch, arguments.dtype)
        )
    return add_adapter(model, TrainOptions(lora=LoraOptions(rank=16))).to(device)


def make_examples(arguments: argparse.Namespace, steps: int) -> list[Any]:
    """Random token ids: as many records as `steps` take."""
    import torch

    from chartdistill.training.rows import Branch, Example

    draw = torch.Generator().manual_seed(7)
    vocabulary = SHAPES[arguments.shape][-1]

    def ids(count: int) -> list[int]:
        found: list[int] = torch.randint(10, vocabulary, (count,), generator=draw).tolist()
        return found

    def branches() -> tuple[Branch, ...]:
        return tuple(Branch(f"t{i}", ids(QUESTION_TOKENS), ids(ANSWER_TOKENS)) for i in range(arguments.tasks))

    count = steps * arguments.records_per_step
    return [Example(f"r{i}", ids(arguments.record_tokens), branches()) for i in range(count)]


def rows_of(examples: list[Any]) -> list[dict[str, list[int]]]:
    """One row per answer, labelled at its answer tokens only."""
    rows = []
    for example in examples:
        for branch in example.branches:
            prompt = [*example.prefix_ids, *branch.question_ids]
            labels = [-100] * len(prompt) + list(branch.answer_ids)
            rows.append({"input_ids": [*prompt, *branch.answer_ids], "labels": labels})
    return rows


Round = Callable[[], list[float]]
"""Runs some steps; returns the time at the end of each."""


def ours(arguments: argparse.Namespace, shared: bool) -> Round:
    """Our trainer, as `train` runs it."""
    from chartdistill.training import TrainOptions
    from chartdistill.training.trainer import Rows, run_training

    model = make_model(arguments)
    options = TrainOptions(
        epochs=1, records_per_step=arguments.records_per_step, validation_passes=0, checkpoints=1, keep="last",
        tokens_per_pass=arguments.tokens_per_pass, dtype=arguments.dtype,
    )  # fmt: skip
    examples = make_examples(arguments, arguments.steps + 1)
    rows = Rows(arguments.attention, shared, 0)

    def run() -> list[float]:
        ends: list[float] = []

        def progress(done: int, total: int | None = None, tokens: int = 0) -> None:
            _wait_for_device()
            ends.append(time.monotonic())

        with tempfile.TemporaryDirectory() as folder:
            run_training(model, examples, [], options, Path(folder), rows, progress)
        return ends

    return run


def trl(arguments: argparse.Namespace, tuned: bool) -> Round:
    """TRL's SFTTrainer on the same rows."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Tuned(SFTTrainer):  # type: ignore[misc]
        """Off CUDA, SFTTrainer scores every position; here the trained ones only, without its extra metrics."""

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            labels = inputs.pop("labels")[:, 1:]
            base = self.accelerator.unwrap_model(model).get_base_model()
            hidden = base.model(**inputs, use_cache=False).last_hidden_state[:, :-1]
            logits = base.lm_head(hidden[labels != -100]).float()
            loss = torch.nn.functional.cross_entropy(logits, labels[labels != -100], reduction="sum")
            loss = loss / num_items_in_batch
            return (loss, {}) if return_outputs else loss

    class Ends(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            _wait_for_device()
            self.times.append(time.monotonic())

    model = make_model(arguments)
    rows = Dataset.from_list(rows_of(make_examples(arguments, arguments.steps + 1)))
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER, local_files_only=True)
    per_step = arguments.records_per_step * arguments.tasks
    per_pass = min(arguments.rows_per_pass, per_step)
    on_cpu = not torch.cuda.is_available()
    extra: dict[str, Any] = {"gradient_checkpointing": False, "bf16": False} if tuned else {}
    if tuned and not on_cpu and _has_flash_attention():
        extra |= {"packing": True, "max_length": arguments.tokens_per_pass}

    def run() -> list[float]:
        ends = Ends()
        with tempfile.TemporaryDirectory() as folder:
            config = SFTConfig(**{
                "output_dir": folder, "per_device_train_batch_size": per_pass, "max_length": None,
                "gradient_accumulation_steps": -(-per_step // per_pass), "num_train_epochs": 1, "report_to": "none",
                "save_strategy": "no", "use_cpu": on_cpu, "disable_tqdm": True, "learning_rate": 2e-4,
                "logging_strategy": "no" if tuned else "steps", "dataloader_pin_memory": not on_cpu, **extra,
            })  # fmt: skip
            trainer = (Tuned if tuned else SFTTrainer)(
                model=model, args=config, train_dataset=rows, processing_class=tokenizer, callbacks=[ends]
            )
            trainer.train()
        return ends.times

    return run


def _has_flash_attention() -> bool:
    from transformers.utils import is_flash_attn_2_available

    return bool(is_flash_attn_2_available())


def hf_loop(arguments: argparse.Namespace) -> Round:
    """What one would write by hand: padded rows, the model's own loss, AdamW."""
    import torch

    model = make_model(arguments).train()
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
    rows = rows_of(make_examples(arguments, arguments.steps + 1))
    per_step = arguments.records_per_step * arguments.tasks

    def batches(step: int) -> Iterator[dict[str, Any]]:
        for start in range(step * per_step, (step + 1) * per_step, arguments.rows_per_pass):
            chosen = rows[start : min(start + arguments.rows_per_pass, (step + 1) * per_step)]
            width = max(len(row["input_ids"]) for row in chosen)
            filled = {
                name: torch.tensor([row[name] + [fill] * (width - len(row[name])) for row in chosen], device=device)
                for name, fill in (("input_ids", 0), ("labels", -100))
            }
            mask = torch.tensor([[1] * len(r["input_ids"]) + [0] * (width - len(r["input_ids"])) for r in chosen])
            yield {**filled, "attention_mask": mask.to(device)}

    def run() -> list[float]:
        ends = []
        for step in range(arguments.steps + 1):
            tokens = per_step * ANSWER_TOKENS
            for batch in batches(step):
                model(**batch, num_items_in_batch=tokens, use_cache=False).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            _wait_for_device()
            ends.append(time.monotonic())
        return ends

    return run


def _wait_for_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def serve(arguments: argparse.Namespace) -> None:
    """A child process: prepare the arm, then run a round for every line read."""
    from chartdistill import privacy

    privacy.enforce()
    import torch

    if not torch.cuda.is_available():
        torch.set_num_threads(arguments.threads)
    arm = arguments.serve
    try:
        if arm.startswith("ours"):
            run = ours(arguments, arm == "ours")
        elif arm.startswith("trl"):
            run = trl(arguments, arm == "trl_tuned")
        else:
            run = hf_loop(arguments)
    except ImportError as error:
        _say({"skipped": f"{error}"})
        return
    _say({})
    for _ in sys.stdin:
        ends = run()
        seconds = [later - earlier for earlier, later in pairwise(ends)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_allocated()
        _say({"seconds_per_step": statistics.median(seconds), "peak_bytes": peak})


def _say(facts: dict[str, Any]) -> None:
    print("@" + json.dumps(facts), flush=True)


class Arm:
    """A child process that answers every line with the facts of one round."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.rounds: list[dict[str, Any]] = []
        errors = None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        self.skipped: str | None = self._answer().get("skipped")

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith("@"):
                facts: dict[str, Any] = json.loads(line[1:])
                return facts
        return {"skipped": f"ended with exit code {self._child.wait()} (BENCH_VERBOSE=1 shows why)"}

    def round(self) -> None:
        """Run one round, unless the arm has failed."""
        if self.skipped is None:
            assert self._child.stdin is not None
            self._child.stdin.write("go\n")
            self._child.stdin.flush()
            facts = self._answer()
            self.skipped = facts.get("skipped")
            if self.skipped is None:
                self.rounds.append(facts)

    def close(self) -> None:
        """Let the process end."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()


def measure(arguments: argparse.Namespace, tasks: int, record_tokens: int) -> dict[str, Any]:
    """All arms at one point of the sweep."""
    names = ("shape", "dtype", "attention", "records_per_step", "tokens_per_pass", "rows_per_pass", "steps", "threads")
    options = [f"--{name.replace('_', '-')}={getattr(arguments, name)}" for name in names]
    command = [sys.executable, str(Path(__file__).resolve()), *options, "--tasks", str(tasks)]
    command += ["--record-tokens", str(record_tokens), "--serve"]
    if arguments.apart:
        arms = []
        for name in arguments.arms:
            arms.append(Arm(name, [*command, name]))
            for _ in range(arguments.rounds):
                arms[-1].round()
            arms[-1].close()
    else:
        arms = [Arm(name, [*command, name]) for name in arguments.arms]
        for _ in range(arguments.rounds):
            for arm in arms:
                arm.round()
        for arm in arms:
            arm.close()
    return {
        arm.name: {"skipped": arm.skipped}
        if arm.skipped is not None
        else {
            "records_per_second": [arguments.records_per_step / facts["seconds_per_step"] for facts in arm.rounds],
            "peak_bytes": max(facts["peak_bytes"] for facts in arm.rounds),
        }
        for arm in arms
    }


def print_point(tasks: int, record_tokens: int, arms: dict[str, Any]) -> None:
    """One table: records per second (median, lowest and highest round), and ours relative to the arm."""
    separate = tasks * (record_tokens + QUESTION_TOKENS + ANSWER_TOKENS - 1)
    shared = record_tokens + tasks * (QUESTION_TOKENS + ANSWER_TOKENS - 1)
    print(f"\n{tasks} tasks x {record_tokens} tokens (bound of sharing {separate / shared:.2f})")
    print(f"{'arm':<16}{'records/s':>10}{'lowest':>9}{'highest':>9}{'ours is':>9}{'peak GiB':>10}")
    ours_rates = arms.get("ours", {}).get("records_per_second")
    for name, facts in arms.items():
        if "skipped" in facts:
            print(f"{name:<16}not run: {facts['skipped']}")
            continue
        rates = facts["records_per_second"]
        middle = statistics.median(rates)
        times = f"{statistics.median(ours_rates) / middle:.2f}x" if ours_rates else ""
        peak = facts["peak_bytes"] / 2**30
        print(f"{name:<16}{middle:>10.3f}{min(rates):>9.3f}{max(rates):>9.3f}{times:>9}{peak:>10.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="30m")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--tasks", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--record-tokens", type=int, nargs="+", default=[256, 900])
    parser.add_argument("--records-per-step", type=int, default=2)
    parser.add_argument("--tokens-per-pass", type=int, default=8192, help="of our arms")
    parser.add_argument("--rows-per-pass", type=int, default=4, help="of the others")
    parser.add_argument("--attention", choices=("split", "dense", "flex"), default="split", help="of our arms")
    parser.add_argument("--steps", type=int, default=2, help="timed steps per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--apart", action="store_true", help="one arm after the other: where two do not fit on a GPU")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/train.json"))
    parser.add_argument("--serve", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        arguments.tasks, arguments.record_tokens = arguments.tasks[0], arguments.record_tokens[0]
        serve(arguments)
        return
    setting = {name: value for name, value in vars(arguments).items() if name not in ("out", "serve")}
    points = []
    for record_tokens in arguments.record_tokens:
        for tasks in arguments.tasks:
            arms = measure(arguments, tasks, record_tokens)
            print_point(tasks, record_tokens, arms)
            points.append({"tasks": tasks, "record_tokens": record_tokens, "arms": arms})
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps({"setting": setting, "points": points}, indent=1) + "\n")
    print(f"\nwritten to {arguments.out}")


if __name__ == "__main__":
    main()
