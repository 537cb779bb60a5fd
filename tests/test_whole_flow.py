"""The whole flow on real parts, by the command a user types."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from chartdistill.demo.charts import TASKS, write_chart
from chartdistill.engines.vllm_in_process import PROCESSES
from places import ROOT

MODELS = ROOT / "src/chartdistill/demo/models"


def interrupted_as_its_engine_starts(command: Sequence[str], environment: Mapping[str, str], log: Path) -> str:
    """What a command says when Ctrl-C is pressed at its terminal, which tells all of its processes; none is left."""
    with (
        log.open("w") as written,
        subprocess.Popen(
            command, env=environment, stdout=written, stderr=written, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # also where this test's caller ignores it
        ) as ours,
    ):  # fmt: skip
        group = psutil.Process(ours.pid)
        until = time.monotonic() + 200
        started: set[psutil.Process] = set()
        while not any(map(_is_an_engine, started)):
            assert ours.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.2)
            started |= set(group.children(recursive=True))
        time.sleep(3)  # the engine's process imports, or loads the model
        started |= set(group.children(recursive=True))
        os.killpg(ours.pid, signal.SIGINT)
        assert ours.wait(100) == 130, log.read_text()
    assert psutil.wait_procs(started, timeout=10)[1] == []
    return log.read_text()


def _is_an_engine(process: psutil.Process) -> bool:
    with suppress(psutil.Error):  # it has ended since
        return "spawn_main" in " ".join(process.cmdline())
    return False


@pytest.mark.slow
@pytest.mark.timeout(540)
def test_the_whole_flow_on_vllm_where_there_is_loopback_alone(
    tmp_path: Path, users_environment: dict[str, str]
) -> None:
    isolated = [str(ROOT / "scripts/isolated.sh")]
    if subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        isolated = []  # this system allows no network namespaces: then with its network
        warnings.warn("the whole flow ran beside a network, not without", stacklevel=1)

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [*isolated, sys.executable, "-m", "chartdistill", *arguments, "--run-dir", str(run_dir)]
        return subprocess.run(line, env=users_environment, capture_output=True, text=True, check=False)

    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    values["tasks"] = [str(ROOT / "configs" / task) for task in values["tasks"]]
    for role in ("teacher", "student"):
        values[role]["model"] = str(MODELS / role)
    for source, count in zip(values["records"], (24, 4, 12), strict=True):
        source["count"] = count
    values["train"]["epochs"] = 1
    values["evaluate"]["bootstrap_resamples"] = 200
    values["gates"] = [{"metric": "joint_f1", "at_least": 0.999}]  # which one epoch on 24 charts does not reach
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(values))
    run_dir = tmp_path / "run"
    line = [*isolated, sys.executable, "-m", "chartdistill", "run", str(config), "--run-dir", str(run_dir)]
    with_processes = users_environment | {PROCESSES: "1"}  # as on cards: Ctrl-C reaches those too
    said = interrupted_as_its_engine_starts(line, with_processes, tmp_path / "interrupted.txt").splitlines()
    assert said[-1] == "chartdistill: interrupted; what was finished is kept, run the same command to go on."
    # Nothing else but how far it was: nobody is told of engines' processes that end.
    assert all(text.startswith(("prepare: ", "label: begins")) for text in said[:-1]), said
    first = command("run", str(config))  # goes on
    assert first.returncode == 10, first.stderr[-3000:]
    assert "Missed: joint F1 (all tasks) must be at least 0.999" in first.stderr

    labels = json.loads((run_dir / "labels/manifest.json").read_text())
    curated = json.loads((run_dir / "curated/manifest.json").read_text())["counts"]
    assert labels["counts"]["labels"] == 40 * 4 == curated["read"] == curated["kept"] + curated["rejected"]
    assert labels["tokens"]["cached"] > 0
    report = json.loads((run_dir / "report/report.json").read_text())
    assert set(report["arms"]) == {"teacher", "base", "student"}
    joint = {arm: report["arms"][arm]["all"]["joint_f1"]["value"] for arm in report["arms"]}
    assert joint["teacher"] > joint["base"]
    assert all(report["arms"][arm]["medication"]["joint_f1"]["n"] for arm in report["arms"])
    page = (run_dir / "report/report.html").read_text()
    assert "<script" not in page
    # Nothing a chart says is in what was printed, and nobody else can read the run.
    record = json.loads((run_dir / "records/records.jsonl").read_text().splitlines()[0])
    for text in (first.stdout, first.stderr):
        assert record["text"][20:60] not in text
    for path in run_dir.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path

    again = command("run", str(config))
    assert again.returncode == 10
    assert json.loads((run_dir / "labels/manifest.json").read_text()) == labels  # nothing was done twice

    charts = tmp_path / "charts"
    charts.mkdir()
    original = write_chart(random.Random(77), "heldout", 80).as_filed(random.Random(1))
    (charts / "new.txt").write_text(original)
    out = tmp_path / "answers.jsonl"
    done = command("predict", str(config), "--records", str(charts), "--out", str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "warning: the adapter is NOT APPROVED" in done.stderr  # and vLLM minds no model card beside the weights
    assert (run_dir / "adapter/README.md").is_file()
    answer = json.loads(out.read_text())
    assert answer["id"] == "new" and set(answer["tasks"]) == set(TASKS)
    for task in answer["tasks"].values():
        for item in task["items"] or []:
            if item.get("match") == "exact":
                start, end = item["span"]
                assert original[start:end].lower() == item["text"].lower()
