"""What Ray costs beside our shards: the demo's records labelled on two nodes, which one machine poses as.

    pip install --no-deps "ray==2.60.*" msgpack      # into an environment of its own: Ray is in neither lock file
    PYTHONPATH=src python scripts/bench_ray.py --rounds 2

Each node has one core. Ours: `label --shard 0/2` and `1/2`, then `label`, which merges. Ray Data: a cluster of two
`ray start`, `map_batches` with one actor per node that opens the same engine and asks in the same windows, and a driver
that writes the rows through the same journal. Rounds are interleaved, each with a run folder, engines and a cluster of
its own. Seconds are those from the first process to the last row of the merged labels.jsonl; the cluster's start is
apart. What neither engine starts nor asking explain is the cost of how the work is handed out. A last round of Ray's,
which is not timed, looks at the memory of its own processes and for chart text in what they hold and write.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil

from chartdistill.config import load_run
from chartdistill.labelling import Labeler
from chartdistill.labelling.windows import cache_windows
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.run_folder import Journal, read_rows
from chartdistill.runtime.start import prepare_process
from chartdistill.schema import Label, Record

CONFIG = Path(__file__).resolve().parents[1] / "configs/demo.yaml"
ADDRESS = "127.0.0.1:6399"


class Labeller:
    """Ray's actor: one engine, which labels whatever batch of records it is given."""

    def __init__(self, run_dir: str) -> None:
        prepare_process()
        run = load_run(CONFIG, run_dir=Path(run_dir))
        teacher, model = run.config.teacher, run.model_folder("teacher")
        builder = PromptBuilder.from_tokenizer(load_tokenizer(model), run.config.system, teacher.template_options)
        self._labeler = Labeler(builder, run.tasks, run.config.label, "bench", teacher.template_options)
        self._stack, begun = ExitStack(), time.monotonic()
        self._generator = self._stack.enter_context(run.open_teacher())
        self._start = time.monotonic() - begun

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        records, begun = [Record.model_validate_json(line) for line in batch["line"]], time.monotonic()
        lines: list[str] = []
        for window in cache_windows(records, self._labeler.num_tokens, self._generator.cache_tokens, 256):
            pairs = [(record, task) for record in window for task in self._labeler.tasks]
            lines += [row.line() for row in self._labeler.ask(self._generator, pairs)]
        facts = {"node": os.getpid(), "start": self._start, "asking": time.monotonic() - begun}
        return {"line": lines, **{name: [value] * len(lines) for name, value in facts.items()}}


def drive_ray(run_dir: Path) -> None:
    """Ray's driver: records in, rows out, merged in the order of the records. Prints each node's seconds."""
    import ray

    ray.init(address=ADDRESS, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    records = list(read_rows(run_dir / "records/records.jsonl", Record))
    rows = ray.data.from_items([{"line": record.line()} for record in records], override_num_blocks=4).map_batches(
        Labeller, fn_constructor_args=(str(run_dir),), batch_size=None, num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=2),
    )  # fmt: skip
    keys: dict[str, list[str]] = {}
    nodes: dict[int, list[float]] = {}
    (run_dir / "labels").mkdir()
    with Journal(run_dir / "labels/labels.jsonl", Label) as journal:
        for batch in rows.iter_batches(batch_size=None):
            labels = [Label.model_validate_json(line) for line in batch["line"]]
            journal.add(labels)
            for label in labels:
                keys.setdefault(label.record, []).append(label.key)
            seconds = nodes.setdefault(int(batch["node"][0]), [float(batch["start"][0]), 0.0])
            seconds[1] += float(batch["asking"][0])
        journal.finish(key for record in records for key in keys[record.id])
    print(json.dumps(list(nodes.values())))


