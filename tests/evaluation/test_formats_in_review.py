"""`predict --min-confidence` in every format: what waits for a person is never read as "none found"."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from chartdistill.config import load_task
from chartdistill.errors import ConfigError
from chartdistill.evaluation.formats.converting import convert
from chartdistill.evaluation.review_split import divide, require_review_place
from chartdistill.records import AnnotationFile, Reading, read_annotations
from chartdistill.records.sources import JsonlSource
from places import ROOT

NAMES = ("medication", "diagnosis", "tests", "prognosis")
TASKS = [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in NAMES]
CHART = "Start Keflex. Hold Motrin. Gout. Order a CBC."
WAITING = {
    "c1": {"medication": "1 item", "diagnosis": "1 item", "prognosis": "failed"},
    "c2": {"": "no answers"},
}


def item(text: str, confidence: float | None, status: str | None = None) -> dict[str, Any]:
    at = CHART.index(text)
    found = {"text": text, "confidence": confidence, "span": [at, at + len(text)], "grounded": True, "match": "exact"}
    return found if status is None else {**found, "status": status}


def lines(number: int) -> list[dict[str, Any]]:
    """A chart with a half, a wholly doubted, a whole and a failed answer; one without answers; one that is whole."""
    half = {"items": [item("Keflex", 0.99, "start"), item("Motrin", 0.4, "hold")]}
    whole = {"medication": {"items": [item("Keflex", 1.0, "start")]}, "diagnosis": {"items": []},
             "tests": {"items": [item("CBC", 0.97)]}, "prognosis": {"items": []}}  # fmt: skip
    first = {"medication": half, "diagnosis": {"items": [item("Gout", None)]}, "tests": {"items": []},
             "prognosis": {"items": None, "failure": "bad_format: no"}}  # fmt: skip
    said: list[dict[str, Any]] = [{"tasks": first}, {"failure": "empty"}, {"tasks": whole}]
    return [{"id": f"c{at}", "source": f"charts.jsonl:{at}", **one} for at, one in enumerate(said[:number], 1)]


@pytest.fixture
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The lines that are kept at 0.9, in the format that the test asks for."""
    charts, kept = tmp_path / "charts.jsonl", tmp_path / "kept.jsonl"
    texts = [CHART, "", CHART + " Again."]
    charts.write_text("".join(json.dumps({"id": f"c{at}", "text": text}) + "\n" for at, text in enumerate(texts, 1)))
    entries = list(JsonlSource(path=charts).read())
    of = [{**line, "source": entry.source} for line, entry in zip(lines(3), entries, strict=True)]
    kept.write_text("".join(json.dumps(divide(line, 0.9)[0]) + "\n" for line in of))
    made = tmp_path / "out.json"
    convert(request.param, kept, iter(entries), made, TASKS)
    return made


def reading_of(path: Path, form: str) -> Reading:
    meaning = {name: name for name in NAMES} if form != "rows" else {}
    return read_annotations(AnnotationFile(path=path, format=form, meaning=meaning), TASKS)  # type: ignore[arg-type]


@pytest.mark.parametrize("out", ["csv"], indirect=True)
def test_csv_says_how_many_wait_and_none_only_of_an_answer_that_is_none(out: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(out.read_text(), newline="")))
    of = {(row["record"], row["task"], row["result"], row["in_review"]) for row in rows}
    assert of == {
        ("c1", "medication", "item", ""), ("c1", "medication", "review", "1"), ("c1", "diagnosis", "review", "1"),
        ("c1", "tests", "none", ""), ("c1", "prognosis", "review", "1"), ("c2", "", "review", "1"),
        ("c3", "medication", "item", ""), ("c3", "diagnosis", "none", ""), ("c3", "tests", "item", ""),
        ("c3", "prognosis", "none", ""),
    }  # fmt: skip


