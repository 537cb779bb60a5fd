"""`evaluate` by several engines: real processes, together the answers and scores of one, whatever becomes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import Run, load_run, load_task
from chartdistill.evaluation.arms import _slowest
from chartdistill.evaluation.evaluate import evaluate
from chartdistill.evaluation.generation import Sheet, cost_of, plain_questions
from chartdistill.records.prepare import prepare
from chartdistill.runtime.run_folder import read_manifest, read_rows
from chartdistill.runtime.shards import Shard
from chartdistill.schema import Prediction, Record
from evaluation_run import write_what_train_needs_and_leaves
from labelling_run import config, silent
from places import ROOT
from started_shards import Shards

ANSWERS = (
    "base.jsonl", "student.jsonl", "student_constrained.jsonl", "variants/base.jsonl", "variants/student.jsonl",
    "validation/student.jsonl",
)  # fmt: skip
_TIMES = ("seconds", "seconds_per_record")


def made(folder: Path, model: Path, engine: dict[str, Any], tokens: int = 12, scored: int = 6) -> Run:
    """A run up to `train`, with a file for the processes to read. No answer depends on what stands in its batch."""
    path = config(folder, model)
    values = yaml.safe_load(path.read_text())
    values["records"] = [
        {"type": "synthetic", "pool": "train", "count": 2, "seed": 1, "split": "train"},
        {"type": "synthetic", "pool": "train", "count": 2, "seed": 2, "split": "validation"},
        {"type": "synthetic", "pool": "heldout", "count": scored, "seed": 3, "split": "test"},
    ]
    values["student"]["engine"] = engine
    values["evaluate"] = {
        "max_answer_tokens": tokens, "bootstrap_resamples": 100, "also": ["student constrained"],
        "interventions": {"records": 1, "edited_records": 1, "resamples": 1},
    }  # fmt: skip
    values.pop("gates", None)
    path.write_text(yaml.safe_dump(values))
    run = load_run(path)
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    write_what_train_needs_and_leaves(run, model)
    return run


def one_by_one(**options: int) -> dict[str, Any]:
    return {"type": "transformers", "batch_size": 1, **options}


def require_same_answers(run: Run, whole: Run) -> None:
    """Row by row; log-probabilities but for what another number of threads sums in another order."""
    for name in ANSWERS:
        own, other = (list(read_rows(one.dir / "predictions" / name, Prediction)) for one in (run, whole))
        assert len(own) == len(other) > 0
        for row, of_one in zip(own, other, strict=True):
            assert row.model_copy(update={"logprobs": None}) == of_one.model_copy(update={"logprobs": None})
            assert logprobs_of(row) == pytest.approx(logprobs_of(of_one), abs=1e-3)


def logprobs_of(row: Prediction) -> list[float]:
    return [value for item in row.logprobs or () for value in (*item.text, *item.status)]


def scores_of(run: Run) -> Any:
    """All but how sure the student is, which hangs on the last digits of log-probabilities."""
    scores = json.loads((run.dir / "predictions" / "scores.json").read_text())
    return without_times({name: value for name, value in scores.items() if name != "confidence"})


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in _TIMES}
    return value


def evaluate_command(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "chartdistill", "evaluate", str(folder / "run.yaml")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Run:
    """What one engine answers."""
    run = made(tmp_path_factory.mktemp("whole"), tiny_model, one_by_one())
    manifest = evaluate(run, silent)
    assert (manifest["engines"], manifest["cards"]) == (1, 0), "there is no card here"
    return run


@pytest.mark.slow
def test_answers_and_scores_are_those_of_one_engine_and_progress_is_one_count(
    tmp_path: Path, tiny_model: Path, whole: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path, tiny_model, one_by_one(replicas=3))
    told: list[tuple[int, int | None, int]] = []
    manifest = evaluate(run, lambda done, total=None, tokens=0: told.append((done, total, tokens)))
    require_same_answers(run, whole)
    assert scores_of(run) == scores_of(whole)
    assert "evaluate: 3 engines share the records\n" in capfd.readouterr().err
    rows = [row for name in ANSWERS for row in read_rows(run.dir / "predictions" / name, Prediction)]
    assert {total for _, total, _ in told} == {len(rows) // len(run.tasks)}
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1][0] == told[-1][1]
    assert told[-1][2] == sum(row.prompt_tokens + row.completion_tokens for row in rows)
    assert manifest["engines"] == 3
    asked = {name: value for name, value in manifest["arm_seconds"].items() if name != "teacher"}
    assert set(asked) == {
        "base", "student", "student constrained", "interventions base", "interventions student", "confidence"
    }  # fmt: skip
    assert all(value > 0 for value in asked.values()), "each was asked whole, at once"
    assert sum(asked.values()) < manifest["seconds"], "they work side by side: the slowest counts, not the sum"
    assert not list(run.dir.rglob("*.shards"))
    again = evaluate(run, lambda *_: pytest.fail("all is done"))
    assert again == json.loads(json.dumps(manifest, default=str))


@pytest.mark.slow
def test_a_killed_engine_is_named_and_its_shard_alone_is_asked_again(
    tmp_path: Path, tiny_model: Path, whole: Run
) -> None:
    run = made(tmp_path, tiny_model, one_by_one(replicas=2))
    predictions = run.dir / "predictions"
    first = evaluate_command(tmp_path)
    shards = Shards(first, kill="1/2", when=predictions / "base.shards" / "shard-1-of-2.jsonl")
    _, said = first.communicate(timeout=1200)
    assert shards.seen == {"0/2", "1/2"}
    assert first.returncode != 0
    assert "shard 1/2 on engine 2 of 2 was ended by signal 9" in said and "same command again" in said
    assert "shard 0/2 on" not in said
    assert (predictions / "validation" / "student.shards" / "shard-0-of-2.jsonl").exists(), "the other went to its end"
    kept = (predictions / "base.shards" / "shard-1-of-2.jsonl").read_bytes()
    assert kept and not (predictions / "manifest.json").exists()
    second = evaluate_command(tmp_path)
    shards = Shards(second)
    _, said = second.communicate(timeout=1200)
    assert second.returncode == 0, said
    assert shards.seen == {"1/2"}
    assert "evaluate: 2 engines share the records; still to ask: engine 2 of 2" in said
    require_same_answers(run, whole)
    assert scores_of(run) == scores_of(whole)
    manifest = read_manifest(predictions)
    assert manifest is not None
    assert manifest["arm_seconds"]["base"] is None, "half of it was stored: its time was not measured"
    assert not list(run.dir.rglob("*.shards"))


@pytest.mark.slow
def test_what_one_engine_began_two_go_on_with_and_what_fails_is_asked_once(
    tmp_path: Path, tiny_model: Path, whole: Run
) -> None:
    """A kill in the midst of one engine's work leaves a journal; an answer of it is marked, to be known again."""
    run = made(tmp_path, tiny_model, one_by_one(replicas=2))
    folder = run.dir / "predictions"
    folder.mkdir()
    lines = (whole.dir / "predictions" / "base.jsonl").read_text().splitlines()
    marked = [json.dumps({**json.loads(line), "prompt_tokens": 77}) for line in lines[:5]]
    (folder / "base.journal.jsonl").write_text("\n".join([*marked, lines[5][:40]]))
    charts = (run.dir / "records" / "records.jsonl").read_text().splitlines()
    long = json.loads(charts[-1])
    long["text"] += " The patient feels well." * 900  # longer than the model
    (run.dir / "records" / "records.jsonl").write_text("\n".join([*charts[:-1], json.dumps(long)]) + "\n")
    command = evaluate_command(tmp_path)
    shards = Shards(command)
    _, said = command.communicate(timeout=1200)
    assert command.returncode == 0, said
    assert shards.seen == {"0/2", "1/2"}
    rows = list(read_rows(folder / "base.jsonl", Prediction))
    assert [row.prompt_tokens for row in rows[:5]] == [77] * 5, "not asked again"
    assert [(row.record, row.task) for row in rows] == [
        (row.record, row.task) for row in read_rows(whole.dir / "predictions" / "base.jsonl", Prediction)
    ]
    failed = [row for row in rows if row.failure]
    assert {row.record for row in failed} == {long["id"]} and "prompt_too_long" in str(failed[0].failure)


