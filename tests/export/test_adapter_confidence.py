"""An adapter that is taken away keeps its calibration, and makes of a reply what `predict` says of the same tokens."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chartdistill.evaluation.confidence import Calibration, write_calibration
from chartdistill.evaluation.generation import answer_mark
from chartdistill.export.export import export
from chartdistill.export.options import Wanted
from chartdistill.export.reply_confidence import confidences
from chartdistill.metrics.calibration import Curve, IsotonicCurve, PlattCurve
from chartdistill.prompting.answer_logprobs import logprobs_of_items
from chartdistill.run_file import read_run
from chartdistill.schema import Task
from export_run import make_run

PLATT = PlattCurve(slope=1.3, intercept=2.1, items=60, right=50)
ISOTONIC = IsotonicCurve(knots=((-9.0, 0.1), (-2.0, 0.1), (-0.5, 0.7), (-0.1, 0.95)), items=1200, right=1000)


def calibration(run_dir: Path, curve: Curve = PLATT, score: Any = "lowest") -> Calibration:
    mark = answer_mark(read_run(run_dir), run_dir / "adapter")
    return Calibration(
        made="2026-01-31T09:30:00+00:00", adapter=mark.adapter, rules=mark.rules, meaning="right", score=score,
        curves={"all": curve, "prognosis": ISOTONIC}, tasks={"medication": 40, "prognosis": 20},
    )  # fmt: skip


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path)


def reply(pieces: list[str], logprobs: list[float], end: str = "</s>") -> dict[str, Any]:
    """As `/v1/chat/completions` answers."""
    content = [
        {"token": one, "logprob": of, "bytes": list(one.encode())} for one, of in zip(pieces, logprobs, strict=True)
    ]
    content.append({"token": end, "logprob": -0.3, "bytes": []})
    message = {"role": "assistant", "content": "".join(pieces)}
    return {"choices": [{"message": message, "finish_reason": "stop", "logprobs": {"content": content}}]}


def exported(run_dir: Path, out: Path, to: Any = "vllm-adapter") -> Path:
    return export(read_run(run_dir), Wanted(to, out, prompts=0))


def test_the_export_has_it_and_its_program_says_what_predict_says(run_dir: Path, tmp_path: Path) -> None:
    known = calibration(run_dir)
    write_calibration(run_dir / "adapter", known)
    folder = exported(run_dir, tmp_path / "out")
    assert Calibration.model_validate_json((folder / "calibration.json").read_bytes()) == known
    assert "confidence.py medication" in (folder / "README.md").read_text()
    (task, _) = read_run(run_dir).tasks
    prompt = json.loads((folder / "prompt.json").read_text())
    pieces, logprobs = (
        ["Vel", "orim", " |", " stop", "\n", "Dormax", " | start"],
        [-0.1, -1.2, -0.3, -0.4, -2, -0.5, -0.6],
    )
    asked = json.dumps(reply(pieces, logprobs, prompt["decoding"]["stop"][0]))
    alone = [sys.executable, "-I", str(folder / "confidence.py"), "medication"]
    done = subprocess.run(alone, input=asked, capture_output=True, text=True, check=True, cwd=tmp_path)
    wanted = [
        known.confidence("medication", one)
        for one in logprobs_of_items("".join(pieces), pieces, logprobs, task).values()
    ]
    assert json.loads(done.stdout) == [
        {"item": "Velorim | stop", "confidence": wanted[0]}, {"item": "Dormax | start", "confidence": wanted[1]}
    ]  # fmt: skip
    assert wanted[0] != wanted[1]
    for wrong in ("[]", "{}", "", asked.replace('"stop"', '"length"'), json.dumps(reply(["Velorim"], [-1.0]))):
        said = subprocess.run(alone, input=wrong, capture_output=True, text=True, check=False)
        assert said.returncode == 1 and "Traceback" not in said.stderr and said.stderr.startswith("confidence.py: ")


def test_none_is_taken_along_that_is_not_this_students_or_for_other_weights(run_dir: Path, tmp_path: Path) -> None:
    write_calibration(run_dir / "adapter", calibration(run_dir))
    assert not (exported(run_dir, tmp_path / "merged", "merged") / "calibration.json").exists()
    old = calibration(run_dir).model_copy(update={"rules": "other"})
    write_calibration(run_dir / "adapter", old)
    folder = exported(run_dir, tmp_path / "out")
    assert not (folder / "calibration.json").exists() and not (folder / "confidence.py").exists()
    said = (folder / "README.md").read_text()
    assert "No confidence" in said and str(tmp_path) not in said


@pytest.mark.parametrize("score", ["sum", "lowest", "mean"])
@pytest.mark.parametrize("name", ["medication", "prognosis"])
def test_both_ways_give_the_same_number_however_tokens_are_cut(run_dir: Path, score: Any, name: str) -> None:
    known = calibration(run_dir, score=score)
    task: Task = next(task for task in read_run(run_dir).tasks if task.name == name)
    prompt = {"questions": {name: ""}, "statuses": {name: task.statuses}, "decoding": {"stop": ["</s>"]}}
    rng, seen = random.Random(7), 0
    for _ in range(300):
        lines = [rng.choice(["Velorim 5 mg", "Caf\u00e9 ½", "x", "Dormax"]) for _ in range(rng.randint(1, 4))]
        text = "\n".join(f"{one} | {rng.choice(task.statuses)}" if task.statuses else one for one in lines)
        text = rng.choice(["", "\n"]) + text + rng.choice(["", " ", "\n"])
        pieces, at = [], 0
        while at < len(text):
            step = rng.randint(1, 6)
            pieces.append(text[at : at + step])
            at += step
        logprobs = [round(-rng.expovariate(1.5), 3) for _ in pieces]
        items = logprobs_of_items(text, pieces, logprobs, task)
        wanted = {item: known.confidence(name, of) for item, of in items.items()}
        found = confidences(reply(pieces, logprobs), name, known.model_dump(mode="json"), prompt)
        assert len({one["item"] for one in found}) == len(items) > 0
        by_text = {f"{item.text} | {item.status}" if task.statuses else item.text: of for item, of in wanted.items()}
        assert {one["item"]: one["confidence"] for one in found} == pytest.approx(by_text, abs=1.01e-4)
        seen += len(found)
    assert seen > 500
    assert confidences(reply(["None", " found"], [-1, -1]), name, known.model_dump(mode="json"), prompt) == []
    unknown = known.model_copy(update={"tasks": {}}).model_dump(mode="json")
    assert all(one["confidence"] is None for one in confidences(reply(pieces, logprobs), name, unknown, prompt))


def test_of_a_steep_curve_the_unlikeliest_item_has_the_lowest_confidence() -> None:
    curve = PLATT.model_copy(update={"slope": 50.7}).model_dump()  # as of a student that is nearly always sure
    known = {"tasks": {"prognosis": 40}, "score": "sum", "curves": {"all": curve}}
    prompt = {"questions": {"prognosis": ""}, "statuses": {"prognosis": []}, "decoding": {"stop": ["</s>"]}}
    assert confidences(reply(["x"], [-25.0]), "prognosis", known, prompt) == [{"item": "x", "confidence": 0.0001}]
