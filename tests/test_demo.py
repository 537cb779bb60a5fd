"""The demo: exact gold, disjoint drug names; and the whole flow on real parts, by the command a user types."""

from __future__ import annotations

import json
import random
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from chartdistill.clinical.lexica.made_up_drugs import drug_name, drug_pool
from chartdistill.demo.charts import TASKS, write_chart

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "src/chartdistill/demo/models"


def test_gold_is_verbatim_and_in_reading_order() -> None:
    for seed in range(150):
        chart = write_chart(random.Random(seed), "train")
        for task in TASKS:
            places = [chart.text.find(item) for item, _ in chart.gold[task]]
            assert -1 not in places, (seed, task)


def test_lengths_and_empty_gold_are_as_promised() -> None:
    charts = [write_chart(random.Random(seed), "heldout") for seed in range(600)]
    lengths = [len(chart.text.split()) for chart in charts]
    assert min(lengths) <= 65
    assert max(lengths) > 600
    for task in TASKS:
        assert sum(not chart.gold[task] for chart in charts) >= 0.3 * len(charts), task
    statuses = {status for chart in charts for _, status in chart.gold["medication"]}
    assert statuses == {"start", "continue", "change", "stop", "hold", "past", "avoid", "given-once"}


def test_drug_names_of_different_pools_never_meet() -> None:
    rng = random.Random(0)
    names = {pool: {drug_name(rng, pool).lower() for _ in range(2000)} for pool in ("pretraining", "train", "heldout")}
    assert names["train"].isdisjoint(names["heldout"])
    assert names["pretraining"].isdisjoint(names["train"] | names["heldout"])
    assert all(drug_pool(name) == pool for pool, members in names.items() for name in members)


def test_same_seed_same_chart() -> None:
    assert write_chart(random.Random(5), "train") == write_chart(random.Random(5), "train")


def test_embedded_models_are_small_safetensors() -> None:
    weights = list(MODELS.rglob("*.safetensors"))
    assert {path.parent.name for path in weights} == {"teacher", "student"}
    assert sum(path.stat().st_size for path in weights) <= 20e6
    assert not [path for path in MODELS.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    assert (MODELS / "teacher/tokenizer.json").read_bytes() == (MODELS / "student/tokenizer.json").read_bytes()


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_transformers_loads_the_tokenizer_that_is_in_the_file(name: str) -> None:
    """For some model types transformers builds a tokenizer of its own around the vocabulary."""
    loaded = AutoTokenizer.from_pretrained(MODELS / name)
    written = Tokenizer.from_file(str(MODELS / name / "tokenizer.json"))
    for seed in range(20):
        text = write_chart(random.Random(seed), "heldout").text
        assert loaded.encode(text) == written.encode(text, add_special_tokens=False).ids
        assert loaded.decode(loaded.encode(text)) == text


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
    values["gates"] = [{"metric": "joint_f1", "at_least": 1}]  # which one epoch on 24 charts does not reach
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(values))
    run_dir = tmp_path / "run"
    first = command("run", str(config))
    assert first.returncode == 10, first.stderr[-3000:]
    assert "Missed: joint F1 (all tasks) must be at least 1.000" in first.stderr

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
