"""A teacher with an adapter and a student that starts from one: in a config, and in a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters import make_adapter
from chartdistill.config import Run, load_run
from chartdistill.doctor.diagnosis import diagnose
from chartdistill.engines import Request, TransformersEngine
from chartdistill.errors import ConfigError, ModelError
from chartdistill.evaluation.generation import stored_answers
from chartdistill.pipeline import run_all, run_verb
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.reader import Reader
from chartdistill.reporting.terminal import plan
from chartdistill.run_file import derive
from chartdistill.runtime.adapter_folder import read_adapter
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import Record
from command_line import forked
from demo_config import written
from places import ROOT

MODELS = ROOT / "src/chartdistill/demo/models"
SMALL = {"lora_alpha": 1, "target_modules": "all-linear"}
"""Of an adapter that changes answers a little."""


def run_with(tmp_path: Path, change: Any = None, **adapters: str) -> Run:
    """The demo's run with adapters named beside its config."""

    def edit(values: dict[str, Any]) -> None:
        values["run_dir"] = str(tmp_path / "run")
        for role in ("teacher", "student"):
            values[role]["model"] = str(MODELS / role)
        for role, adapter in adapters.items():
            values[role]["adapter"] = adapter
        if change:
            change(values)

    return load_run(written(tmp_path, edit))


def test_both_roles_find_theirs_beside_the_config(tmp_path: Path) -> None:
    make_adapter(MODELS / "teacher", tmp_path / "t", rank=3)
    make_adapter(MODELS / "student", tmp_path / "s", rank=5, lora_alpha=7)
    run = run_with(tmp_path, teacher="t", student="s")
    teacher, student = run.adapter("teacher"), run.adapter("student")
    assert teacher is not None and student is not None and (teacher.rank, student.rank) == (3, 5)
    assert run.start() == (tmp_path / "s").resolve()
    assert (run.train_options().lora.rank, run.train_options().lora.alpha) == (5, 7)
    assert run.train_options().learning_rate == run.config.train.learning_rate
    run.require_usable_adapter()
    shown = plan(run)["models"]
    assert shown["teacher adapter"] == str((tmp_path / "t").resolve())
    plain = run_with(tmp_path)
    assert plain.adapter("teacher") is plain.start() is None and "teacher adapter" not in plan(plain)["models"]
    assert plain.model_mark("teacher") != run.model_mark("teacher")


def test_a_study_of_the_run_has_them_too(tmp_path: Path) -> None:
    make_adapter(MODELS / "student", tmp_path / "s", rank=5)
    run = run_with(tmp_path, student="s")
    derived = load_run(derive(run, tmp_path / "elsewhere/part", {"train": {"seed": 3}}))
    assert derived.start() == run.start() and derived.train_options().lora == run.train_options().lora
    itself = derive(run, tmp_path / "self", {"teacher": run.config.student.model_dump(mode="json")})
    assert load_run(itself).adapter("teacher") == run.adapter("student")


def served(values: dict[str, Any]) -> None:
    for role in ("teacher", "student"):
        values[role]["engine"] = {"type": "openai", "urls": ["http://127.0.0.1:9/v1"]}


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_an_endpoint_with_an_adapter_is_an_error_of_the_config(tmp_path: Path, role: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"{role}\.adapter: {role}\.engine\.urls is http.*cannot be given an adapter"
    ):
        run_with(tmp_path, served, **{role: "a"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "adapter", "change", "kind", "message"),
    [
        ("teacher", "none", None, ModelError, "adapter folder .*none does not exist"),
        ("student", "run/adapter", None, ConfigError, "student.adapter is .*, where this run writes its own"),
        ("teacher", "narrow", None, ModelError, "is not for the model"),
        ("student", "big", None, ConfigError, "rank is 520, and vLLM serves.*student.engine.type: transformers"),
        ("student", "fits", {"rank": 16}, ConfigError, "rank is 16, the adapter's is 4"),
    ],
)
def test_what_cannot_work_is_said_before_anything_long(
    tmp_path: Path, tiny_model: Path, role: str, adapter: str, change: Any, kind: type[Exception], message: str
) -> None:
    made = {"narrow": (tiny_model, 4), "big": (MODELS / "student", 520), "fits": (MODELS / "student", 4)}
    if adapter in made:
        make_adapter(made[adapter][0], tmp_path / adapter, rank=made[adapter][1])

    def lora(values: dict[str, Any]) -> None:
        values["train"]["lora"] = change or {}

    run = run_with(tmp_path, lora, **{role: adapter})
    with pytest.raises(kind, match=message):
        run.train_options() if role == "student" else run.adapter("teacher")
    found = diagnose(run)
    assert not found.go
    [line] = [check for check in found.checks if check.name == f"{role} adapter"]
    assert line.state == "no" and line.remedy
    done = forked("run", str(tmp_path / "run.yaml"))
    assert done.returncode == kind("").exit_code, done.stderr  # type: ignore[attr-defined]
    assert not (tmp_path / "run/records").exists(), "it was said before any work"


