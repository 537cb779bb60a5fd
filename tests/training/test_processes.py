"""Several processes train what one process trains (gloo, on the CPU), through the shipped accelerate configs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from places import MATERIAL, ROOT

CONFIGS = ROOT / "configs/accelerate"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def launched(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(MATERIAL), *sys.path])}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)


VALUES = {
    **{"epochs": 2, "records_per_step": 4, "tokens_per_pass": 40, "checkpoints": 4, "validation_passes": 2},
    **{"dtype": "float32", "lora": {"rank": 4}, "learning_rate": 2e-3},
}
"""13 records, 4 per step: in an epoch's last step the second process has no record at all."""


OWN = {**VALUES, "epochs": 2, "on_policy": {"from_epoch": 0.5, "lmbda": 0.6, "beta": 1.0, "max_new_tokens": 6}}


def trained(
    kind: str, model: Path, folder: Path, *more: str, values: dict[str, Any] = VALUES
) -> subprocess.CompletedProcess[str]:
    """Train in `one` process, or in two under the shipped config `ddp` or `fsdp`."""
    worker = MATERIAL / ("sharding_worker.py" if kind == "fsdp" else "training_worker.py")
    command = [sys.executable]
    if kind != "one":
        command = [str(Path(sys.executable).with_name("accelerate")), "launch", "--main_process_port", free_port()]
        command += ["--config_file", str(CONFIGS / f"{kind}.yaml"), "--num_processes", "2"]
    return launched(*command, str(worker), str(model), str(folder), json.dumps(values), *more)


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


def assert_same_adapter(one: Path, other: Path) -> None:
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert (value - second[name]).norm() <= 1e-5 * value.norm(), name


@pytest.fixture(scope="module")
def runs(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs of one process, and of two under DDP and FSDP. `pytest -s -k two_processes` shows their curves."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in ("one", "ddp", "fsdp"):
        done = trained(kind, tiny_model, folder / kind)
        assert done.returncode == 0, done.stderr[-3000:]
    yield folder
    print(f"\n\n{'step':>4}{'':>18}{'one process':>14}{'two, DDP':>14}{'two, FSDP':>14}")
    for rows in zip(*(curve(folder / kind) for kind in ("one", "ddp", "fsdp")), strict=True):
        for name in ("loss", "grad_norm", "validation_loss", "validation_answers"):
            if name in rows[0]:
                print(f"{rows[0]['step']:>4}{name:>20}" + "".join(f"{row[name]:>14.6f}" for row in rows))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_train_the_adapter_that_one_trains(kind: str, runs: Path) -> None:
    facts = {name: json.loads((runs / name / "facts.json").read_text()) for name in ("one", kind)}
    assert (facts["one"]["processes"], facts[kind]["processes"]) == (1, 2)
    # Sharded weights are checked as they are: no process holds the whole student.
    assert facts[kind]["checked"] == (["DTensor"] if kind == "fsdp" else ["Tensor"])
    assert facts[kind]["first_step_difference"] == pytest.approx(facts["one"]["first_step_difference"], abs=1e-5)
    assert_same_adapter(runs / "one", runs / kind)
    one, two = curve(runs / "one"), curve(runs / kind)
    assert len(one) == len(two) == 10
    for first, second in zip(one, two, strict=True):
        assert first == pytest.approx(second, rel=1e-4)
        if "validation_loss" in first:  # the generated answers are the same to the last token
            assert first["validation_answers"] == second["validation_answers"] > 0


@pytest.mark.slow
def test_sharded_processes_that_are_killed_go_on_to_the_same_weights(
    runs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """8 steps, a checkpoint every two: killed after step 5, they go on from step 4."""
    assert trained("fsdp", tiny_model, tmp_path, "5").returncode != 0
    assert not (tmp_path / "adapter_model.safetensors").exists() and (tmp_path / "checkpoints/checkpoint-4").exists()
    done = trained("fsdp", tiny_model, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same_adapter(runs / "fsdp", tmp_path)
    assert curve(tmp_path) == curve(runs / "fsdp")


@pytest.mark.slow
def test_two_processes_learn_from_the_own_answers_that_one_makes(tiny_model: Path, tmp_path: Path) -> None:
    for kind in ("one", "ddp"):
        done = trained(kind, tiny_model, tmp_path / kind, values=OWN)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((tmp_path / kind / "facts.json").read_text())["on_policy"] for kind in ("one", "ddp"))
    assert one["epochs"][-1]["answers"] > 5
    for first, second in zip(one["epochs"], two["epochs"], strict=True):
        assert first.pop("divergence") == pytest.approx(second.pop("divergence"), rel=1e-4)
        assert first == second  # how many answers and tokens, and of which epoch
    assert_same_adapter(tmp_path / "one", tmp_path / "ddp")


@pytest.mark.parametrize("name", ["ddp", "fsdp", "multi-node"])
def test_accelerate_reads_the_shipped_configs(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    path = CONFIGS / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert config.distributed_type.value == ("FSDP" if name == "fsdp" else "MULTI_GPU")
    assert config.mixed_precision == "no" and config.num_processes >= 2
    values = yaml.safe_load(path.read_text())
    assert config.num_machines == values["num_machines"]