def start(*command: str, core: int | None = None) -> subprocess.Popen[str]:
    """Start a command, on one core where that is given; what it says is kept in pipes."""
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    own = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(
        [*pinned, *command], env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ours(run_dir: Path) -> dict[str, Any]:
    """Two shards at once, then the merge."""
    label = [sys.executable, "-m", "chartdistill", "label", str(CONFIG), "--run-dir", str(run_dir), "--quiet"]
    begun = time.monotonic()
    shards = [start(*label, "--shard", f"{core}/2", core=core) for core in (0, 1)]
    said = [shard.communicate()[1] for shard in shards]
    merging = time.monotonic()
    subprocess.run(label, check=True, capture_output=True)
    ended = time.monotonic()
    nodes = [[float(number) for number in re.findall(r"([\d.]+) seconds of", text)] for text in said]
    return {"seconds": ended - begun, "merging": ended - merging} | _parts(ended - begun, nodes)


def _parts(seconds: float, nodes: Sequence[Sequence[float]]) -> dict[str, Any]:
    """`nodes`: of each, seconds of engine start and of asking."""
    return {"engine starts, asking": nodes, "the rest": seconds - max(sum(node) for node in nodes)}


def with_ray(run_dir: Path, folder: Path, sentences: Sequence[bytes]) -> dict[str, Any]:
    """A cluster of two nodes on this machine, and the driver. With `sentences` also what the cluster holds, for which
    so much is read that the seconds are void."""
    import ray

    node = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
    node += ["--node-ip-address=127.0.0.1", f"--object-store-memory={256 << 20}"]
    head = ["--head", f"--port={ADDRESS.split(':')[1]}", f"--temp-dir={folder}", "--include-dashboard=false"]
    begun = time.monotonic()
    nodes = [start(*node, *head, core=0)]
    try:
        while not ray.is_initialized():
            with suppress(ConnectionError):
                ray.init(address=ADDRESS, log_to_driver=False)
        nodes.append(start(*node, f"--address={ADDRESS}", core=1))
        while sum(one["Alive"] for one in ray.nodes()) < 2:
            time.sleep(0.1)
        ray.shutdown()
        up = time.monotonic()
        driver = start(sys.executable, __file__, "--drive", str(run_dir))
        mib: dict[str, float] = {}
        charts_in: set[str] = set()
        while sentences and driver.poll() is None:
            own = rays_own(nodes)
            sizes = {f"{one.pid} {one.name()}": one.memory_full_info().pss / 2**20 for one in own if one.is_running()}
            mib = max(mib, sizes, key=lambda each: sum(each.values()))
            charts_in |= places_with(sentences, folder, own)
            time.sleep(2)
        said, _ = driver.communicate()
        seconds = time.monotonic() - up
        cpu = sum(sum(one.cpu_times()[:2]) for one in rays_own(nodes))
    finally:
        for one in reversed(nodes):
            one.terminate()
            one.wait()
    if sentences:
        written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
        sizes = {"PSS in MiB": sum(mib.values()), "of": mib, "written in MiB": written}
        return {**sizes, "charts in": sorted(charts_in)}
    parts = _parts(seconds, json.loads(said))
    return {"seconds": seconds, "cluster start": up - begun, **parts, "Ray's CPU seconds": cpu}


def rays_own(nodes: Sequence[subprocess.Popen[str]]) -> list[psutil.Process]:
    """The processes of the cluster, without the actors and their engines, which would be there without Ray too."""
    found = []
    for node in nodes:
        for one in [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]:
            with suppress(psutil.Error):  # it ended as we looked
                command = " ".join(one.cmdline())
                if not any(word in command for word in ("MapWorker", "VLLM", "multiprocessing", "chartdistill")):
                    found.append(one)
    return found


def places_with(sentences: Sequence[bytes], folder: Path, processes: Sequence[psutil.Process]) -> set[str]:
    """Ray's files, and its object stores (shared memory, files without a name), that hold a sentence of a chart."""
    found = set()
    for path in [*folder.rglob("*"), *(fd for one in processes for fd in Path(f"/proc/{one.pid}/fd").glob("*"))]:
        with suppress(OSError):
            name = os.readlink(path) if path.parent.name == "fd" else str(path.relative_to(folder))
            if path.is_file() and (path.parent.name != "fd" or name.startswith("/dev/shm")):
                content = path.read_bytes()
                found |= {name} if any(sentence in content for sentence in sentences) else set()
    return found


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        drive_ray(arguments.drive)
        return
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        prepare = [sys.executable, "-m", "chartdistill", "prepare", str(CONFIG), "--run-dir", str(base / "run")]
        subprocess.run([*prepare, "--quiet"], check=True)
        charts = [record.text for record in read_rows(base / "run/records/records.jsonl", Record)]
        sentences = [text[len(text) // 2 :][:60].encode() for text in charts]
        first: list[Any] = []
        for number in range(arguments.rounds + 1):
            for arm in ("ours", "ray") if number < arguments.rounds else ("ray, looked at",):
                run_dir = base / f"{arm}{number}"
                shutil.copytree(base / "run", run_dir)
                looked_for = sentences if number == arguments.rounds else ()
                found = ours(run_dir) if arm == "ours" else with_ray(run_dir, base / f"r{number}", looked_for)
                rows = [(r.record, r.task, r.completion) for r in read_rows(run_dir / "labels/labels.jsonl", Label)]
                first = first or rows
                found |= {"rows": len(rows), "as the first": sum(a == b for a, b in zip(first, rows, strict=True))}
                print(arm, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
