"""What a stage says: its beginning and end, a rate without the engine's start, figures, events."""

from __future__ import annotations

import json
import time

import pytest

from chartdistill.runtime import progress
from chartdistill.runtime.progress import StageBar, now_and_then


def test_the_rate_leaves_out_what_was_before_the_first_call(capsys: pytest.CaptureFixture[str]) -> None:
    with StageBar("label", every_seconds=0) as bar:
        time.sleep(0.8)  # an engine starts
        bar(0, 100)
        time.sleep(0.1)
        bar(50, 100, 500)
    said = capsys.readouterr().err
    assert "label: begins\n" in said
    rate = float(said.partition("50/100 records, ")[2].partition(" records/s")[0])
    assert 150 < rate < 520, said  # 50 in 0.1 s; with the start it were 55
    assert "tokens/s" in said and " s left" in said
    assert "label: done in " in said.splitlines()[-1]


def test_the_rate_of_tokens_stays_while_none_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with StageBar("evaluate", unit="charts", every_seconds=0) as bar:
        bar(0, 9)
        bar._first = (time.monotonic() - 10, 0, 0)
        bar(3, 9, 5000)
        bar._first = (time.monotonic() - 20, 0, 0)
        bar(6, 9, 5000)  # answers of a window whose tokens are counted at its end
        bar(9, 9, 9000)
    lines = capsys.readouterr().err.splitlines()
    assert "evaluate: 6/9 charts, 3.3 s/chart, 500 tokens/s, 10 s left" in lines
    assert "evaluate: 9/9 charts, 2.2 s/chart, 450 tokens/s, 0 s left" in lines


def test_slow_steps_are_said_in_seconds_and_the_loss_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    with StageBar("train", unit="steps", every_seconds=0) as bar:
        bar(0, 2)
        time.sleep(0.3)
        bar.show({"loss": 1.23456, "learning_rate": 0.1})
        bar._first = (time.monotonic() - 30, 0, 0)
        bar(1, 2)
        bar.show({"validation_loss": 0.5, "validation_joint_f1": 0.75})
        bar.end("was done before, nothing to do")
    lines = capsys.readouterr().err.splitlines()
    assert "train: 1/2 steps, 30.0 s/step, loss 1.235, 30 s left" in lines
    assert "train: validation loss 0.500, validation joint F1 0.750" in lines
    assert lines[-1] == "train: was done before, nothing to do"
    assert not any("learning_rate" in line for line in lines)


def test_events_are_json_lines_on_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARTDISTILL_EVENTS", "1")
    with StageBar("curate", unit="labels", every_seconds=0) as bar:
        bar(0, 4)
        bar(4, 4)
    with pytest.raises(RuntimeError), StageBar("train"):
        raise RuntimeError
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in events] == ["begin", "progress", "progress", "end", "begin", "stopped"]
    assert {"done": 4, "total": 4, "unit": "labels", "stage": "curate"}.items() <= events[2].items()
    assert all("time" in one for one in events)
    assert progress.announces()


def test_times_of_day_only_when_asked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARTDISTILL_VERBOSE", "1")
    with StageBar("curate"):
        pass
    said = capsys.readouterr().err
    assert time.strptime(said[:8], "%H:%M:%S") and said[8:].startswith(" curate: done")


def test_a_verb_without_a_bar_says_now_and_then_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    told = now_and_then("erase", every_seconds=0.02)
    for _ in told(["a", "b", "c"], "files searched"):
        time.sleep(0.03)
    assert list(told(iter("ab"), "texts compared")) == ["a", "b"], "without a length, too"
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["erase: 1/3 files searched", "erase: 2/3 files searched"]
    assert list(now_and_then("erase")(["a"], "files searched")) == ["a"] and not capsys.readouterr().err
