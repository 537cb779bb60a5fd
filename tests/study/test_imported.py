"""An API version's file as a study takes it in: what becomes of each line, and the made-up sample of one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from chartdistill.config import Run, load_run
from chartdistill.curation.audit import LineVerdict, audit
from chartdistill.demo.api_version import api_version_lines
from chartdistill.errors import ConfigError, InputError
from chartdistill.records.prepare import prepare
from chartdistill.run_file import derive
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import Label, Record
from chartdistill.study.imported import import_counts, import_labels
from chartdistill.study.options import ImportOptions, load_study
from chartdistill.study.runs import imported_labels
from places import ROOT
from study_files import write_study

CHART = (
    "HISTORY: A man of 60 with a cough for three weeks. He takes Febenor 5 mg daily. He stopped smoking years ago.\n"
    "ASSESSMENT: Bronchitis.\nPLAN: Start Yasadol 10 mg. Order a chest x-ray next week. Return in a month."
)


def line(chart: str, task: str, completion: str) -> str:
    return json.dumps({"prompt": f"{chart}\n\nLIST ALL {task}: ", "completion": f" {completion}"})


def prepared(folder: Path, model: Path) -> Run:
    """A run of medication and tests, with six training records and two test records."""
    base = load_run(load_study(write_study(folder, model, {"sizes": [2]})).config)
    run = load_run(derive(base, folder / "teacher", {}))
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    return run


def test_every_line_is_taken_or_counted(tmp_path: Path, tiny_model: Path) -> None:
    shared = prepared(tmp_path, tiny_model)
    test = [r for r in read_rows(shared.dir / "records" / "records.jsonl", Record) if r.split == "test"]
    path = tmp_path / "api.jsonl"
    lines = [
        line(CHART, "MEDICATION", "Febenor, Yasadol"),
        line(CHART, "TESTS", "chest x-ray, Mucoral scan"),
        line(CHART, "TESTS", "chest x-ray"),
        line(CHART, "DIAGNOSIS", "Bronchitis"),
        line(test[0].text, "TESTS", "None Found"),
        "not json",
        "",
    ]
    path.write_text("\n".join(lines) + "\n")
    homes = import_labels(ImportOptions(path=path), shared, tmp_path / "study")
    assert import_counts(homes) == {
        "lines": 6, "broken": 1, "same chart and task again": 1, "other task": 1, "near a test record": 1, "labels": 2,
        "audited": 1,
    }  # fmt: skip
    rows = {name: list(read_rows(home / "labels" / "labels.jsonl", Label)) for name, home in homes.items()}
    said = {row.task: row.completion for row in rows["imported"]}
    assert said == {"medication": "Febenor | continue\nYasadol | start", "tests": "chest x-ray\nMucoral scan"}
    assert [row.task for row in rows["audited"]] == ["medication"], "the audit rejects the invented scan"
    records = list(read_rows(homes["audited"] / "records" / "records.jsonl", Record))
    assert Counter(record.split for record in records) == {"test": len(test), "train": 1}
    clusters = {record.cluster for record in records if record.split == "test"}
    assert not any(record.cluster in clusters for record in records if record.split == "train")


def test_what_a_file_puts_behind_its_texts_is_no_part_of_a_label(tmp_path: Path, tiny_model: Path) -> None:
    shared, said = prepared(tmp_path, tiny_model), []
    for behind_prompts, behind_completions in (("", ""), ("\n\n###\n\n", " END")):
        rows = [json.loads(line(CHART, task, of)) for task, of in (("MEDICATION", "Febenor"), ("TESTS", "chest x-ray"))]
        path = tmp_path / f"api{len(said)}.jsonl"
        for of in rows:
            of["prompt"], of["completion"] = of["prompt"] + behind_prompts, of["completion"] + behind_completions
        path.write_text("".join(json.dumps(of) + "\n" for of in rows))
        homes = import_labels(ImportOptions(path=path), shared, tmp_path / f"study{len(said)}")
        found = read_rows(homes["imported"] / "labels" / "labels.jsonl", Label)
        said.append({row.task: row.completion for row in found})
    assert said[0] == said[1] == {"medication": "Febenor | continue", "tests": "chest x-ray"}


def test_a_file_of_which_nothing_can_be_used_is_an_error(tmp_path: Path, tiny_model: Path) -> None:
    shared = prepared(tmp_path, tiny_model)
    path = tmp_path / "api.jsonl"
    path.write_text(line(CHART, "DIAGNOSIS", "Bronchitis") + "\n")
    with pytest.raises(InputError, match="none of its 1 lines can be used"):
        import_labels(ImportOptions(path=path), shared, tmp_path / "study")


def test_the_sample_has_the_faults_of_such_files(tmp_path: Path) -> None:
    path = tmp_path / "api.jsonl"
    path.write_text("\n".join(api_version_lines(80, seed=5)) + "\n")
    assert list(api_version_lines(80, seed=5))[:8] == list(api_version_lines(2, seed=5)), "a larger file only adds"
    verdicts = list(audit(path))
    assert len(verdicts) == 320
    assert all(isinstance(row, LineVerdict) for row in verdicts), "every line can be read"
    rejected = Counter(row.task for row in verdicts if isinstance(row, LineVerdict) and row.verdict == "reject")
    assert 0.1 < rejected["MEDICATION"] / 80 < 0.6
    assert rejected["PROGNOSIS"] > rejected["MEDICATION"]
    assert 0.2 < rejected.total() / 320 < 0.7


def test_a_study_names_its_file_beside_itself(tmp_path: Path, tiny_model: Path) -> None:
    options = {"sizes": [2], "arms": ["audited"], "curve": [], "imported": {"path": "api.jsonl"}}
    study = load_study(write_study(tmp_path, tiny_model, options))
    assert study.imported is not None
    assert study.imported.path == tmp_path / "api.jsonl"
    assert (ROOT / "configs/study-demo.yaml").exists()


def test_a_size_that_the_file_has_no_labels_for_is_said_before_anything_is_asked(
    tmp_path: Path, tiny_model: Path
) -> None:
    shared = prepared(tmp_path, tiny_model)
    (tmp_path / "api.jsonl").write_text(line(CHART, "TESTS", "chest x-ray") + "\n")
    options = load_study(
        write_study(
            tmp_path, tiny_model, {"sizes": [2], "arms": ["audited"], "curve": [], "imported": {"path": "api.jsonl"}}
        )
    )
    with pytest.raises(ConfigError, match=r"sizes asks for 2 training records; .*audited.* has 1"):
        imported_labels(shared, tmp_path / "study", options)
