"""Where vLLM's engine should live on this CPU: `label` with two teachers, in interleaved rounds.

    make bench-engine
    python scripts/bench_engine.py --rounds 4 --teachers demo

Ways: `ours` (in the process that asks), `processes` (vLLM's own two, with a thread on every core), `processes, a core
left` (to the one that schedules, which polls). Teachers: the demo's with synthetic charts, and SmolLM2-135M-Instruct
with the shipped adapter and 16 invented charts of people's language. Each way of a round is a run of its own, so every
engine is cold. Compared are the seconds of asking, the seconds of the whole verb, and the labels with those of `ours`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from chartdistill.engines.vllm_in_process import PROCESSES, THREADS
from chartdistill.records.sources.written import CHARTS

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = 16
TEACHERS = {"demo": "configs/demo.yaml", "smollm2": "configs/cpu-smollm2.yaml"}


def ways(cores: int) -> dict[str, dict[str, str]]:
    """Name -> variables."""
    processes = {PROCESSES: "1"}
    return {
        "ours": {},
        "processes": processes,
        "processes, a core left": processes | {THREADS: str(max(1, cores - 1))},
    }


def prepare(teacher: str, folder: Path) -> Path:
    """A config with few records."""
    values = yaml.safe_load((ROOT / TEACHERS[teacher]).read_text(encoding="utf-8"))
    values["tasks"] = [str(ROOT / "configs" / task) for task in values["tasks"]]
    for role in ("teacher", "student"):
        for name in ("model", "adapter"):
            if str(values[role].get(name, "")).startswith("../"):
                values[role][name] = str(ROOT / "configs" / values[role][name])
    values.pop("gates", None)
    if teacher == "demo":
        values["records"] = [{"type": "synthetic", "pool": "train", "count": 160, "seed": 7}]
    else:
        charts = folder / "written.jsonl"
        lines = CHARTS.read_text(encoding="utf-8").splitlines()[:WRITTEN]
        charts.write_text("".join(json.dumps({"text": json.loads(line)["text"]}) + "\n" for line in lines))
        values["records"] = [{"type": "jsonl", "path": str(charts)}]
    path = folder / f"{teacher}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def measure(config: Path, run_dir: Path, variables: dict[str, str]) -> tuple[float, float, str]:
    """Seconds of asking, seconds of the verb, and a hash of the answers."""
    environment = {name: value for name, value in os.environ.items() if name not in (THREADS, PROCESSES)} | variables
    command = [sys.executable, "-m", "chartdistill", "run", str(config), "--run-dir", str(run_dir)]
    subprocess.run([*command, "--until", "label", "--quiet"], check=True, env=environment, cwd=ROOT)
    manifest: dict[str, Any] = json.loads((run_dir / "labels/manifest.json").read_text())
    rows = [json.loads(line) for line in (run_dir / "labels/labels.jsonl").read_text().splitlines()]
    answers = json.dumps([[row["record"], row["task"], row["completion"]] for row in rows])
    return manifest["generate_seconds"], manifest["seconds"], hashlib.sha256(answers.encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--teachers", nargs="+", choices=TEACHERS, default=list(TEACHERS))
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds is {arguments.rounds}; at least 1 is needed")
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        for teacher in arguments.teachers:
            config = prepare(teacher, Path(folder))
            asking: dict[str, list[float]] = {name: [] for name in ways(cores)}
            whole: dict[str, list[float]] = {name: [] for name in ways(cores)}
            answers: dict[str, str] = {}
            for number in range(arguments.rounds):
                for name, variables in ways(cores).items():
                    run_dir = Path(folder) / f"{teacher}-{name.replace(' ', '-')}-{number}"
                    took, verb, answers[name] = measure(config, run_dir, variables)
                    asking[name].append(took)
                    whole[name].append(verb)
            for name in asking:
                same = "" if answers[name] == answers["ours"] else "  other answers than ours"
                print(f"{teacher:<8} {cores} cores  {name:<22} asking {shown(asking[name])}, "
                      f"with the start {shown(whole[name])}{same}", flush=True)  # fmt: skip


def shown(seconds: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"


if __name__ == "__main__":
    main()
