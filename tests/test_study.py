"""study: parts, draws and labels on disk; seeds pooled without false n; the curve; a miniature from end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from chartdistill.answers import format_answer
from chartdistill.config import load_run, load_task
from chartdistill.curate import curate
from chartdistill.errors import ConfigError, TrainingError
from chartdistill.metrics import score_arm
from chartdistill.prepare import prepare
from chartdistill.rules import known_names, predict_by_rules, read
from chartdistill.schema import Item, Label, Prediction, Record, Task
from chartdistill.store import RowWriter, make_folder, read_rows, require_manifest, write_text
from chartdistill.study import draw, load_study, parts_of, study
from chartdistill.study_scores import crossing, pool
from conftest import ROOT
from test_interventions import TASKS, charts

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")


def test_draws_of_a_seed_are_nested_and_of_others_differ() -> None:
    names = [f"r{i}" for i in range(50)]
    assert draw(names, 5, 1) < draw(names, 20, 1) < draw(list(reversed(names)), 50, 1) == set(names)
    assert draw(names, 20, 1) != draw(names, 20, 2)


def test_the_shipped_study_is_valid_and_counts_its_parts() -> None:
    options = load_study(ROOT / "configs/study-demo.yaml")
    assert options.config.exists()
    parts = parts_of(options)
    assert len(parts) == len(set(parts)) == 5 * 3 + 4 * 3, "five arms at the largest size, four more sizes of the curve"
    assert {(part.size, part.arm) for part in parts if part.arm != "distilled_filtered"} == {
        (400, arm) for arm in options.arms if arm != "distilled_filtered"
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sizes": []}, "sizes"),
        ({"curve": ["gold_trained"], "arms": ["self_raw"]}, "curve names gold_trained"),
        ({"arm": ["self_raw"]}, "arm: Extra inputs"),
    ],
)
def test_a_wrong_study_is_refused(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    values = {"name": "s", "config": "demo.yaml", "run_dir": str(tmp_path), "sizes": [2]} | change
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=problem):
        load_study(path)


def test_where_the_curve_crosses() -> None:
    def points(*gaps: float | None) -> list[dict[str, object]]:
        return [{"size": 100 * 4**place, "gap_to_teacher": {"value": gap}} for place, gap in enumerate(gaps)]

    assert crossing(points(-0.2, -0.1, 0.1)) == {"size": 800, "between": [400, 1600]}
    assert crossing(points(-0.2, -0.1))["reason"] == "below the teacher at every size up to 400"
    assert "from the smallest size on" in crossing(points(0.1, 0.2))["reason"]
    assert crossing(points(None, 0.2))["size"] is None


def test_pooling_seeds_changes_no_ratio_and_no_interval() -> None:
    records = charts(12)
    rows = [
        Prediction(
            key="", record=r.id, task="medication", arm="base", completion="", items=(r.gold or {})["medication"][:1]
        )
        for r in records.values()
    ]  # fmt: skip
    spread = {
        f"{r.id}@{seed}": r.model_copy(update={"id": f"{r.id}@{seed}"}) for r in records.values() for seed in (1, 2)
    }
    parts = {"base": rows, "x-n4-s1": rows, "x-n4-s2": rows}
    pooled = pool(parts, [1, 2])
    assert {name: len(found) for name, found in pooled.items()} == {("base", None): 24, ("x", 4): 24}
    once = score_arm(rows, records, [MEDICATION], resamples=300)["medication"]["joint_f1"]
    twice = score_arm(pooled["x", 4], spread, [MEDICATION], resamples=300)["medication"]["joint_f1"]
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    assert twice.n == 2 * once.n


def test_rules_read_what_rules_can() -> None:
    text = (
        "A man with pain. Stop Yasadol and begin Febenor 5 mg. He is allergic to Tirolix. His mother takes Bisolan.\n"
        "He has asthma. No evidence of gout. Order an EEG. EEG was normal. Prognosis is guarded."
    )
    said = read(text, MEDICATION, ())
    assert {(item.text, item.status) for item in said} >= {("Yasadol", "stop")}
    assert not any(item.text == "Bisolan" for item in said)
    by_name = {task.name: task for task in TASKS}
    assert read(text, by_name["diagnosis"], ("asthma", "gout")) == (Item(text="asthma"),)
    assert read(text, by_name["tests"], ("EEG",)) == (Item(text="EEG"),)
    assert read(text, by_name["prognosis"], ()) == (Item(text="guarded"),)
    learned = known_names((task, items) for r in charts(80, seed=9).values() for task, items in (r.gold or {}).items())
    records = charts(40)
    found = score_arm(predict_by_rules(records.values(), TASKS, learned), records, TASKS, resamples=100)
    assert 0.3 < (found["all"]["f1"].value or 0) < 0.95, "better than nothing, worse than reading"


class Runner:
    """Runs prepare and curate as they are; labels are the gold, with a false drug in every other; training is done."""

    def __init__(self, adapter: Path) -> None:
        self.adapter = adapter
        self.ran: list[tuple[str, str]] = []

    def __call__(self, config: Path, first: str, last: str) -> None:
        run = load_run(config)
        self.ran.append((config.parent.name, last))
        if first == "prepare":
            prepare(run.config.records, run.dir / "records", run.config.prepare)
        if last == "label":
            self.label(run.dir, run.tasks, run.config.label.strategy)
        if last == "train":
            curate(run.dir, run.tasks, run.config.filters)
            if "s2" in config.parent.name:
                raise TrainingError("the loss is not finite")
            shutil.copytree(self.adapter, run.dir / "adapter", dirs_exist_ok=True)

    def label(self, folder: Path, tasks: list[Task], strategy: str) -> None:
        with RowWriter(folder / "labels" / "labels.jsonl") as out:
            for number, record in enumerate(read_rows(folder / "records" / "records.jsonl", Record)):
                for task in tasks:
                    items = (record.gold or {})[task.name]
                    if number % 2 and task.statuses:
                        items = (*items, Item(text="Inventamol", status="start"))
                    out.write(
                        Label(
                            key=f"{record.id}{task.name}{strategy}", record=record.id, task=task.name,
                            strategy=strategy, completion=format_answer(items), finish_reason="stop", prompt_tokens=10,
                        )
                    )  # fmt: skip
        write_text(folder / "labels" / "manifest.json", json.dumps({"fingerprint": strategy, "seconds": 1.0}))


def test_a_miniature_study(tmp_path: Path, tiny_model: Path) -> None:
    from test_evaluate import write_adapter

    adapter = make_folder(tmp_path / "adapter")
    write_adapter(adapter, tiny_model)
    write_text(adapter / "manifest.json", json.dumps({"fingerprint": "trained", "seconds": 1.0}))
    model = {"model": str(tiny_model), "engine": {"type": "transformers"}}
    base = {
        "name": "mini", "run_dir": "unused", "system": "Answer.", "teacher": model, "student": model,
        "tasks": [str(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "tests")],
        "records": [
            {"type": "synthetic", "pool": "train", "count": 6, "seed": 1, "split": "train"},
            {"type": "synthetic", "pool": "heldout", "count": 2, "seed": 3, "split": "test"},
        ],
        "evaluate": {"max_answer_tokens": 8, "bootstrap_resamples": 100},
    }  # fmt: skip
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    options = {
        "name": "mini-study", "config": "base.yaml", "run_dir": str(tmp_path / "study"), "sizes": [2, 4],
        "seeds": [1, 2], "arms": ["distilled_raw", "distilled_filtered", "gold_trained"],
        "curve": ["distilled_filtered"],
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(options))
    runner = Runner(adapter)
    figures = study(tmp_path / "study.yaml", runner)
    folder = tmp_path / "study"
    assert set(figures["failed"]) == {
        part.name for part in parts_of(load_study(tmp_path / "study.yaml")) if part.seed == 2
    }
    assert set(figures["arms"]) == {
        "teacher_chain", "teacher_direct", "base", "rules", "distilled_raw", "distilled_filtered", "gold_trained",
    }  # fmt: skip
    assert [point["size"] for point in figures["curve"]["distilled_filtered"]] == [2, 4]
    assert figures["differences"]["distilled_filtered-teacher_chain"]["all"]["joint_f1"]["value"] < 0
    texts = {
        name: (folder / "parts" / f"{name}-n4-s1" / "curated" / "train.jsonl").read_text()
        for name in ("distilled_raw", "distilled_filtered", "gold_trained")
    }
    assert "Inventamol" in texts["distilled_raw"]
    assert "Inventamol" not in texts["distilled_filtered"] + texts["gold_trained"]
    labels = list(read_rows(folder / "parts" / "distilled_filtered-n2-s1" / "labels" / "labels.jsonl", Label))
    assert len({label.record for label in labels}) == 2
    assert len(figures["answers"]) == 6
    assert all(entry["answer"] for entry in figures["answers"])
    assert any("not known" in entry["answer"] for entry in figures["answers"]), "nothing taught itself here"
    page, text = (folder / "study.html").read_text(), (folder / "study.md").read_text()
    assert "<svg" in page
    assert "Can a model teach itself?" in page
    assert "the loss is not finite" in text
    assert "synthetic charts" in text
    records = read_rows(folder / "teacher" / "records" / "records.jsonl", Record)
    assert not any(record.text[:30] in page + text for record in records)
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "predictions").glob("*.jsonl")}
    marks = require_manifest(folder / "parts" / "distilled_raw-n4-s1" / "curated", "curate")
    again = study(tmp_path / "study.yaml", runner)
    assert again["arms"] == figures["arms"]
    assert require_manifest(folder / "parts" / "distilled_raw-n4-s1" / "curated", "curate") == marks
    assert len(stamps) == 1 + 4
