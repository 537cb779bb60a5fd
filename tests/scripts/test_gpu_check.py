"""What scripts/gpu_check.sh needs of the package, and what of it needs no card."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from places import MATERIAL, ROOT, SCRIPTS


@pytest.mark.slow
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


@pytest.fixture
def gpu_check(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import gpu_check

    monkeypatch.setattr(gpu_check, "TABLE", [])
    return gpu_check


@pytest.mark.parametrize(("shape", "gib"), [("1.5b", 24), ("1.5b", 80), ("7b", 24), ("7b", 80), ("7b", 141)])
def test_what_is_timed_fits_the_card_by_the_plan_of_doctor(gpu_check: Any, shape: str, gib: int) -> None:
    """A pass of 8,192 tokens of the 7B shape without checkpointing is too much for many."""
    from bench_train_arms import ANSWER_TOKENS, QUESTION_TOKENS, config_values
    from chartdistill.doctor.memory_plan import training_memory
    from chartdistill.doctor.model_shape import shape_of
    from chartdistill.training import TrainOptions

    chosen = gpu_check.that_fit(shape, 900, 4, gib << 30)
    tokens, checkpointing = int(chosen[1]), "--checkpointing" in chosen
    branches = 4 * (QUESTION_TOKENS + ANSWER_TOKENS - 1)
    records = max(1, tokens // (900 + branches))
    model = shape_of({"model_type": "qwen2", **config_values(shape)}, shape)

    def fits(tokens: int, checkpointing: bool) -> bool:
        options, count = TrainOptions(gradient_checkpointing=checkpointing), max(1, tokens // (900 + branches))
        sizes, answers = [(900, branches)] * count, count * 4 * ANSWER_TOKENS
        return training_memory(model, options, 2, sizes, answers, gib << 30, True).fits

    assert records >= 1 and fits(tokens, checkpointing)
    if shape == "7b" and gib == 24:
        assert not fits(8192, False) and checkpointing


def test_a_part_that_fails_costs_no_other_its_line(gpu_check: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(left: float) -> None:
        raise RuntimeError("CUDA error: an illegal instruction\nmore of it")

    parts = [("first", 1, fails), ("second", 1, lambda left: gpu_check.say("second", "fine")), ("third", 9e9, fails)]
    gpu_check.run_parts(parts, time.monotonic() + 60)
    table = capsys.readouterr().out.rpartition("\n\n")[2].splitlines()
    assert [line.split()[0] for line in table] == ["first", "second", "third"]
    assert "failed: RuntimeError: CUDA error: an illegal instruction" in table[0]
    assert "fine" in table[1] and "not run" in table[2]


def test_what_is_timed_has_records_of_many_lengths(gpu_check: Any) -> None:
    from bench_train_arms import make_examples

    timed = {name: part for name, _, part in gpu_check.parts_for(1e15, 80 << 30)}
    for name in ("1.5b varlen, lengths vary", "1.5b split, lengths vary", "7b"):
        assert "--vary" in timed[name].keywords["more"], name
    assert len({len(one.prefix_ids) for one in make_examples(64, 900, 4, 100, True)}) > 40
