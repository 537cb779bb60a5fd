"""A vocabulary from the command line on: what it changes, when work is done again, and in which process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chartdistill.config import load_run
from chartdistill.errors import ConfigError
from chartdistill.pipeline import child_command
from chartdistill.run_file import derive
from chartdistill.runtime import run_folder
from chartdistill.schema import CuratedLabel, Label, Record
from command_line import forked
from demo_config import written
from places import ROOT

CHARTS = {
    "one": "MEDICATIONS: Quorvane 5 mg daily. He slept well and walked on the second day.",
    "two": "She has a cold. Potassium 20 mEq was given on the ward, and she went home.",
    "three": "A man with a sore thumb who waits for his bus. Nothing else is told here.",
}
ANSWERS = {"one": "None found", "two": "Potassium 20 mEq | given-once", "three": "None found"}
NAMES = "- {name: Quorvane, kind: medication}\n- {name: Potassium, not-a-drug: yes}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A run with labels, and names beside its config that it does not use yet."""
    (tmp_path / "charts").mkdir()
    for name, text in CHARTS.items():
        (tmp_path / "charts" / f"{name}.txt").write_text(text)

    def change(values: dict[str, Any]) -> None:
        values |= {
            "run_dir": str(tmp_path / "run"),
            "records": [{"type": "folder", "path": "charts"}],
            "tasks": [str(ROOT / "configs/tasks/medication.yaml")],
            "filters": [{"type": name} for name in ("format", "kind", "abstention")],
            "gates": [],
        }

    path = written(tmp_path, change)
    done = forked("prepare", str(path), "--quiet")
    assert done.returncode == 0, done.stderr
    labels = tmp_path / "run" / "labels"
    started = run_folder.begin(labels)
    records = list(run_folder.read_rows(tmp_path / "run" / "records" / "records.jsonl", Record))
    with run_folder.RowWriter(labels / "labels.jsonl") as rows:
        for record in records:
            completion = ANSWERS[Path(record.source).stem]
            rows.write(
                Label(key=record.id, record=record.id, task="medication", strategy="direct", completion=completion)
            )
    run_folder.write_manifest(labels, "labelled", started)
    (tmp_path / "names.yaml").write_text(NAMES)
    return path


def with_names(config: Path, name: str | None) -> None:
    lines = [line for line in config.read_text().splitlines() if not line.startswith("vocabulary:")]
    config.write_text("\n".join([*lines, *([] if name is None else [f"vocabulary: {name}"])]) + "\n")


def curated(config: Path) -> tuple[dict[str, Any], set[str]]:
    """The manifest and the reasons, of a `curate` in a process of its own."""
    done = forked("curate", str(config), "--quiet")
    assert done.returncode == 0, done.stderr
    folder = config.parent / "run" / "curated"
    rejected = run_folder.read_rows(folder / "rejected.jsonl", CuratedLabel)
    reasons = {rejection.reason for row in rejected for rejection in row.rejections}
    return json.loads((folder / "manifest.json").read_text()), reasons


@pytest.mark.slow
def test_labels_are_curated_again_when_the_vocabulary_changes(config: Path) -> None:
    plain, reasons = curated(config)
    assert reasons == set()
    assert "vocabulary" not in plain["options"]
    assert curated(config)[0]["fingerprint"] == plain["fingerprint"]
    with_names(config, "names.yaml")
    named, reasons = curated(config)
    assert reasons == {"false_none", "not_a_drug"}
    assert named["options"]["vocabulary"]["entries"] == 2
    assert curated(config)[0] == named, "nothing changed, nothing to do"
    with (config.parent / "names.yaml").open("a") as more:
        more.write("# a remark\n")
    assert curated(config)[0] == named, "it says the same"
    (config.parent / "names.yaml").write_text("- {name: Quorvane, kind: medication}\n")
    fewer, reasons = curated(config)
    assert reasons == {"false_none"}
    assert len({made["fingerprint"] for made in (plain, named, fewer)}) == 3
    with_names(config, None)
    assert curated(config)[0]["fingerprint"] == plain["fingerprint"], "as before there were vocabularies"


