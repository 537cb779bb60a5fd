"""What scripts/gpu_check.sh needs of the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from places import MATERIAL, ROOT, SCRIPTS


def test_the_trainer_needs_no_pydantic_where_only_the_gpu_is_checked(tiny_model: Path, tmp_path: Path) -> None:
    """scripts/gpu_check.sh must run where only torch, transformers, peft and accelerate are installed."""
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(SCRIPTS / 'stand_ins')!r})\n"
        "for name in ('rich', 'datasets', 'rapidfuzz', 'scipy', 'sklearn', 'vllm'): sys.modules[name] = None\n"
        "import bench_train, gpu_check, training_worker, pydantic\n"
        "assert 'stand_ins' in pydantic.__file__\n"
        "from pathlib import Path\n"
        "from chartdistill.training import LoraOptions, TrainOptions\n"
        "from chartdistill.training.model import load_model\n"
        "from chartdistill.training.trainer import Rows, run_training\n"
        "options = TrainOptions(epochs=1, dtype='float32', lora=LoraOptions(rank=4), validation_passes=0)\n"
        f"model, folder = load_model(Path({str(tiny_model)!r}), options), Path({str(tmp_path)!r})\n"
        "examples = training_worker.examples()\n"
        "facts = run_training(model, examples, [], options, folder, Rows('split', True, 0), lambda *_: None)\n"
        "print('steps', facts['steps'])\n"
    )
    path = os.pathsep.join([str(SCRIPTS), str(MATERIAL), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "steps 2" in done.stdout