@pytest.mark.slow
def test_a_shard_by_hand_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    made(tmp_path, tiny_model, one_by_one())
    command = [sys.executable, "-m", "chartdistill", "evaluate", str(tmp_path / "run.yaml"), "--shard", "0/2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Run `evaluate` without it" in done.stderr


@pytest.mark.slow
def test_two_real_vllm_engines_answer_as_one(tmp_path: Path) -> None:
    model = ROOT / "src/chartdistill/demo/models/student"
    runs = []
    for replicas in (1, 2):
        folder = tmp_path / str(replicas)
        folder.mkdir()
        engine = {
            "type": "vllm", "dtype": "float32", "max_model_len_tokens": 2048, "cpu_kv_cache_gib": 1,
            "replicas": replicas,
        }  # fmt: skip
        run = made(folder, model, engine, tokens=64, scored=4)
        manifest = evaluate(run, silent)
        assert manifest["engines"] == replicas
        runs.append(run)
    for name in ANSWERS:
        one, two = (list(read_rows(run.dir / "predictions" / name, Prediction)) for run in runs)
        assert [(row.record, row.task, row.completion) for row in one] == [
            (row.record, row.task, row.completion) for row in two
        ], name
    assert scores_of(runs[0])["arms"] == scores_of(runs[1])["arms"]


def test_the_slowest_engine_counts_and_what_was_stored_is_not_timed(tmp_path: Path) -> None:
    records = [
        Record(id=f"chart-{i}", text="x", source="s", cluster=str(i), split="test", segments=()) for i in range(40)
    ]
    task = load_task(ROOT / "configs/tasks/tests.yaml")
    sheet = Sheet("base", tmp_path / "base.jsonl", "base", None, None, plain_questions(records, [task]))
    shards = [Shard(0, 2), Shard(1, 2)]
    assert sum(len(sheet.of(shard).questions) for shard in shards) == 40

    def seconds(*each: float | None) -> float | None:
        told = {shard: {"seconds": {"base": one}} for shard, one in zip(shards, each, strict=False)}
        return _slowest(sheet, told, shards)

    assert seconds(2.0, 3.5) == 3.5
    assert seconds(2.0, None) is None, "some of its answers were stored"
    assert seconds(2.0) is None, "the other shard was finished before"
    few = replace(sheet, questions=[one for one in sheet.questions if Shard(0, 2).holds(one[0].id)])
    assert _slowest(few, {shards[0]: {"seconds": {"base": 2.0}}}, shards) == 2.0, "the other has nothing to ask"
    assert cost_of([], 2.5, cards=4)["card_seconds"] == 10
    assert cost_of([], None, cards=4)["card_seconds"] is None and "card_seconds" not in cost_of([], 2.5)
