"""How many threads vLLM's worker should have on this CPU: `label` with two teachers, in interleaved rounds.

    make bench-threads
    python scripts/bench_threads.py --rounds 4 --teachers demo

Ways: `ours` (what the engine takes by itself: a core is left to the scheduler, which polls), `all` (a thread on every
core), `all_no_spin` (as `all`, but a thread that waits at a barrier sleeps at once: GOMP_SPINCOUNT=100). Teachers: the
demo's with synthetic charts, and SmolLM2-135M-Instruct with the shipped adapter and 16 invented charts of people's
language. Each way of a round is a run of its own, so every engine is cold; only the seconds of asking are compared, and
the labels with those of `ours`.
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

from chartdistill.records.sources.written import CHARTS

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = 16
TEACHERS = {"demo": "configs/demo.yaml", "smollm2": "configs/cpu-smollm2.yaml"}


def ways(cores: int) -> dict[str, dict[str, str]]:
    """Name -> variables."""
    every = {"OMP_NUM_THREADS": str(cores)}
    return {"ours": {}, "all": every, "all_no_spin": every | {"GOMP_SPINCOUNT": "100"}}


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


def measure(config: Path, run_dir: Path, variables: dict[str, str]) -> tuple[float, str]:
    """Seconds of asking, and a hash of the answers."""
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS",)} | variables
    command = [sys.executable, "-m", "chartdistill", "run", str(config), "--run-dir", str(run_dir)]
    subprocess.run([*command, "--until", "label", "--quiet"], check=True, env=environment, cwd=ROOT)
    manifest: dict[str, Any] = json.loads((run_dir / "labels/manifest.json").read_text())
    rows = [json.loads(line) for line in (run_dir / "labels/labels.jsonl").read_text().splitlines()]
    answers = json.dumps([[row["record"], row["task"], row["completion"]] for row in rows])
    return manifest["generate_seconds"], hashlib.sha256(answers.encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--teachers", nargs="+", choices=TEACHERS, default=list(TEACHERS))
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        for teacher in arguments.teachers:
            config = prepare(teacher, Path(folder))
            seconds: dict[str, list[float]] = {name: [] for name in ways(cores)}
            answers: dict[str, str] = {}
            for number in range(arguments.rounds):
                for name, variables in ways(cores).items():
                    took, answers[name] = measure(config, Path(folder) / f"{teacher}-{name}-{number}", variables)
                    seconds[name].append(took)
            for name, each in seconds.items():
                same = "" if answers[name] == answers["ours"] else "  other answers than ours"
                shown = f"{statistics.median(each):.1f} s ({min(each):.1f} to {max(each):.1f})"
                print(f"{teacher:<8} {cores} cores  {name:<12} {shown}{same}", flush=True)


if __name__ == "__main__":
    main()
