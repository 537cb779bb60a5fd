"""The model card: read as the hub reads it, figures as scored, nothing of a chart, and in nobody's way."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.evaluation.trust_gates import TrustGate
from chartdistill.metrics.catalogue import BY_NAME, GOLD_HEADLINE
from chartdistill.reporting.model_card import CARD, WEIGHTS
from chartdistill.reporting.report import report
from chartdistill.reporting.run_facts import Models
from chartdistill.runtime.run_folder import read_manifest, read_rows, write_text
from chartdistill.schema import Record
from report_run import ARMS, NUM_RECORDS, TASKS, set_in_time, write_manifest, write_run

MODELS = Models("Qwen/Qwen3-8B-FP8", "aa55da1e", "Qwen/Qwen3-0.6B", "c1899de2", "apache-2.0")
GATES = [TrustGate(metric="joint_f1", at_least=0.9, of="teacher"), TrustGate(metric="invented_rate", at_most=0.001)]
TRAINED = {"lora": {"rank": 16, "alpha": 32}, "epochs": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("run"))
    (folder / "adapter" / WEIGHTS).write_bytes(b"weights")
    write_manifest(folder / "adapter", options=TRAINED, trainable_parameters=1234567, versions={"peft": "0.21.2"})
    labelled = read_manifest(folder / "labels") or {}
    write_manifest(folder / "labels", **{**labelled, "options": {"strategy": "verify", "samples": 3}})
    curated = read_manifest(folder / "curated") or {}
    curated["counts"]["by_filter"] = {"grounding": 23, "truncation": 15}
    write_manifest(folder / "curated", **{**curated, "options": {"filters": [{"type": "grounding", "threshold": 90}]}})
    set_in_time(folder, *GATES)
    report(folder, TASKS, "Trial", GATES, True, MODELS)
    return folder


def card_of(run: Path) -> tuple[dict[str, Any], str]:
    text = (run / "adapter" / CARD).read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_front_matter_is_that_of_an_adapter(run: Path) -> None:
    front, _ = card_of(run)
    assert front["base_model"] == "Qwen/Qwen3-0.6B"
    assert front["base_model_relation"] == "adapter"
    assert front["library_name"] == "peft"
    assert front["license"] == "apache-2.0"
    assert {"lora", "chartdistill"} <= set(front["tags"])
    assert (run / "adapter" / CARD).stat().st_mode & 0o777 == 0o600


def test_every_headline_figure_is_the_one_scored(run: Path) -> None:
    _, body = card_of(run)
    scores = json.loads((run / "predictions" / "scores.json").read_text())
    tables = {part.partition("\n")[0]: part for part in re.split(r"\n##+ ", body)}
    checked = 0
    for name in GOLD_HEADLINE:
        metric = BY_NAME[name]
        rows = [line.split(" | ") for line in tables[metric.title].splitlines() if line.startswith("| ")]
        head, *found = [[field.strip("| ") for field in row] for row in rows]
        cells = {row[0]: dict(zip(head, row, strict=True)) for row in found}
        for task in ("all", *(task.name for task in TASKS)):
            row = cells["All tasks" if task == "all" else task]
            titles = {"teacher": "Teacher", "base": "Base student", "student": "Distilled student"}
            parts = {titles[arm]: (scores["arms"][arm], False) for arm in ARMS}
            parts |= {
                f"Distilled student \u2212 {titles[arm].lower()}": (scores["differences"][f"student-{arm}"], True)
                for arm in ("base", "teacher")
            }
            for title, (of, signed) in parts.items():
                figure = of[task][name]
                if figure["value"] is None:
                    assert row[title].startswith("not defined")
                    assert figure["reason"] in row[title]
                    continue
                span = metric.write_range(figure["low"], figure["high"], signed)
                assert row[title].startswith(f"{metric.write(figure['value'], signed)} ({span}, n {figure['n']}")
                checked += 1
    assert checked == 3 * 5 * 5 - 1


def test_it_says_what_it_was_made_of(run: Path) -> None:
    _, body = card_of(run)
    for line in (
        f"| Records kept | {NUM_RECORDS} |",
        "| Splits (no cluster is in two) | train 36, test 24 |",
        "| Teacher | Qwen/Qwen3-8B-FP8 |",
        "| Teacher's revision | aa55da1e |",
        "| Strategy of its questions | verify |",
        "| Trainable parameters | 1,234,567 |",
        "| train | peft | 0.21.2 |",
        f"| sha256 of {WEIGHTS} | {hashlib.sha256(b'weights').hexdigest()} |",
    ):
        assert line in body
    for stage in ("records", "labels", "curated", "adapter", "predictions"):
        assert f"| Fingerprint of {stage}/ | {stage} |" in body
    blocks = [yaml.safe_load(part.split("```")[0]) for part in body.split("```yaml\n")[1:]]
    assert blocks == [{"strategy": "verify", "samples": 3}, [{"type": "grounding", "threshold": 90}], TRAINED]
    approval = (read_manifest(run / "adapter") or {})["approval"]
    assert len(approval["gates"]) == 2
    assert all(f"- {sentence}\n" in body for sentence in approval["gates"])
    assert "One training run: how much the student would vary" in body
    assert "## What it is not for" in body


def test_it_says_how_it_is_used_and_with_which_questions(run: Path) -> None:
    _, body = card_of(run)
    use = body.partition("## How to use")[2].partition("\n## ")[0]
    assert "chartdistill predict CONFIG --run-dir RUN" in use
    assert "from_pretrained('Qwen/Qwen3-0.6B', revision='c1899de2')" in use
    assert all(f"\n{task.name}:\n\n    {task.question}\n" in use for task in TASKS)
    assert body.startswith("\n# Trial: LoRA adapter of Qwen/Qwen3-0.6B\n")
    assert "Qwen/Qwen3-8B-FP8" in body.partition("## ")[0], "whose labels it learned from"
    assert "Rejected by filter" not in body, "reasons say it once"


def test_a_question_stands_there_to_the_letter(tmp_path: Path) -> None:
    write_run(tmp_path)
    question = "List each drug as: drug | status.\nStatus is start or stop, <at once> or not."
    asked = [TASKS[0].model_copy(update={"question": question}), *TASKS[1:]]
    report(tmp_path, asked, "Asked", models=MODELS)
    use = card_of(tmp_path)[1].partition("## How to use")[2].partition("\n## ")[0]
    code = "\n".join(line[4:] for line in use.splitlines() if line.startswith("    "))
    assert code.startswith(question + "\n")


def test_nothing_of_a_chart_is_in_it_even_where_the_page_shows_text(run: Path) -> None:
    text = (run / "adapter" / CARD).read_text(encoding="utf-8")
    items = sentences = 0
    for record in read_rows(run / "records" / "records.jsonl", Record):
        assert record.id not in text
        for sentence in (part for part in record.text.split("\n") if len(part) > 25):
            sentences += 1
            assert sentence not in text
        # Prognoses are left out: some are everyday words, such as `good`.
        for item in (item for task in ("medication", "diagnosis", "tests") for item in (record.gold or {})[task]):
            items += 1
            assert item.text.lower() not in text.lower()
    assert items > 50
    assert sentences > 50
    assert not any(word in text for word in ("Inventamol", "Nosuchdrug", "a list"))


def test_without_models_scores_or_weights_it_says_so(tmp_path: Path) -> None:
    write_run(tmp_path)
    shutil.rmtree(tmp_path / "predictions")
    report(tmp_path, TASKS, "Early")
    front, body = card_of(tmp_path)
    assert "base_model" not in front
    assert "license" not in front
    assert "| Teacher | not recorded |" in body
    assert "Not scored: no figure is known." in body
    assert f"{WEIGHTS} is not there" in body
    assert "No limits (`gates:`) were set in the config" in body


def test_a_student_in_a_folder_is_named_without_its_path(tmp_path: Path) -> None:
    write_run(tmp_path)
    report(tmp_path, TASKS, "Local", models=Models("teacher", student="my-student"))
    front, _ = card_of(tmp_path)
    assert front["base_model"] == "my-student"
    assert "base_model_relation" not in front


def test_peft_loads_the_folder_with_the_card_in_it(tmp_path: Path, tiny_model: Path) -> None:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    write_run(tmp_path)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    made = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config)
    made.save_pretrained(tmp_path / "adapter")
    write_text(tmp_path / "adapter" / CARD, "PEFT's own card, which says nothing")
    report(tmp_path, TASKS, "Loaded", models=MODELS)
    assert card_of(tmp_path)[0]["base_model"] == "Qwen/Qwen3-0.6B"
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), tmp_path / "adapter").eval()
    ids = torch.tensor([[5, 6, 7]])
    torch.testing.assert_close(loaded(ids).logits, made.eval()(ids).logits)


def test_intervals_are_called_what_they_are_and_n_of_differences_what_it_counts(run: Path) -> None:
    _, body = card_of(run)
    assert "95% intervals (over clusters of near-duplicates" in body
    assert "bootstrap" not in body, "shares and F1 have limits in closed form"
    for path in ("adapter/README.md", "report/report.md", "report/report.html"):
        assert "that of all tasks counts each once for each task" in (run / path).read_text(), path
