"""Several processes train what one process trains (gloo, on the CPU), through the shipped accelerate configs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs/accelerate"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def launched(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)


@pytest.mark.slow
def test_two_processes_train_the_adapter_that_one_trains(tiny_model: Path, tmp_path: Path) -> None:
    """13 records, 4 per step: in an epoch's last step the second process has no record at all."""
    values = json.dumps(
        {
            **{"epochs": 2, "records_per_step": 4, "tokens_per_pass": 40, "checkpoints": 2, "validation_passes": 2},
            **{"dtype": "float32", "lora": {"rank": 4}, "learning_rate": 1e-2},
        }
    )
    worker = str(HERE / "training_worker.py")
    launch = [str(Path(sys.executable).with_name("accelerate")), "launch", "--main_process_port", free_port()]
    launch += ["--config_file", str(CONFIGS / "ddp.yaml"), "--num_processes", "2"]
    starts = {"one": [sys.executable], "two": launch}
    for name, start in starts.items():
        done = launched(*start, worker, str(tiny_model), str(tmp_path / name), values)
        assert done.returncode == 0, done.stderr[-3000:]
    facts = {name: json.loads((tmp_path / name / "facts.json").read_text()) for name in starts}
    assert (facts["one"]["processes"], facts["two"]["processes"]) == (1, 2)
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in starts)
    for name, value in one.items():
        assert (value - two[name]).norm() <= 1e-5 * value.norm(), name
    curves = [[json.loads(line) for line in (tmp_path / n / "training_log.jsonl").open()] for n in starts]
    assert len(curves[0]) == len(curves[1]) == 10
    for first, second in zip(*curves, strict=True):
        assert first == pytest.approx(second, rel=1e-4)


@pytest.mark.slow
def test_sharded_students_give_the_same_gradients() -> None:
    done = launched(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port",
                    free_port(), str(HERE / "sharding_worker.py"))  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("sharded gradients agree") == 2


@pytest.mark.parametrize("name", ["ddp", "fsdp", "multi-node"])
def test_accelerate_reads_the_shipped_configs(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    path = CONFIGS / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert config.distributed_type.value == ("FSDP" if name == "fsdp" else "MULTI_GPU")
    assert config.mixed_precision == "no" and config.num_processes >= 2
    values = yaml.safe_load(path.read_text())
    assert config.num_machines == values["num_machines"]


def test_the_trainer_needs_no_pydantic_where_only_the_gpu_is_checked(tiny_model: Path, tmp_path: Path) -> None:
    """scripts/gpu_check.sh must run where only torch, transformers, peft and accelerate are installed."""
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(HERE.parent / 'scripts/stand_ins')!r})\n"
        "for name in ('rich', 'datasets', 'rapidfuzz', 'scipy', 'vllm'): sys.modules[name] = None\n"
        "import bench_train, gpu_check, training_worker, pydantic\n"
        "assert 'stand_ins' in pydantic.__file__\n"
        "from pathlib import Path\n"
        "from chartdistill.training import LoraOptions, TrainOptions\n"
        "from chartdistill.training.student import load_student\n"
        "from chartdistill.training.trainer import Rows, run_training\n"
        "options = TrainOptions(epochs=1, dtype='float32', lora=LoraOptions(rank=4), validation_passes=0)\n"
        f"model, folder = load_student(Path({str(tiny_model)!r}), options), Path({str(tmp_path)!r})\n"
        "examples = training_worker.examples()\n"
        "facts = run_training(model, examples, [], options, folder, Rows('split', True, 0), lambda *_: None)\n"
        "print('steps', facts['steps'])\n"
    )
    path = os.pathsep.join([str(HERE.parent / "scripts"), str(HERE), str(HERE.parent / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "steps 2" in done.stdout
