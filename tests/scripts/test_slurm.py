"""The Slurm scripts, run with stand-ins for Slurm's commands: what would be started, where, and in which order."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from chartdistill.command_line import build_parser
from chartdistill.runtime.shards import Shard
from places import SCRIPTS

SBATCH = """#!/usr/bin/env bash
# Says its options and the step, and answers with a job number.
echo "sbatch STEP=$STEP SHARDS=$SHARDS $*" >> "$SAID"
wc -l < "$SAID"
"""
SRUN = """#!/usr/bin/env bash
# Runs a command once, or on each node; options begin with two dashes.
nodes=$SLURM_NNODES
while [[ $1 == --* ]]; do
    if [[ $1 == --nodes=* ]]; then nodes=${1#--nodes=}; fi
    shift
done
for ((node = 0; node < nodes; node++)); do SLURM_NODEID=$node "$@" || exit $?; done
"""
PROGRAM = """#!/usr/bin/env bash
echo "$(basename "$0") NCCL=${NCCL_SOCKET_IFNAME:-} $*" >> "$SAID"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stand-ins; what they are told is written to `said` in it."""
    programs = {
        "bin/sbatch": SBATCH, "bin/srun": SRUN, "bin/scontrol": "#!/bin/sh\necho first\necho second\n",
        "venv/bin/python": PROGRAM, "venv/bin/accelerate": PROGRAM,
    }  # fmt: skip
    for name, text in programs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "NCCL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    monkeypatch.setenv("VENV", str(tmp_path / "venv"))
    return tmp_path


def said_by(cluster: Path, script: str, *arguments: str, **environment: str) -> list[str]:
    (cluster / "said").write_text("")
    done = subprocess.run(
        ["bash", str(SCRIPTS / script), *arguments], env={**os.environ, **environment}, cwd=cluster,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (cluster / "said").read_text().splitlines()


@pytest.mark.parametrize("allocation", [{}, {"SLURM_JOB_ID": "9"}])
def test_the_array_is_submitted_between_prepare_and_the_rest(cluster: Path, allocation: dict[str, str]) -> None:
    """Also from inside an allocation, as `salloc` gives a shell."""
    wanted = {"CONFIG": "configs/gpu-80gb.yaml", "RUN_DIR": "/shared/run", "SHARDS": "6", "GPUS_PER_NODE": "2"}
    prepare, label, rest = said_by(cluster, "slurm_label.sh", **wanted, **allocation)
    assert prepare.startswith("sbatch STEP=prepare") and "--dependency" not in prepare and "--gres" not in prepare
    assert label.startswith("sbatch STEP=label SHARDS=6")
    assert "--dependency=afterok:1 --array=0-5 --gres=gpu:2" in label
    assert rest.startswith("sbatch STEP=rest") and "--dependency=afterok:2 --gres=gpu:2" in rest
    refused = subprocess.run(["bash", str(SCRIPTS / "slurm_label.sh")], capture_output=True, text=True, check=False)
    assert refused.returncode != 0 and "name a config" in refused.stderr


def test_each_job_runs_a_command_that_the_program_knows(cluster: Path) -> None:
    job = {"CONFIG": "c.yaml", "RUN_DIR": "/shared/run", "RECORDS": "charts", "SHARDS": "4", "SLURM_JOB_ID": "7"}
    parsed = []
    for step, task in (("prepare", ""), ("label", "3"), ("rest", "")):
        [line] = said_by(cluster, "slurm_label.sh", **job, STEP=step, SLURM_ARRAY_TASK_ID=task)
        arguments = line.split(" -m chartdistill ")[1].split()
        parsed.append(build_parser().parse_args(arguments))
        assert (str(parsed[-1].config), str(parsed[-1].run_dir), str(parsed[-1].records)) == (
            "c.yaml", "/shared/run", "charts",
        )  # fmt: skip
    assert [one.command for one in parsed] == ["prepare", "label", "run"]
    assert Shard.parse(parsed[1].shard) == Shard(3, 4)
    assert (parsed[2].first, parsed[2].last) == ("label", "report")


def test_all_nodes_label_a_shard_and_train_together(cluster: Path) -> None:
    node = {"SLURM_JOB_ID": "20007", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_JOB_NODELIST": "x"}
    node["PYTHON"] = str(cluster / "venv/bin/python")
    lines = said_by(cluster, "slurm_label_train.sh", "c.yaml", "charts", "/shared/run", **node)
    commands = [line.split(" -m chartdistill ")[1].split() for line in lines]
    parsed = [build_parser().parse_args(command) for command in commands]
    assert [one.command for one in parsed] == ["run", "label", "label", "run", "train", "train", "run"]
    assert {str(one.run_dir) for one in parsed} == {"/shared/run"}
    assert [one.shard for one in parsed if one.command == "label"] == ["0/2", "1/2"]
    spans = [(one.first, one.last) for one in parsed if one.command == "run"]
    assert spans == [("prepare", "prepare"), ("label", "curate"), ("evaluate", "report")]
    for rank, line in enumerate(line for line in lines if line.startswith("accelerate")):
        # Kept on loopback, as it is within one machine, NCCL would never find the other node.
        assert line.startswith("accelerate NCCL=^lo,docker launch --config_file configs/accelerate/multi-node.yaml")
        assert f"--num_machines 2 --num_processes 16 --machine_rank {rank} --main_process_ip first" in line
        assert "--main_process_port 20007" in line
