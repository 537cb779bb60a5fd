"""Make the adapter with which SmolLM2-135M-Instruct can teach (configs/cpu-smollm2.yaml), and its card.

    python scripts/train_teacher_adapter.py        about 90 minutes on two CPU cores; killed, it goes on

Runs configs/smollm2-teacher.yaml: prepare, the records' gold as labels, train, evaluate on the held-out written charts.
Then the adapter is halved to bfloat16 and stored in the package. The base model is not in it: `make model`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from chartdistill.config import load_run
from chartdistill.metrics import ALL_TASKS
from chartdistill.runtime.run_folder import require_manifest

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/smollm2-teacher.yaml"
FOLDER = ROOT / "src/chartdistill/demo/adapters/smollm2-teacher"
FIGURES = ("precision", "recall", "f1", "joint_f1", "confabulation_rate", "abstention_specificity")


def main() -> None:
    """Run the config and store what it gives."""
    # `run` wants the labels to be there before it begins, and they are the records that it prepares.
    for verb in (["prepare", CONFIG], ["run", CONFIG]):
        if code := subprocess.run([sys.executable, "-m", "chartdistill", *verb], cwd=ROOT, check=False).returncode:
            sys.exit(code)
    run = load_run(ROOT / CONFIG)
    trained = ROOT / run.dir / "adapter"
    FOLDER.mkdir(parents=True, exist_ok=True)
    tensors = load_file(trained / "adapter_model.safetensors")
    halved = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
    weights = FOLDER / "adapter_model.safetensors"
    save_file(halved, weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # of a package, unlike a run's, which only its user can read
    (FOLDER / "adapter_config.json").write_bytes((trained / "adapter_config.json").read_bytes())
    (FOLDER / "README.md").write_text(card(ROOT / run.dir), encoding="utf-8")
    print(f"{FOLDER}: {weights.stat().st_size / 1e6:.1f} MB")


def card(run_dir: Path) -> str:
    """What the adapter is, how it was made and what it reaches, in Markdown."""
    manifest = require_manifest(run_dir / "adapter", "train")
    counts, options = manifest["counts"], manifest["options"]
    answer_tokens = counts["answer_tokens"]
    log = [json.loads(line) for line in (run_dir / "adapter/training_log.jsonl").read_text().splitlines()]
    when = datetime.fromtimestamp((run_dir / "adapter/manifest.json").stat().st_mtime, UTC).date()
    return f"""# SmolLM2-135M-Instruct as a teacher: the adapter

A LoRA adapter (rank {options["lora"]["rank"]}, all linear layers, bfloat16) for SmolLM2-135M-Instruct, trained by this
project on invented charts alone: the written charts of this package and charts of its generator, with their gold. No
patient's chart and no other model's answer was in it. Licence: that of this project; the base model has its own
(Apache-2.0).

Made {when} by `python scripts/train_teacher_adapter.py` ({CONFIG}; seed {options["seed"]}, learning rate
{options["learning_rate"]}, {options["epochs"]:g} epochs, {manifest["steps"]} steps, {manifest["dtype"]}).
Learned from {counts["records"]["train"]} charts: {counts["answers"]["train"]:,} answers, {answer_tokens:,} tokens.
The lowest loss on {counts["records"]["validation"]} charts for validation chose step {manifest["kept_step"]}.

{curve(log)}

{figures(run_dir)}
"""


def curve(log: list[dict[str, Any]]) -> str:
    """Loss by step, trained and validated, as a table of ten rows at most."""
    trained = [(row["step"], row["loss"]) for row in log if "loss" in row]
    every = max(1, len(trained) // 10)
    lines = ["| step | loss per answer token |", "|---|---|"]
    lines += [f"| {step} | {loss:.3f} |" for step, loss in trained[every - 1 :: every]]
    validated = [(row["step"], row["validation_loss"]) for row in log if "validation_loss" in row]
    lines += [f"| {step}, validation | {loss:.3f} |" for step, loss in validated]
    return "\n".join(lines)


def figures(run_dir: Path) -> str:
    """The held-out written charts: base and adapter, with 95% intervals."""
    scores = json.loads((run_dir / "predictions" / "scores.json").read_text(encoding="utf-8"))
    arms = {"base": "as it comes", "student": "with the adapter"}
    lines = ["On the 61 held-out written charts (95% intervals):", "", "| | task | " + " | ".join(FIGURES) + " |"]
    lines.append("|" + "---|" * (2 + len(FIGURES)))
    for arm, name in arms.items():
        for task, metrics in scores["arms"][arm].items():
            if task == "cost":
                continue
            row = [cell(metrics.get(metric)) for metric in FIGURES]
            lines.append(f"| {name} | {'all' if task == ALL_TASKS else task} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def cell(estimate: dict[str, Any] | None) -> str:
    """`0.61 (0.50 to 0.70)`, or a dash where the figure is undefined."""
    if not estimate or estimate.get("value") is None:
        return "-"
    low, high = estimate.get("low"), estimate.get("high")
    return f"{estimate['value']:.2f}" + (f" ({low:.2f} to {high:.2f})" if low is not None else "")


if __name__ == "__main__":
    main()
