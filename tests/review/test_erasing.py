"""`review` and `erase` on one run: what was erased is never looked at, nor written down again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from chartdistill.commands import predict as verb
from chartdistill.config import Run
from chartdistill.curation.decisions import decision_file
from chartdistill.erasure.erase import erase
from chartdistill.errors import ArtefactError, InputError
from chartdistill.review.exchange import export_decisions, import_decisions
from chartdistill.runtime.run_locks import UNFINISHED_ERASURE
from command_line import forked
from places import ROOT
from review_run import LABELS, decide, decision, make_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@contextmanager
def opened(run_dir: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The page as a user starts it, and its address."""
    command = [sys.executable, "-m", "chartdistill", "review", str(run_dir), "--name", "Ada"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # also where this test's caller ignores it
    ) as page:  # fmt: skip
        try:
            assert page.stdout is not None
            yield page, page.stdout.readline().strip()
        finally:
            page.kill()


def get(address: str, path: str) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"{address}api/{path}", timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_nothing_is_erased_while_a_page_is_open_and_all_is_once_it_ends(run_dir: Path) -> None:
    decide(run_dir, decision(LABELS[0], [("Febenor 5 mg", "start")]))
    with opened(run_dir) as (page, address):
        assert get(address, "label?record=a&task=medication")[0] == 200
        refused = forked("erase", str(run_dir), "--record", "a", "--yes")
        assert refused.returncode == 5 and "is open on" in refused.stderr and "Traceback" not in refused.stderr
        assert not (run_dir / UNFINISHED_ERASURE).exists() and len(decision_file(run_dir).rows()) == 1
        with opened(run_dir) as (second, other):  # a second person is no hindrance
            assert other != address
            second.send_signal(signal.SIGINT)
            assert second.wait(60) == 0
        page.send_signal(signal.SIGINT)
        assert page.wait(60) == 0
    done = forked("erase", str(run_dir), "--record", "a", "--yes")
    assert done.returncode == 0 and "proof: " in done.stdout
    assert decision_file(run_dir).rows() == []
    with opened(run_dir) as (_, address):
        assert get(address, "label?record=a&task=medication")[0] == 404
        status, queue = get(address, "labels?show=all&task=&find=&from=0")
        assert status == 200 and "a" not in {row["record"] for row in queue["entries"]}  # type: ignore[attr-defined]


def test_nothing_is_erased_while_predict_writes_its_answers_there(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Path] = []

    def predict(run: Run, records: Path, out: Path, *options: object) -> int:
        places.append(out)
        if out.parent == tmp_path:
            erase([run_dir], ["a"], say=lambda line: None)
            return 0
        with pytest.raises(ArtefactError, match="`chartdistill predict` writes answers there"):
            erase([run_dir], ["a"], say=lambda line: None)
        (run_dir / UNFINISHED_ERASURE).write_text("{}")
        with pytest.raises(ArtefactError, match="was interrupted"):
            verb.run_predict(called)
        (run_dir / UNFINISHED_ERASURE).unlink()
        return 0

    monkeypatch.setattr(verb, "predict", predict)
    monkeypatch.setattr(verb, "_run", lambda arguments: SimpleNamespace(dir=run_dir))
    called = Namespace(
        config=Path("c.yaml"), records=tmp_path, out=run_dir / "mine.jsonl", filters=False, overwrite=False,
        min_confidence=None, review_file=None, format=None, quiet=True,
    )  # fmt: skip
    verb.run_predict(called)
    called.out = tmp_path / "mine.jsonl"
    verb.run_predict(called)
    assert places == [run_dir / "mine.jsonl", tmp_path / "mine.jsonl"]


def test_a_page_that_was_killed_hinders_nobody(run_dir: Path) -> None:
    with opened(run_dir) as (page, _):
        os.kill(page.pid, signal.SIGKILL)
        page.wait(60)
    erase([run_dir], ["a"], say=lambda line: None)


def test_no_page_is_opened_on_a_half_erased_run(run_dir: Path) -> None:
    (run_dir / UNFINISHED_ERASURE).write_text("{}")
    done = forked("review", str(run_dir), "--name", "Ada")
    assert done.returncode == 5 and "erase" in done.stderr and "interrupted" in done.stderr


def test_decisions_of_another_machine_bring_no_erased_record_back(run_dir: Path, tmp_path: Path) -> None:
    there, out = make_run(tmp_path / "there"), tmp_path / "decisions.jsonl"
    decide(there, decision(LABELS[0], [("Febenor 5 mg", "start")]), decision(LABELS[2], None))
    export_decisions(there, out)
    erase([run_dir], ["a"], say=lambda line: None)
    found = import_decisions(run_dir, out)
    assert (found.added, found.erased) == (1, 1) and "were erased here" in found.sentence()
    assert [row.record for row in decision_file(run_dir).rows()] == ["b"]
    erase([run_dir], ["b"], say=lambda line: None)
    with pytest.raises(InputError, match="were erased"):
        import_decisions(run_dir, out)


def test_what_a_killed_decision_left_goes_too(run_dir: Path) -> None:
    decide(run_dir, decision(LABELS[0], [("Febenor 5 mg", "start")]), decision(LABELS[2], None))
    torn = decision_file(run_dir).set_aside
    torn.write_text('{"id": "0011223344556677", "action": "keep", "record": "a", "items": [{"text": "Note a. Stop Ya\n')
    told: list[str] = []
    erase([run_dir], ["a"], say=told.append)
    assert "Note a" not in torn.read_text() and any(line.lstrip().startswith("proof: ") for line in told)


def test_a_run_of_a_study_that_takes_its_records_from_another_is_held_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "study" / "runs" / "full")
    part = tmp_path / "study" / "runs" / "part"
    (part / "labels").mkdir(parents=True)
    (part / "records").symlink_to(run / "records")
    from chartdistill.runtime.run_locks import looking_on

    with looking_on(part), pytest.raises(ArtefactError, match="is open on"):
        erase([tmp_path / "study"], ["a"], say=lambda line: None)
