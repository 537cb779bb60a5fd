"""The verb `train` where the student also learns from its own answers, which the teacher scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import load_run
from chartdistill.errors import ConfigError, TrainingError
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.run_folder import (
    read_manifest,
)
from chartdistill.training.examples import read_examples
from chartdistill.training.train import train
from curated_run import make_run, silent
from places import ROOT

OWN = {"on_policy": {"from_epoch": 0, "lmbda": 1.0, "max_new_tokens": 5}, "validation_passes": 0, "records_per_step": 1}


@pytest.mark.slow
def test_the_student_learns_from_its_own_answers(tiny_model: Path, tmp_path: Path) -> None:
    plain = train(make_run(tmp_path, tiny_model, validation_passes=0), silent)
    facts = train(run := make_run(tmp_path, tiny_model, **OWN), silent)
    own = facts["on_policy"]
    assert plain["fingerprint"] != facts["fingerprint"] and "on_policy" not in plain
    assert own["answers"] == facts["counts"]["answers"]["train"] == 7 and own["epochs"][0]["answers"] == 7
    assert 0 < own["answer_tokens"] <= 35 and 0 <= own["cut_answers"] <= 7
    assert own["divergence"] > 0 and all(own["seconds"].values())
    assert facts["teacher_sharing"]["first_step_difference"] < 1e-4 and facts["teacher"] == tiny_model.name
    assert train(run, silent)["seconds"] == facts["seconds"]
    other = {**OWN, "on_policy": {**OWN["on_policy"], "beta": 0.9}}
    assert train(make_run(tmp_path, tiny_model, **other), silent)["fingerprint"] != facts["fingerprint"]
    written = [path for path in (run.dir / "adapter").rglob("*") if path.is_file()]
    assert not [path.name for path in written if b"aspirin" in path.read_bytes()]


def test_the_teacher_reads_the_students_answers_behind_its_own_prompt(tiny_model: Path, tmp_path: Path) -> None:
    """Its worked examples are asked the questions that the student is asked, whatever `label` asks."""
    from chartdistill.training.train import _teachers_builder, _teachers_examples

    run = make_run(tmp_path, tiny_model, **OWN)
    task = yaml.safe_load((ROOT / "configs/tasks/medication.yaml").read_text())
    task["examples"] = [{"chart": "Started iron.", "answer": "iron | start"}]
    (tmp_path / "medication.yaml").write_text(yaml.safe_dump(task))
    config = yaml.safe_load((tmp_path / "run.yaml").read_text())
    config["tasks"][0] = str(tmp_path / "medication.yaml")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    run = load_run(tmp_path / "run.yaml")
    builder, student = _teachers_builder(run), run.prompt_builder("student")
    [teachers, students] = [read_examples(run.dir, run.tasks, run.config.train, b).train for b in (builder, student)]
    assert _teachers_examples(run, run.config.train, students, None) == teachers
    shown = builder.tokenizer.decode(teachers[0].prefix_ids)
    assert "Started iron." in shown and task["question"].strip()[:40] in shown and task["gate_question"] not in shown
    assert "Started iron." not in student.tokenizer.decode(students[0].prefix_ids)
    assert [b.question_ids for b in teachers[0].branches] == [b.question_ids for b in students[0].branches]
    facts = train(run, silent)
    assert facts["on_policy"]["answers"] == 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"from_epoch": 1.0}, r"on_policy\.from_epoch is 1 and epochs is 1.* set from_epoch below epochs"),
        ({"beta": 1.5}, r"train\.on_policy\.beta"),
        ({"lambda": 0.5}, r"on_policy\.lambda: .*did you mean `lmbda`"),
        ({"weight": 0}, r"train\.on_policy\.weight"),
        ({"temperature": -1}, r"train\.on_policy\.temperature"),
    ],
)
def test_options_of_on_policy_that_cannot_be_are_refused(
    change: dict[str, Any], said: str, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        make_run(tmp_path, tiny_model, **{**OWN, "on_policy": {**OWN["on_policy"], **change}})


def test_on_policy_is_refused_where_weights_are_elsewhere_or_divided(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="parallel is `fsdp`, but with on_policy"):
        make_run(tmp_path, tiny_model, parallel="fsdp", **OWN)
    run = make_run(tmp_path, tiny_model, **OWN)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match=r"FSDP distributes the weights\. Launch with configs/accelerate/ddp\.yaml"):
        train(run, silent)
    config = yaml.safe_load((tmp_path / "run.yaml").read_text())
    config["teacher"]["engine"] = {"type": "openai", "urls": ["http://127.0.0.1:9/v1"]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"train\.on_policy reads .* teacher\.engine\.urls names an endpoint"):
        load_run(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("end", "said"), [(False, "train.on_policy needs .* same vocabulary"), (True, "ends an answer")]
)
def test_a_teacher_with_other_tokens_is_refused_before_an_adapter_goes(
    end: bool, said: str, tiny_model: Path, tmp_path: Path
) -> None:
    """Other ids, or the same that end an answer otherwise."""
    import shutil

    run = make_run(tmp_path, tiny_model, validation_passes=0)
    train(run, silent)
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    tokenizer = load_tokenizer(other)
    if end:
        tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", tokenizer.all_special_tokens[-1])
    else:
        tokenizer.add_tokens(["onemore"])
    tokenizer.save_pretrained(other)
    make_run(tmp_path, tiny_model, **OWN)
    config = yaml.safe_load((tmp_path / "run.yaml").read_text())
    config["teacher"]["model"] = str(other)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(TrainingError, match=said):
        train(load_run(tmp_path / "run.yaml"), silent)
    assert (run.dir / "adapter/adapter_model.safetensors").exists() and read_manifest(run.dir / "adapter")


@pytest.mark.parametrize(
    ("changes", "thought"),
    [
        ({"teacher": {"template_options": {"enable_thinking": True}}}, ""),
        ({"label": {"thinking": {}}}, ""),
        ({}, "<think>\n"),
        ({}, "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"),
    ],
)
def test_a_teacher_that_would_think_first_is_refused(
    changes: dict[str, Any], thought: str, tiny_model: Path, tmp_path: Path
) -> None:
    """Where the student answers it would begin its thought, and teach the student to."""
    import shutil

    from chartdistill.training.train import require_teacher_beside

    folder = tmp_path / "thinking"
    shutil.copytree(tiny_model, folder)
    tokenizer = load_tokenizer(folder)
    end = "{% endif %}"
    tokenizer.chat_template = tokenizer.chat_template.replace(f"assistant\n{end}", f"assistant\n{thought}{end}")
    assert thought in tokenizer.chat_template
    tokenizer.save_pretrained(folder)
    make_run(tmp_path, tiny_model, **OWN)
    config = yaml.safe_load((tmp_path / "run.yaml").read_text())
    config["teacher"] = {"model": str(folder), **changes.get("teacher", {})}
    config |= {"label": changes["label"]} if "label" in changes else {}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(TrainingError, match=r"the teacher thinks before it answers.*enable_thinking: false"):
        require_teacher_beside(load_run(tmp_path / "run.yaml"))
    config["teacher"] = {"model": str(folder), "template_options": {"enable_thinking": False}}
    config.pop("label", None)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    require_teacher_beside(load_run(tmp_path / "run.yaml"))
