"""Rounds from end to end, with real training and a real engine: what is handed on, when it ends, what it says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from chartdistill.config import Run, load_run
from chartdistill.erasure.erase import erase
from chartdistill.errors import ArtefactError, ConfigError, InputError
from chartdistill.rounds.labels import STRATEGY, num_kept, rejected_questions
from chartdistill.rounds.rounds import _ask, rounds
from chartdistill.run_file import read_run
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import CuratedLabel, Label, Record
from command_line import forked
from rounds_run import INVENTED, here, made, write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, Any]]:
    run = made(tmp_path_factory.mktemp("rounds"))
    return run, rounds(run, here)


def labels(home: Path) -> dict[tuple[str, str], Label]:
    return {(row.record, row.task): row for row in read_rows(home / "labels" / "labels.jsonl", Label)}


def test_only_what_was_rejected_is_asked_again_and_only_of_training_records(
    finished: tuple[Run, dict[str, Any]],
) -> None:
    run, figures = finished
    asked = {(record.id, task.name) for record, task, _ in rejected_questions(run)}
    train = {r.id for r in read_rows(run.dir / "records" / "records.jsonl", Record) if r.split == "train"}
    assert len(asked) == 8 == figures["rounds"][0]["asked_again"] and {record for record, _ in asked} <= train
    before, after = labels(run.dir), labels(run.dir / "rounds" / "1")
    assert before.keys() == after.keys()
    for place, label in after.items():
        if place in asked:
            assert label.strategy == STRATEGY and INVENTED[place[1]].text not in (label.completion or "")
        else:
            assert label == before[place]


def test_what_the_student_says_is_filtered_and_its_worth_is_told_from_gold(
    finished: tuple[Run, dict[str, Any]],
) -> None:
    run, figures = finished
    home = run.dir / "rounds" / "1"
    assert figures["kept"][1] == num_kept(home) > figures["kept"][0] == num_kept(run.dir) == 8
    added = figures["rounds"][1]["added"]
    assert added["labels"] == figures["kept"][1] - figures["kept"][0]
    assert added["precision"]["value"] > 0.8  # the student is a model that reads such charts
    assert figures["rounds"][0]["added"] is None
    judged = {(row.record, row.task) for name in ("kept", "rejected")
              for row in read_rows(home / "curated" / f"{name}.jsonl", CuratedLabel)}  # fmt: skip
    assert judged == labels(home).keys()


def test_it_ends_with_a_reason_and_the_choice_is_that_of_validation_records(
    finished: tuple[Run, dict[str, Any]],
) -> None:
    run, figures = finished
    values = [one["validation"]["value"] for one in figures["rounds"]]
    assert values[figures["chosen"]] == max(values) and figures["chosen"] == values.index(max(values))
    gains = [one["gain"]["value"] for one in figures["rounds"][1:]]
    assert all(gain > 0 for gain in gains[:-1])  # else it would have ended before
    assert figures["ended"] and figures["reference"] == {"what": "gold", "records": 4}
    page = (run.dir / "rounds" / "rounds.md").read_text()
    assert figures["ended"] in page and f"Round {figures['chosen']} is chosen" in page
    for record in read_rows(run.dir / "records" / "records.jsonl", Record):
        assert " ".join(record.text.split()[:6]) not in page


def test_a_round_is_a_run_folder_for_other_verbs(finished: tuple[Run, dict[str, Any]]) -> None:
    run, _ = finished
    home = run.dir / "rounds" / "1"
    assert read_run(home).dir == home
    derived = load_run(home / "config.yaml")
    assert derived.teacher_labels == run.teacher_labels and derived.config.rounds == 0
    before = labels(home)
    with pytest.raises(ArtefactError, match="--from curate"):
        here(derived, "prepare", "train")  # would take the teacher's labels in the place of the round's
    here(derived, "curate", "train")
    assert labels(home) == before


def test_a_second_call_does_nothing_again(finished: tuple[Run, dict[str, Any]]) -> None:
    run, figures = finished

    def state() -> dict[str, Any]:
        stored = {str(path): path.read_bytes() for path in run.dir.rglob("answers/*.jsonl")}
        return stored | {str(path): path.stat().st_mtime_ns for path in run.dir.rglob("manifest.json")}

    before = state()
    again = rounds(run, here)
    assert state() == before
    for one in (*again["rounds"], *figures["rounds"]):
        one.pop("seconds")  # of answers that were stored nothing is known
    assert again == figures


def test_a_torn_round_is_taken_up(finished: tuple[Run, dict[str, Any]], tmp_path: Path) -> None:
    run, figures = finished
    copy = load_run(write_config(tmp_path, run_dir=str(tmp_path / "run")))
    shutil.copytree(run.dir, copy.dir, symlinks=True)
    (copy.dir / "rounds" / "1" / "records").unlink()
    (copy.dir / "rounds" / "1" / "labels" / "manifest.json").unlink()
    (copy.dir / "rounds" / "1" / "labels" / "labels.jsonl").write_text('{"torn')
    (copy.dir / "rounds" / "rounds.json").unlink()
    assert rounds(copy, here)["kept"] == figures["kept"]


def test_a_student_that_was_trained_again_is_asked_itself(finished: tuple[Run, dict[str, Any]], tmp_path: Path) -> None:
    """From the same, so that the manifest is as it was, but to other weights."""
    run, _ = finished
    copy = load_run(write_config(tmp_path, run_dir=str(tmp_path / "run")))
    shutil.copytree(run.dir, copy.dir, symlinks=True)
    before = _ask(copy, 0, copy, copy.dir / "rounds")
    assert before.seconds == dict.fromkeys(before.seconds)  # stored
    path = copy.dir / "adapter/adapter_model.safetensors"
    save_file({name: torch.randn_like(tensor) for name, tensor in load_file(path).items()}, path)
    after = _ask(copy, 0, copy, copy.dir / "rounds")
    assert all(after.seconds.values()) and [row.completion for row in after.held_out] != [
        row.completion for row in before.held_out
    ]


def test_an_erased_record_is_in_no_round(finished: tuple[Run, dict[str, Any]], tmp_path: Path) -> None:
    run, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(run.dir, copy, symlinks=True)
    link = copy / "rounds" / "1" / "records"
    link.unlink()
    link.symlink_to(copy / "records", target_is_directory=True)
    gone = rejected_questions(run)[0][0]
    said: list[str] = []
    erase([copy], [gone.id], say=said.append)
    assert any("proof: none of the" in line for line in said)
    words = gone.text.split()
    for path in copy.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            assert " ".join(words[3:8]) not in text and f'"{gone.id}"' not in text, path
    assert any("rounds/1/adapter" in line for line in said)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"rounds": 0}, ConfigError, "rounds: 3"),
        ({"evaluate": {"split": "validation"}}, ConfigError, "evaluate.split: test"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    changes: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    run = made(tmp_path, **changes)
    with pytest.raises(error, match=said):
        rounds(run, here)
    assert not run.dir.exists()


def test_without_validation_records_nothing_could_choose(tmp_path: Path) -> None:
    run = made(tmp_path)
    few = [source for source in run.config.records if source.split != "validation"]
    run = load_run(write_config(tmp_path, records=[one.model_dump(mode="json", exclude_none=True) for one in few]))
    with pytest.raises(InputError, match="validation_fraction"):
        rounds(run, here)


def test_nothing_rejected_ends_it_at_round_0_and_the_verb_says_so(tmp_path: Path) -> None:
    done = forked("rounds", str(write_config(tmp_path, num_wrong=0, rounds=1)))
    assert done.returncode == 0, done.stderr
    assert "round 0 rejected nothing. Chosen by validation records: round 0" in done.stdout
    figures = json.loads((tmp_path / "run" / "rounds" / "rounds.json").read_text())
    assert "Traceback" not in done.stderr and figures["chosen"] == 0 and len(figures["rounds"]) == 1
    assert "nothing can be said" in (tmp_path / "run" / "rounds" / "rounds.md").read_text()