def facts(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text()))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.vllm
def test_a_whole_run_with_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        monkeypatch.setattr("chartdistill.pipeline.run_to_end", lambda _: pytest.fail("no card, and yet a process"))
    make_adapter(MODELS / "teacher", tmp_path / "t", rank=3, **SMALL)
    start = make_adapter(MODELS / "student", tmp_path / "s", rank=12, **SMALL)

    def small(values: dict[str, Any]) -> None:
        for source, count in zip(values["records"], (16, 4, 6), strict=True):
            source["count"] = count
        for role in ("teacher", "student"):
            values[role]["engine"] = {"type": "vllm", "dtype": "float32"}
        values["train"] |= {"epochs": 1, "validation_passes": 1, "validation_records": 2}
        values["evaluate"] |= {"bootstrap_resamples": 200, "interventions": {"records": 0}}
        values["gates"] = []

    run = run_with(tmp_path, small, teacher="t", student="s")
    run_all(run)
    labels, trained, answered = (facts(run.dir / stage) for stage in ("labels", "adapter", "predictions"))
    assert labels["teacher_adapter"] == {"name": "t", "sha256": read_adapter(tmp_path / "t").mark}
    assert trained["student_adapter"] == answered["student_adapter"] == read_adapter(start).facts()
    assert trained["options"]["lora"]["rank"] == 12 and trained["options"]["lora"]["alpha"] == 1
    result = read_adapter(run.dir / "adapter")
    assert result.rank == 12 and result.shapes.keys() == read_adapter(start).shapes.keys()
    card = (run.dir / "adapter/README.md").read_text()
    assert f"t, SHA-256 {read_adapter(tmp_path / 't').mark}" in card and "Adapter the student started from" in card

    # The arm `base` is the student as it started: the model with that adapter.
    builder = PromptBuilder.from_tokenizer(load_tokenizer(MODELS / "student"), run.config.system)
    base = {(row.record, row.task): row.completion for row in stored_answers(run.dir / "predictions/base.jsonl")}
    records = [row for row in read_rows(run.dir / "records/records.jsonl", Record) if row.split == "test"][:3]
    from chartdistill.prompting.answer_format import answer_pattern

    asked = [(record, task) for record in records for task in run.tasks]
    requests = [
        Request(
            builder.prompt(r.text, t.question), 160, builder.end_id, pattern=answer_pattern(t), ends_repetition=True
        )
        for r, t in asked
    ]
    with TransformersEngine(dtype="float32").open(MODELS / "student") as generator:
        told = [answer.text for answer in generator.generate(requests, start)]
        alone = [answer.text for answer in generator.generate(requests)]
    assert [base[record.id, task.name] for record, task in asked] == told
    assert told != alone

    with Reader(run.dir) as reader:
        reading = reader.read(records[0].text)
    assert {item.task for item in reading.items} | reading.failures.keys() <= {task.name for task in run.tasks}

    # Other adapters make what came of them old, and only that.
    make_adapter(MODELS / "student", start, rank=12, seed=2, **SMALL)
    run_all(load_run(tmp_path / "run.yaml"), last="train")
    assert facts(run.dir / "labels") == labels and facts(run.dir / "adapter")["fingerprint"] != trained["fingerprint"]
    make_adapter(MODELS / "teacher", tmp_path / "t", rank=3, seed=2, **SMALL)
    run_verb(load_run(tmp_path / "run.yaml"), "label")
    assert facts(run.dir / "labels")["fingerprint"] != labels["fingerprint"]