def test_child_processes_and_study_parts_read_the_same_file(config: Path, tmp_path: Path) -> None:
    with_names(config, "names.yaml")
    run = load_run(config)
    assert child_command("evaluate", [str(config)], 1, run.config.train.parallel)[4] == str(config)
    there = load_run(derive(run, tmp_path / "elsewhere" / "part", {}))
    assert there.tasks[0].vocabulary is not None
    assert there.tasks[0].vocabulary == run.tasks[0].vocabulary


def test_a_wrong_vocabulary_stops_the_run_with_its_line(config: Path) -> None:
    with_names(config, "names.yaml")
    (config.parent / "names.yaml").write_text(NAMES + "- {name: Quorvane, not-a-drug: yes}\n")
    done = forked("curate", str(config))
    assert done.returncode == 3
    assert "names.yaml:3: 'Quorvane' is not a medication here, and a medication in line 1" in done.stderr
    task = config.parent / "task.yaml"
    task.write_text((ROOT / "configs/tasks/medication.yaml").read_text() + "vocabulary: names.yaml\n")
    config.write_text(config.read_text().replace(str(ROOT / "configs/tasks/medication.yaml"), str(task)))
    with pytest.raises(ConfigError, match=r"task\.yaml: vocabulary: unknown option; .* stands in the config"):
        load_run(config)


@pytest.mark.slow
def test_audit_judges_by_it(tmp_path: Path) -> None:
    file, names = tmp_path / "file.jsonl", tmp_path / "names.csv"
    lines = [
        {"prompt": f"{CHARTS[name]}\n\nLIST ALL MEDICATION: ", "completion": f" {answer}"}
        for name, answer in (("one", "None found"), ("one", "Quorvane"), ("two", "Potassium"))
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    names.write_text("name,kind,not-a-drug\nQuorvane,medication,\nPotassium,,yes\n")

    def verdicts(*more: str) -> list[list[str]]:
        done = forked("audit", str(file), "--json", *more)
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["reasons"] for line in done.stdout.splitlines()]

    assert verdicts() == [[], [], []]
    assert verdicts("--vocabulary", str(names)) == [["false_none"], [], ["not_a_drug"]]
    names.write_text("name,kind\nQuorvane,medcation\n")
    done = forked("audit", str(file), "--vocabulary", str(names))
    assert done.returncode == 3
    assert "names.csv:2: unknown kind 'medcation'" in done.stderr


@pytest.mark.slow
def test_scores_match_by_it_and_say_so(tmp_path: Path) -> None:
    gold, answers, names = (tmp_path / name for name in ("gold.jsonl", "answers.jsonl", "names.yaml"))
    text = "Start QRV 5 mg. He has OD4 since 2011."
    gold.write_text(json.dumps({"id": "a", "text": text, "gold": {"medication": ["QRV"], "diagnosis": ["OD4"]}}) + "\n")
    said = {"medication": {"items": ["Quorvane 5 mg"]}, "diagnosis": {"items": ["Ottering disease"]}}
    answers.write_text(json.dumps({"id": "a", "tasks": said}) + "\n")
    names.write_text(
        "- {name: Quorvane, kind: drug, same-as: QRV}\n- {name: OD4, kind: diagnosis, same-as: Ottering disease}\n"
    )

    def scores(*more: str) -> dict[str, Any]:
        out = tmp_path / "scores.json"
        done = forked("score", str(answers), str(gold), "--out", str(out), "--overwrite", *more)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(out.read_text())
        return found

    before, after = scores(), scores("--vocabulary", str(names))
    for task in ("medication", "diagnosis"):
        assert before["arms"]["answers"][task]["f1"]["value"] == 0
        assert before["arms"]["answers"][task]["invented_rate"]["value"] == 1
        assert after["arms"]["answers"][task]["f1"]["value"] == 1
        assert after["arms"]["answers"][task]["invented_rate"]["value"] == 0
    assert "vocabulary" not in before["matching"]
    assert len(after["matching"]["vocabulary"]) == 16
