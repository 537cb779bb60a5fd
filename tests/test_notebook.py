"""The notebook runs from the first cell to the last against a run folder, and is kept without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from chartdistill.config import Run
from chartdistill.engines import TransformersEngine
from chartdistill.records.prepare import prepare
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.run_config import RunConfig
from chartdistill.run_file import write_run
from chartdistill.runtime.run_folder import write_text
from places import ROOT

NOTEBOOK = ROOT / "docs" / "notebook" / "read_charts.ipynb"
MODEL = ROOT / "src" / "chartdistill" / "demo" / "models" / "teacher"


def read() -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return notebook


def test_it_is_kept_without_outputs_and_without_a_path_of_a_machine() -> None:
    for cell in read()["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
    assert not re.search(r"/(home|root|tmp|Users|work)/", NOTEBOOK.read_text(encoding="utf-8"))


def a_run(folder: Path) -> Path:
    """A run whose student reads synthetic charts: the demo's teacher, with an adapter that changes nothing."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    engine = {"engine": TransformersEngine(), "model": str(MODEL)}
    config = RunConfig.model_validate(
        {
            "name": "t", "run_dir": folder, "teacher": engine, "student": engine,
            "tasks": ["medication.yaml", "tests.yaml"],
            "system": "Answer from this chart alone, one item per line. If it has none, write: None found",
            "records": [SyntheticSource(pool="heldout", count=2, seed=3, split="test")],
        }
    )  # fmt: skip
    run = Run(config, ROOT / "configs" / "tasks")
    prepare(config.records, folder / "records", config.prepare)
    tuned = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL), tuned).save_pretrained(folder / "adapter")
    write_text(folder / "adapter" / "manifest.json", json.dumps({"fingerprint": "t"}))
    write_run(run)
    return folder


@pytest.mark.slow
def test_it_runs_and_marks_items_where_the_chart_has_them(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (chosen,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    chosen.source = f"RUN_DIR = {str(a_run(tmp_path / 'run'))!r}\nNUM_CHARTS = 2\n"
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    shown = [output["data"]["text/html"] for cell in notebook.cells for output in cell.get("outputs", ())
             if "text/html" in output.get("data", {})]  # fmt: skip
    assert len(shown) == 3, "a legend and two charts"
    records = [json.loads(line) for line in (tmp_path / "run/records/records.jsonl").read_text().splitlines()]
    for record, page in zip(records, shown[1:], strict=True):
        marks = re.findall(r'<mark style="[^"]*" title="medication, [\w-]+">([^<]+)</mark><sub>', page)
        assert marks and all(mark in record["text"] for mark in marks)
