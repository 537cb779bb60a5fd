"""`label` with a real model and engine: complete, resumable, and only what changed is asked again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chartdistill.config import load_run
from chartdistill.engines import Request, TransformersEngine
from chartdistill.errors import ArtefactError, EngineError
from chartdistill.labelling.label import label
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.records.prepare import prepare
from chartdistill.runtime.model_folder import load_tokenizer
from labelling_run import config, prepared, rows_of, silent


def test_one_row_per_record_and_task_with_an_answer_or_a_failure(tmp_path: Path, tiny_model: Path) -> None:
    run = prepared(tmp_path, tiny_model)
    manifest = label(run, silent)
    rows = rows_of(run)
    assert manifest["counts"]["labels"] == len(rows) == 12
    assert len({(row.record, row.task) for row in rows}) == 12
    for row in rows:
        assert (row.completion is None) != (row.failure is None)
        assert row.gate is not None and 0 <= (row.gate.probability or 0) <= 1
        assert (row.finish_reason is None) == (row.gate.answer == "no")
    before = (run.dir / "labels" / "labels.jsonl").stat().st_mtime_ns
    label(run, silent)  # nothing to do
    assert (run.dir / "labels" / "labels.jsonl").stat().st_mtime_ns == before


def test_labels_need_records_first(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(ArtefactError, match="chartdistill prepare"):
        label(load_run(config(tmp_path, tiny_model)), silent)


def test_a_changed_task_relabels_only_itself(tmp_path: Path, tiny_model: Path) -> None:
    run = prepared(tmp_path, tiny_model, strategy="direct")
    label(run, silent)
    before = {(row.record, row.task): row for row in rows_of(run)}
    task = tmp_path / "tasks" / "tests.yaml"
    task.write_text(task.read_text().replace("List each test", "Name each test"))
    run = load_run(tmp_path / "run.yaml")
    label(run, silent)
    for row in rows_of(run):
        assert (row.key == before[row.record, row.task].key) == (row.task == "medication")


@pytest.mark.slow
def test_killed_at_any_moment_any_number_of_times_ends_as_if_never_killed(tmp_path: Path, tiny_model: Path) -> None:
    """Kills at random sizes of the journal, torn lines included. KILLS=30 for a longer run."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = prepared(tmp_path / "whole", tiny_model, records_per_window=1)
    label(whole, silent)
    full_size = (whole.dir / "labels" / "labels.jsonl").stat().st_size
    killed = prepared(tmp_path / "killed", tiny_model, records_per_window=1)
    command = [sys.executable, "-m", "chartdistill", "label", str(tmp_path / "killed" / "run.yaml"), "--quiet"]
    journal = killed.dir / "labels" / "labels.journal.jsonl"
    draw = random.Random(6)
    count = int(os.environ.get("KILLS", "3"))
    durable: set[str] = set()
    for number in range(count):
        goal = full_size * (number + draw.random()) / (count + 1)
        child = subprocess.Popen(command)
        deadline = time.monotonic() + 120
        while child.poll() is None and not (journal.exists() and journal.stat().st_size > goal):
            assert time.monotonic() < deadline, "no label was finished in two minutes"
            time.sleep(0.002)
        time.sleep(draw.random() * 0.02)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        if not journal.exists():
            break  # it was faster than the kill, and is complete
        lines = journal.read_text().splitlines(keepends=True)
        assert durable <= set(lines), "a finished label was lost or made again"
        durable = {line for line in lines if line.endswith("\n")}
        if draw.random() < 0.5:  # a write torn in the middle
            with journal.open("ab") as stream:
                stream.write(b'{"key": "to')
    assert durable
    label(killed, silent)
    assert rows_of(killed) == rows_of(whole)
    assert durable <= set((killed.dir / "labels" / "labels.jsonl").read_text().splitlines(keepends=True))


def test_too_many_failures_stop_the_verb(tmp_path: Path, tiny_model: Path) -> None:
    # direct: every record and task is asked for an answer (a gate `no` would need none).
    run = prepared(tmp_path, tiny_model, strategy="direct", max_answer_tokens=4000, max_failure_fraction=0.1)
    with pytest.raises(EngineError, match=r"12 of 12 labels failed.*prompt_too_long: 12") as caught:
        label(run, silent)
    assert "mg" not in str(caught.value)


def test_what_is_asked_again_since_it_failed_is_judged_beside_all_labels(tmp_path: Path, tiny_model: Path) -> None:
    """One chart of ten is too long: a tenth of the labels, and all that a later call asks about."""
    charts = tmp_path / "charts"
    charts.mkdir()
    for number in range(9):
        (charts / f"{number}.txt").write_text(f"Visit {number}. Start lisinopril 10 mg daily. Blood count ordered.")
    (charts / "long.txt").write_text("The patient feels well and takes aspirin. " * 900)
    run = load_run(config(tmp_path, tiny_model, strategy="direct", max_failure_fraction=0.12), records=charts)
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    assert label(run, silent)["counts"]["failures"] == 2
    (run.dir / "labels" / "manifest.json").unlink()  # as if killed at the very end
    assert label(run, silent)["counts"]["failures"] == 2
    (charts / "new.txt").write_text("Seen again. Stop metformin, which made her sick. Lipids next week.")
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    assert label(run, silent)["counts"]["failures"] == 2
    for number in range(9):
        (charts / f"{number}.txt").unlink()
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    with pytest.raises(EngineError, match="2 of 4 labels failed"):
        label(run, silent)


def test_the_rate_after_a_kill_counts_only_what_is_asked_since(tmp_path: Path, tiny_model: Path) -> None:
    run = prepared(tmp_path, tiny_model, strategy="direct")
    told: list[int] = []

    def stop(done: int, total: int | None = None, tokens: int = 0) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label(run, stop)
    label(run, lambda done, total=None, tokens=0: told.append(done))
    assert told[0] == 4, "the first call begins what the rate counts"
    assert told == sorted(told) and told[-1] == 6


def test_choices_and_room_are_respected_by_the_engine(tiny_model: Path) -> None:
    builder = PromptBuilder.from_tokenizer(load_tokenizer(tiny_model), "Answer.")
    prompts = [builder.prompt(text, "Is there a drug?") for text in ("Velorim.", "None of that kind at all.")]
    with TransformersEngine(batch_size=2).open(tiny_model) as engine:
        gates = engine.generate([Request(p, 8, builder.end_id, ("yes", "no", "unclear")) for p in prompts])
        free = engine.generate([Request(p, 5, builder.end_id) for p in prompts])
        again = engine.generate([Request(p, 5, builder.end_id) for p in reversed(prompts)])
    assert all(gate.text in ("yes", "no", "unclear") and gate.finish_reason == "stop" for gate in gates)
    assert all(answer.completion_tokens <= 5 for answer in free)
    assert [answer.text for answer in reversed(again)] == [answer.text for answer in free]
