"""The adapter that teaches in configs/cpu-smollm2.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from chartdistill.config import load_run
from chartdistill.runtime.adapter_folder import read_adapter, require_fit
from chartdistill.runtime.model_folder import read_json
from places import ROOT

FOLDER = ROOT / "src/chartdistill/demo/adapters/smollm2-teacher"
SHAPE = ROOT / "configs/models/HuggingFaceTB--SmolLM2-135M-Instruct.json"


def test_it_fits_its_model_and_is_small_enough_to_ship(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(SHAPE.read_bytes())
    require_fit(read_adapter(FOLDER), tmp_path)
    assert (FOLDER / "adapter_model.safetensors").stat().st_size <= 12_000_000
    assert read_json(FOLDER / "adapter_config.json")["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_its_card_says_how_it_was_made_and_what_it_reaches() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for said in ("scripts/train_teacher_adapter.py", "seed ", "| step |", "held-out written charts", "Licence"):
        assert said in card, said


@pytest.mark.parametrize("name", ["cpu-smollm2", "smollm2-teacher"])
def test_it_is_asked_as_it_was_trained(name: str) -> None:
    """Another system text or another question, and it would answer worse."""
    demo, run = load_run(ROOT / "configs/demo.yaml"), load_run(ROOT / f"configs/{name}.yaml")
    assert run.config.system == demo.config.system
    assert [task.question for task in run.tasks] == [task.question for task in demo.tasks]
