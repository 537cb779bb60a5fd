"""Everything that only a GPU can show, with a table at the end. Called by scripts/gpu_check.sh.

Parts: exactness of every form of row in float32 and bfloat16 (loss and every adapter gradient against plain
transformers), speed and memory beside other trainers (scripts/bench_train.py), the share of the GPU's matrix speed
that is reached, NF4. A part that cannot run is named, with the reason; so is one for which no time is left.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

NEEDED = ("torch", "transformers", "peft", "accelerate")
TABLE: list[tuple[str, str]] = []


def say(name: str, found: str) -> None:
    """Print a finding now, and again in the table at the end."""
    TABLE.append((name, found))
    print(f"{name}: {found}", flush=True)


def versions() -> None:
    """The GPU and the packages; ends the program where it cannot run at all."""
    from importlib import metadata

    found, missing = [], []
    for name in (*NEEDED, "trl", "bitsandbytes", "flash-attn", "triton", "pydantic", "vllm"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if stop := [name for name in NEEDED if name in missing]:
        sys.exit(f"gpu_check: {', '.join(stop)} missing: pip install {' '.join(stop)}")
    import torch

    if not torch.cuda.is_available():
        sys.exit("gpu_check: no CUDA GPU is visible to torch. On a CPU, run the tests instead: make test")
    properties = torch.cuda.get_device_properties(0)
    say("hardware", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    say("packages", ", ".join(found))
    say("not installed", ", ".join(missing) or "nothing")


def check_exactness() -> None:
    """Loss and adapter gradients of each form of row against plain rows."""
    import torch

    from bench_train_arms import SHAPES, make_examples, make_model
    from chartdistill.training.losses import micro_batch_loss
    from chartdistill.training.model import compute_dtype
    from chartdistill.training.packing import collate

    torch.backends.cuda.matmul.allow_tf32 = False
    for dtype in ("float32", "bfloat16"):
        model = make_model("30m", dtype, ours=True)
        draw = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.02)
        made = make_examples(3, record_tokens=300, tasks=4, vocabulary=SHAPES["30m"][-1])
        examples = [replace(one, branches=one.branches[: 4 - i]) for i, one in enumerate(made)]

        def run(form: Any, shared: bool, model: Any = model, examples: Any = examples) -> tuple[float, Any]:
            model.zero_grad()
            total = 0.0
            for one in collate(examples, form, shared, dtype=compute_dtype(model)):
                loss = micro_batch_loss(model, one.to(model.device))
                loss.backward()
                total += loss.item()
            grads = [p.grad.float().flatten() for p in model.parameters() if p.requires_grad]
            return total, torch.cat(grads)

        loss, gradient = run("plain", False)
        for form in ("split", "varlen", "dense", "flex"):
            if form == "varlen" and dtype == "float32":
                continue  # its kernels take 16-bit numbers alone
            try:
                ours, found = run(form, True)
            except Exception as error:  # a kernel that is missing or does not compile is a finding here
                say(f"exactness {dtype} {form}", f"failed: {type(error).__name__}: {str(error).splitlines()[0][:120]}")
                continue
            away = ((found - gradient).norm() / gradient.norm()).item()
            say(f"exactness {dtype} {form}", f"loss {abs(ours - loss) / loss:.1e}, gradient {away:.1e} (relative)")


def matrix_speed() -> float:
    """FLOP/s of a large bfloat16 matrix product, the practical limit."""
    import torch

    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    torch.cuda.synchronize()
    begin = time.monotonic()
    for _ in range(30):
        a @ b
    torch.cuda.synchronize()
    speed = 30 * 2 * 8192**3 / (time.monotonic() - begin)
    say("matrix product", f"{speed / 1e12:.0f} TFLOP/s in bfloat16 at 8192 x 8192 x 8192")
    return speed


def that_fit(shape: str, record_tokens: int, tasks: int, memory_bytes: int) -> list[str]:
    """Options of bench_train.py: as many tokens a pass as the card's memory takes, with gradient checkpointing where
    a pass of two records would not fit without."""
    from bench_train_arms import ANSWER_TOKENS, QUESTION_TOKENS, config_values
    from chartdistill.doctor.memory_plan import training_memory
    from chartdistill.doctor.model_shape import shape_of
    from chartdistill.training import TrainOptions

    room = 0.9 * memory_bytes
    model = shape_of({"model_type": "qwen2", **config_values(shape)}, shape)
    branches = tasks * (QUESTION_TOKENS + ANSWER_TOKENS - 1)
    for checkpointing in (False, True):
        options = TrainOptions(gradient_checkpointing=checkpointing)
        for tokens in (32768, 16384, 8192, 4096, 2 * (record_tokens + branches)):
            records = max(1, tokens // (record_tokens + branches))
            sizes = [(record_tokens, branches)] * records
            if training_memory(model, options, 2, sizes, records * tasks * ANSWER_TOKENS, room, True).fits:
                return ["--tokens-per-pass", str(tokens), *(["--checkpointing"] if checkpointing else [])]
    return ["--tokens-per-pass", str(record_tokens + branches), "--checkpointing"]


def bench(limit: float, speed: float, shape: str, more: list[str], name: str) -> None:
    """bench_train.py at one point of the sweep; model FLOP/s on unique tokens are 4 x parameters x tokens."""
    from bench_train_arms import SHAPES, make_examples

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "train.json"
        command = [sys.executable, str(ROOT / "scripts/bench_train.py"), "--shape", shape, "--dtype", "bfloat16"]
        command += ["--tasks", "4", "--record-tokens", "900", "--records-per-step", "16", "--steps", "3", "--apart"]
        command += ["--rounds", "2", "--out", str(out), *more]
        subprocess.run(command, check=True, timeout=limit)
        arms = json.loads(out.read_text())["points"][0]["arms"]
    layers, width, heads, kv_heads, mlp, _ = SHAPES[shape]
    kv_width = width // heads * kv_heads
    parameters = layers * (2 * width * width + 2 * width * kv_width + 3 * width * mlp)
    examples = make_examples(64, 900, 4, 100, "--vary" in more)
    tokens = statistics.fmean(one.size for one in examples)
    for arm, facts in arms.items():
        if "skipped" in facts:
            say(f"{name} {arm}", f"not run: {facts['skipped']}")
            continue
        rate = statistics.median(facts["records_per_second"])
        reached = 4 * parameters * tokens * rate
        say(
            f"{name} {arm}",
            f"{rate:.2f} records/s, {facts['peak_bytes'] / 2**30:.1f} GiB, {reached / 1e12:.0f} TFLOP/s on unique "
            f"tokens ({reached / speed:.0%} of the matrix product)",
        )


def check_nf4() -> None:
    """A 4-bit student: does it train, and how much memory do its weights take?"""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from chartdistill.training import LoraOptions, TrainOptions
    from chartdistill.training.model import load_model
    from chartdistill.training.packing import Branch, Example
    from chartdistill.training.rows import Rows
    from chartdistill.training.self_check import self_check
    from chartdistill.training.trainer import run_training

    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        say("nf4", f"not run: {error}")
        return
    config = Qwen2Config(hidden_size=1024, num_hidden_layers=8, num_attention_heads=16, num_key_value_heads=4,
                         intermediate_size=4096, vocab_size=4096, pad_token_id=0, bos_token_id=None)  # fmt: skip
    draw = torch.Generator().manual_seed(3)

    def ids(count: int) -> list[int]:
        found: list[int] = torch.randint(5, 4096, (count,), generator=draw).tolist()
        return found

    examples = [Example(str(i), ids(200), tuple(Branch("t", ids(5), ids(8)) for _ in range(4))) for i in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(Path(folder) / "model")
        options = TrainOptions(epochs=12, learning_rate=1e-3, load_in_4bit=True, lora=LoraOptions(rank=8),
                               validation_passes=1, keep="last", checkpoints=1)  # fmt: skip
        torch.cuda.reset_peak_memory_stats()
        model = load_model(Path(folder) / "model", options)
        held = torch.cuda.memory_allocated()
        away = self_check(model, examples[:3], "split", True, 0)
        run_training(model, examples, examples, options, Path(folder) / "run", Rows("split", True, 0),
                     lambda done, total=None, tokens=0: None)  # fmt: skip
        rows = [json.loads(line) for line in (Path(folder) / "run/training_log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    say(
        "nf4",
        f"{away:.1e} from separate rows, "
        f"loss {losses[0]:.2f} -> {losses[-1]:.2f} in {len(losses)} steps, weights {held / 2**20:.0f} MiB, peak "
        f"{torch.cuda.max_memory_allocated() / 2**20:.0f} MiB",
    )


def bench_form(left: float, speed: float, form: str, more: list[str]) -> None:
    """Our arm at 1.5b with one form of row."""
    bench(left, speed, "1.5b", ["--arms", "ours", "--attention", form, *more], f"1.5b {form}, lengths vary,")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=560, help="no part is begun or goes on after this")
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.seconds
    versions()
    import torch

    run_parts(parts_for(matrix_speed(), torch.cuda.get_device_properties(0).total_memory), end)


Part = tuple[str, float, Callable[[float], None]]
"""Its name, the seconds it needs, and what is called with the seconds that are left."""


def parts_for(speed: float, memory_bytes: int) -> list[Part]:
    """All parts but the matrix product, for a card of so much memory. `speed` as of `matrix_speed`."""
    all_arms = ["--arms", "ours", "ours_separate", "trl_tuned", "hf_loop", "--tokens-per-pass", "8192"]
    varied = ["--vary", *that_fit("1.5b", 900, 4, memory_bytes)]
    parts: list[Part] = [
        ("exactness", 30, lambda left: check_exactness()),
        ("nf4", 20, lambda left: check_nf4()),
        ("1.5b", 60, lambda left: bench(left, speed, "1.5b", all_arms, "1.5b")),
        *(
            (f"1.5b {form}, lengths vary", 30, partial(bench_form, speed=speed, form=form, more=varied))
            for form in ("varlen", "split", "flex")
        ),
    ]
    if memory_bytes > 20 * 2**30:
        few = ["--arms", "ours", "--vary", *that_fit("7b", 900, 4, memory_bytes)]
        parts.append(("7b", 90, partial(bench, speed=speed, shape="7b", more=few, name="7b, lengths vary,")))
    return parts


def run_parts(parts: list[Part], end: float) -> None:
    """Run what there is time for until `end` (of the monotonic clock), and print the table of all that was found."""
    import torch

    for name, least, run in parts:
        left = end - time.monotonic()
        if left < least:
            say(name, f"not run: {left:.0f} s left, it needs {least:.0f}")
            continue
        try:
            run(left)
        except Exception as error:  # one part that fails is a finding, and must not cost the table of the others
            say(name, f"failed: {type(error).__name__}: {str(error).splitlines()[0][:160]}")
        torch.cuda.empty_cache()
    print("\n" + "\n".join(f"{name:<28}{found}" for name, found in TABLE))


if __name__ == "__main__":
    main()