@pytest.mark.parametrize("out", ["fhir"], indirect=True)
def test_fhir_says_what_waits_and_none_only_of_an_answer_that_is_none(out: Path) -> None:
    said: dict[str, set[tuple[str, str]]] = {}
    for line in out.read_text().splitlines():
        bundle = json.loads(line)
        (outcome,) = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "OperationOutcome"]
        issues = outcome["issue"]
        said[bundle["identifier"]["value"]] = {(one["severity"], one["diagnostics"].split(":")[0]) for one in issues}
    assert said["c1"] == {
        ("warning", "medication"), ("warning", "diagnosis"), ("information", "tests"), ("warning", "prognosis"),
    }  # fmt: skip
    assert {severity for severity, _ in said["c2"]} == {"warning"}
    assert said["c3"] == {("information", "diagnosis"), ("information", "prognosis")}


@pytest.mark.parametrize(("out", "form"), [("brat", "brat"), ("label-studio", "label_studio")], indirect=["out"])
def test_no_list_of_which_a_part_waits_is_read_back_as_whole(out: Path, form: str) -> None:
    reading = reading_of(out, form)
    said = {(one.key, one.task.name): [item.text for item in one.items or ()] for one in reading.answers}
    assert {task: items for (key, task), items in said.items() if key == "c3"} == {
        "medication": ["Keflex"], "diagnosis": [], "tests": ["CBC"], "prognosis": [],
    }  # fmt: skip
    assert not {("c1", task) for task in ("medication", "diagnosis", "prognosis")} & set(said)
    codes = {one.code for one in reading.findings if one.record == "c1"}
    assert codes == ({"no_answer"} if form == "brat" else {"not_finished"})


@pytest.mark.parametrize("out", ["brat"], indirect=True)
def test_a_line_of_skipped_goes_when_its_task_is_corrected(out: Path) -> None:
    before, skipped = reading_of(out, "brat"), out / "skipped.tsv"
    with (out / "c1.ann").open("a") as stream:
        stream.write(
            f"T9\tmedication {CHART.index('Motrin')} {CHART.index('Motrin') + 6}\tMotrin\nA9\tstatus T9 hold\n"
        )
    left = [line for line in skipped.read_text().splitlines(True) if not line.startswith("c1\tmedication\t")]
    skipped.write_text("".join(left))
    after = reading_of(out, "brat")
    (medication,) = [one for one in after.answers if one.key == "c1" and one.task.name == "medication"]
    assert {(one.text, one.status) for one in medication.items or ()} == {("Keflex", "start"), ("Motrin", "hold")}
    assert before.sha256 != after.sha256


def test_what_skipped_says_is_part_of_the_folders_hash(tmp_path: Path) -> None:
    (tmp_path / "c1.ann").write_text("T1\tmedication 6 12\tKeflex\n")
    (tmp_path / "c1.txt").write_text(CHART)
    before = reading_of(tmp_path, "brat").sha256
    (tmp_path / "skipped.tsv").write_text("c1\ttests\treview\t1 item is in the review file\n")
    assert reading_of(tmp_path, "brat").sha256 != before


def test_neither_file_of_a_divided_call_is_taken_for_whole_answers(tmp_path: Path) -> None:
    kept, review = tmp_path / "kept.jsonl", tmp_path / "review.jsonl"
    both = [divide(line, 0.9) for line in lines(3)]
    kept.write_text("".join(json.dumps(line) + "\n" for line, _ in both))
    review.write_text("".join(json.dumps(line) + "\n" for _, line in both if line is not None))
    reading = reading_of(kept, "rows")
    assert {(one.key, one.task.name) for one in reading.answers} == {
        ("c1", "tests"), *(("c3", task) for task in NAMES),
    }  # fmt: skip
    reading = read_annotations(AnnotationFile(path=review, format="rows"), TASKS)
    assert not reading.answers and {one.code for one in reading.findings} == {"no_answer"}


def test_whole_answers_with_confidence_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines(3)))
    reading = reading_of(path, "rows")
    assert len(reading.answers) == 7 and [one.code for one in reading.findings] == ["no_answer", "no_answer"]


def test_the_review_file_cannot_lie_in_the_folder_that_is_made(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="lies in"):
        require_review_place(tmp_path / "out" / "review.jsonl", tmp_path / "out", False, ())
