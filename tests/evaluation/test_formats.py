"""What `predict` writes for others: valid, read back by our own readers, and nothing that a spreadsheet computes."""

from __future__ import annotations

import csv
import io
import json
import random
import sys
from argparse import Namespace
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chartdistill.commands import predict as verb
from chartdistill.config import load_task
from chartdistill.engines import Generation
from chartdistill.errors import ArtefactError, InputError
from chartdistill.evaluation.formats import FILES, Answered, brat, label_studio
from chartdistill.evaluation.formats.converting import convert, require_place
from chartdistill.evaluation.formats.table import safe
from chartdistill.evaluation.one_chart import page, read_chart
from chartdistill.evaluation.predict import _answer
from chartdistill.records import AnnotationFile, clean, read_annotations
from chartdistill.records.sources import JsonlSource
from places import ROOT

NAMES = ("medication", "diagnosis", "tests", "prognosis", "allergy", "procedure")
TASKS = [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in NAMES]
CHART = (
    "HPI: Caf\u00e9 \U0001f600 worker with gout.\r\nPLAN: Start Keflex 500 mg p.o. q.i.d. for 7 days.\r\n"
    "Discontinue Zestril 5\r\nmg. Hold Motrin. Took Zocor in the past. Avoid codeine.\r\n"
    "Order a CBC. Had a colectomy in 2001. She should recover fully.\r\nAllergies: latex (hives)."
)
SAID = {
    "medication": "Keflex 500 mg | start\nlisinopril 5 mg | stop\nMotrin | hold\nZocor | past\ncodeine | avoid\n"
    "Unseenol | change",
    "diagnosis": "gout", "tests": "CBC", "prognosis": "should recover fully", "allergy": "latex | hives",
    "procedure": "colectomy | done",
}  # fmt: skip


def answered(record: str = "ward-7/c1", chart: str = CHART, said: dict[str, str] | None = None) -> Answered:
    """A chart with answers, made as `predict` makes them."""
    said = SAID if said is None else said
    tasks = {
        task.name: _answer(Generation(said[task.name], finish_reason="stop"), task, clean(chart))
        for task in TASKS
        if task.name in said
    }
    return Answered(record, "charts/c1.txt", chart, tasks)


def written(form: str, *charts: Answered) -> str:
    out = io.StringIO()
    FILES[form](iter(charts), out, TASKS)
    return out.getvalue()


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [entry["resource"] for entry in bundle.get("entry", ())]
    return [one for one in found if one["resourceType"] == kind]


def test_fhir_is_valid_says_each_status_and_makes_up_no_patient() -> None:
    models = pytest.importorskip("fhir.resources.R4B.bundle", reason="fhir.resources is not installed")
    (line,) = written("fhir", answered()).splitlines()
    models.Bundle.model_validate_json(line)
    bundle = json.loads(line)
    statuses = {
        one["medicationCodeableConcept"]["text"]: one["status"] for one in resources(bundle, "MedicationStatement")
    }
    assert statuses == {
        "Keflex 500 mg": "active", "lisinopril 5 mg": "stopped", "Motrin": "on-hold", "Zocor": "completed",
        "codeine": "not-taken", "Unseenol": "active",
    }  # fmt: skip
    keflex = resources(bundle, "MedicationStatement")[0]
    (dosage,) = keflex["dosage"]
    assert dosage["doseAndRate"] == [{"doseQuantity": {"value": 500, "unit": "mg"}}]
    assert dosage["timing"]["repeat"]["frequency"] == 4 and dosage["route"]["text"] == "oral"
    own = {one["url"]: one for one in keflex["extension"]}
    place = {
        one["url"]: next(value for key, value in one.items() if key != "url")
        for one in own["urn:chartdistill:span"]["extension"]
    }
    assert CHART[place["start"] : place["end"]] == place["words"]
    assert own["urn:chartdistill:status"]["valueCode"] == "start"
    unseen = resources(bundle, "MedicationStatement")[-1]
    assert any("bears this out" in note["text"] for note in unseen["note"])
    for kind in ("Condition", "ServiceRequest", "ClinicalImpression", "AllergyIntolerance", "Procedure"):
        (one,) = resources(bundle, kind)
        subject = one.get("subject", one.get("patient"))
        assert subject == {"display": "patient of record ward-7/c1"}
    (allergy,) = resources(bundle, "AllergyIntolerance")
    assert (
        allergy["clinicalStatus"]["coding"][0]["code"] == "active"
    )  # FHIR's rule ait-1, which the models do not check
    assert not {"Patient", "Practitioner"} & {entry["resource"]["resourceType"] for entry in bundle["entry"]}


@pytest.mark.parametrize("record", ["", " ", "a\x00b", "\u202eid", "7", "x" * 300, "a/../b", "=1+1"])
def test_fhir_is_valid_whatever_stands_in_the_chart(record: str) -> None:
    models = pytest.importorskip("fhir.resources.R4B.bundle", reason="fhir.resources is not installed")
    rng = random.Random(record)
    signs = "\x00\x07\x1b\t\r\n \u2028\ufeff\U0001f600a\u0301|<&\"'\\"
    chart = (
        "".join(rng.choice(signs) for _ in range(60)) + " Takes Zocor\x0b 5 mg twice daily. " + rng.choice(signs) * 9
    )
    texts = {"medication": "Zocor | continue", "diagnosis": "None found", "tests": "broken | | |"}
    failed = Answered(record, "x", None, {}, "unreadable")
    for line in written("fhir", answered(record, chart, texts), failed).splitlines():
        models.Bundle.model_validate_json(line)
    (issues,) = resources(json.loads(written("fhir", answered(record, chart, texts))), "OperationOutcome")
    assert [one["severity"] for one in issues["issue"]][:1] == ["information"]


def test_csv_has_an_item_a_row_and_tells_none_from_failure() -> None:
    chart = answered(said={"medication": "Motrin | hold", "diagnosis": "None found", "tests": "a | b"})
    rows = list(csv.DictReader(io.StringIO(written("csv", chart, Answered("c2", "y", None, {}, "empty")), newline="")))
    assert [(row["record"], row["task"], row["result"]) for row in rows] == [
        ("ward-7/c1", "medication", "item"), ("ward-7/c1", "diagnosis", "none"), ("ward-7/c1", "tests", "failure"),
        ("c2", "", "failure"),
    ]  # fmt: skip
    assert CHART[int(rows[0]["start"]) : int(rows[0]["end"])] == rows[0]["words"] == "Motrin"


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1", "=cmd|' /C calc'!A0"]
)
def test_no_cell_is_computed_by_a_spreadsheet(cell: str) -> None:
    assert str(safe(cell)).startswith("'")
    chart = Answered(
        cell,
        cell,
        f"{cell} x",
        {"medication": {"items": [{"text": cell, "status": cell, "span": [0, 3], "grounded": True}]}},
    )
    (row,) = csv.DictReader(io.StringIO(written("csv", chart), newline=""))
    assert row["item"] == f"'{cell}" and row["record"] == f"'{cell}"
    assert all(
        not (value or "").lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for value in row.values()
    )


def items_read(path: Path, form: str) -> dict[tuple[str | None, str], set[tuple[str, str | None]]]:
    meaning = {name: name for name in NAMES}
    reading = read_annotations(AnnotationFile(path=path, format=form, meaning=meaning), TASKS)  # type: ignore[arg-type]
    assert [one for one in reading.findings if one.code not in ("nested_span",)] == []
    return {
        (one.key, one.task.name): {(item.text.casefold(), item.status) for item in one.items or ()}
        for one in reading.answers
    }


EXPECTED = {
    "medication": {
        ("keflex 500 mg", "start"), ("zestril 5 mg", "stop"), ("motrin", "hold"), ("zocor", "past"),
        ("codeine", "avoid"),
    },
    "diagnosis": {("gout", None)}, "tests": {("cbc", None)}, "prognosis": {("should recover fully", None)},
    "allergy": {("latex", "hives")}, "procedure": {("colectomy", "done")},
}  # fmt: skip


def test_brat_is_read_back_by_our_own_reader(tmp_path: Path) -> None:
    brat.write(iter([answered(), answered("c.v2", CHART.replace("\r\n", "\n"))]), tmp_path, TASKS)
    assert (tmp_path / "ward-7/c1.txt").read_bytes().decode() == CHART
    found = items_read(tmp_path, "brat")
    for record in ("ward-7/c1", "c.v2"):
        assert {task: found[record, task] for task in NAMES} == EXPECTED
    for line in (tmp_path / "ward-7/c1.ann").read_text().splitlines():
        if line.startswith("T"):
            _, place, words = line.split("\t")
            pieces = [tuple(map(int, piece.split())) for piece in place.split(" ", 1)[1].split(";")]
            assert " ".join(CHART[start:end] for start, end in pieces) == words
    assert "ward-7/c1\tmedication\twithout_place\t" in (tmp_path / "skipped.tsv").read_text()


@pytest.mark.parametrize(
    "record", ["../../etc/x", "/abs", "a//b", "", "..", "n\x00", "x" * 300, "c:\\x", "a/./b", "dots..", "a "]
)
def test_brat_files_stay_in_their_folder(tmp_path: Path, record: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    brat.write(iter([answered(record)]), out, TASKS)
    (text,) = out.rglob("*.txt")
    assert text.resolve().is_relative_to(out.resolve())
    assert list(tmp_path.iterdir()) == [out]


def test_label_studio_is_read_back_by_our_own_reader(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(written("label-studio", answered(), answered("c2", CHART.replace("\r\n", "\n"))))
    found = items_read(path, "auto")
    for record in ("ward-7/c1", "c2"):
        assert {task: found[record, task] for task in NAMES} == EXPECTED
    (first, _) = json.loads(path.read_text())
    region = first["annotations"][0]["result"][0]["value"]
    as_javascript = CHART.encode("utf-16-le")[2 * region["start"] : 2 * region["end"]].decode("utf-16-le")
    assert as_javascript == region["text"]


def answers_file(folder: Path, records: list[str]) -> tuple[Path, JsonlSource]:
    charts, answers = folder / "charts.jsonl", folder / "answers.jsonl"
    charts.write_text("".join(json.dumps({"id": name, "text": CHART}) + "\n" for name in records))
    source = JsonlSource(path=charts)
    lines = []
    for number, name in enumerate(records, 1):
        of = answered(name)
        lines.append(json.dumps({"id": name, "source": f"{charts}:{number}", "tasks": of.tasks}) + "\n")
    answers.write_text("".join(lines))
    return answers, source


def test_label_studio_says_which_charts_are_in_no_task(capsys: pytest.CaptureFixture[str]) -> None:
    unread = [Answered(f"c{number}", "", None, {}, why) for number, why in enumerate(("pdf", "empty", "pdf"))]
    out = io.StringIO()
    label_studio.write(iter([Answered("c9", "", "Stop aspirin.", {}), *unread]), out, [])
    assert [task["data"]["record"] for task in json.loads(out.getvalue())] == ["c9"]
    said = capsys.readouterr().err
    assert "3 charts have no text and are not among the tasks of Label Studio (empty 1, pdf 2)" in said


@pytest.mark.parametrize("form", ["fhir", "csv", "label-studio", "brat"])
def test_answers_become_a_format_when_all_are_there(tmp_path: Path, form: str) -> None:
    answers, source = answers_file(tmp_path, ["a", "b"])
    out = tmp_path / "out"
    require_place(form, out, False, ())
    convert(form, answers, source.read(), out, TASKS)
    assert out.is_dir() == (form == "brat")
    with pytest.raises(ArtefactError, match="not empty" if form == "brat" else "stays as it is"):
        require_place(form, out, False, ())
    answers.write_text(answers.read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match="were changed"):
        convert(form, answers, source.read(), tmp_path / "other", TASKS)
    assert not (tmp_path / "other").exists() and not list(tmp_path.glob(".*"))


def test_two_charts_of_one_id_have_no_resource_in_common_in_fhir() -> None:
    one, other = answered("p1"), replace(answered("p1"), source="charts/c2.txt")
    bundles = [json.loads(line) for line in written("fhir", one, other).splitlines()]
    names = [entry["fullUrl"] for bundle in bundles for entry in bundle["entry"]]
    assert len(names) == len(set(names))
    assert names[: len(names) // 2] == [entry["fullUrl"] for entry in json.loads(written("fhir", one))["entry"]]


def test_a_folder_in_the_making_is_not_taken_for_what_a_kill_left_of_another(tmp_path: Path) -> None:
    answers, source = answers_file(tmp_path, ["a"])
    others = [tmp_path / f".{name}.123.folder" for name in ("out.v2", "out [1]", "out")]
    for folder in others:
        folder.mkdir()
    convert("brat", answers, source.read(), tmp_path / "out", TASKS)
    assert [folder.exists() for folder in others] == [True, True, False]
    convert("brat", answers, source.read(), tmp_path / "out [1]", TASKS)
    assert [folder.exists() for folder in others] == [True, False, False]


def test_one_chart_is_shown_with_its_words_and_without_control_characters() -> None:
    said = {"medication": "Motrin | hold\nUnseenol | stop", "diagnosis": "None found", "tests": "a | b"}
    chart = answered("-", CHART.replace("Hold Motrin", "Hold\x1b[31m Motrin\u202e"), said)
    shown = page(chart, [task for task in TASKS if task.name in said])
    assert "Motrin [hold]" in shown and ">>Motrin<<" in shown and "NOT IN THE CHART" in shown
    assert "none found" in shown and "no answer: bad_format" in shown
    assert not {"\x1b", "\u202e", "\r"} & set(shown)


@pytest.mark.parametrize(
    ("confidence", "words", "note"),
    [
        (0.9999, "over 99% sure", "0.9999"), (0.9951, "over 99% sure", "0.9951"), (0.99, "99% sure", "0.9900"),
        (0.01, "1% sure", "0.0100"), (0.0049, "under 1% sure", "0.0049"),
    ],
)  # fmt: skip
def test_no_confidence_is_rounded_to_certainty(confidence: float, words: str, note: str) -> None:
    chart = answered("-", CHART, {"medication": "Motrin | hold"})
    chart.tasks["medication"]["items"][0]["confidence"] = confidence
    tasks = [task for task in TASKS if task.name == "medication"]
    assert f"Motrin [hold] ({words})" in page(chart, tasks)
    assert any(f"confidence {note}" in line for line in brat.standoff(chart, tasks)[0])


@pytest.mark.parametrize("data", [b"", b" \n\t", b"\x89PNG\r\n\x1a\n" + bytes(90), b"%PDF-1.4 x", b"\x00" * 50])
def test_what_is_no_chart_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="standard input: "):
        read_chart(data)
    assert read_chart("Caf\u00e9".encode("utf-16")) == "Caf\u00e9"


def test_two_charts_of_one_id_are_two_files_of_brat(tmp_path: Path) -> None:
    answers, source = answers_file(tmp_path, ["a", "a", "a"])
    convert("brat", answers, source.read(), tmp_path / "out", TASKS)
    texts = sorted((tmp_path / "out").glob("*.txt"))
    assert len(texts) == len(list((tmp_path / "out").glob("*.ann"))) == 3
    assert texts[0].name == "a.txt" and all(one.name.startswith("record-") for one in texts[1:])
    skipped = (tmp_path / "out" / "skipped.tsv").read_text()
    assert {line.partition("\t")[0] for line in skipped.splitlines()} == {one.stem for one in texts}


@pytest.mark.parametrize(
    "records", [("a", "a.txt/b"), ("a.ann/b", "a"), ("annotation.conf/x", "skipped.tsv/b"), ("p" * 190 + "/",) * 2]
)
def test_no_id_stands_in_the_way_of_another_ones_files(tmp_path: Path, records: tuple[str, str]) -> None:
    names = [name * 25 + "x" if name.endswith("/") else name for name in records]
    brat.write((answered(name) for name in names), tmp_path, TASKS)
    pairs = [one for one in tmp_path.rglob("*.txt") if one.is_file()]
    assert len(pairs) == 2 and all(one.with_suffix(".ann").is_file() for one in pairs)


@pytest.mark.parametrize("place", [".", "link"])
def test_an_empty_folder_may_be_named_from_within_or_by_a_link(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, source = answers_file(tmp_path, ["a"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    out = Path(place) if place == "." else tmp_path / "out/link"
    monkeypatch.chdir(tmp_path / "real")
    require_place("brat", out, False, ())
    convert("brat", answers, source.read(), out, TASKS)
    assert (tmp_path / "real/a.ann").is_file() and (tmp_path / "out/link").is_symlink()


def test_a_file_in_the_place_of_a_folder_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ArtefactError, match="is a file, and brat writes a folder"):
        require_place("brat", tmp_path / "out", True, ())


def test_copies_of_charts_are_not_put_among_the_charts(tmp_path: Path) -> None:
    charts = tmp_path / "charts"
    charts.mkdir()
    (tmp_path / "link").symlink_to(charts)
    for out in (charts / "answers", tmp_path / "link" / "answers", charts):
        with pytest.raises(ArtefactError, match="lies among the charts"):
            require_place("brat", out, True, (), charts)
    require_place("brat", tmp_path / "charts2", False, (), charts)
    require_place("csv", charts / "answers.csv", False, (), charts)


@pytest.mark.parametrize(("form", "is_utf8"), [("fhir", True), ("csv", True), (None, False)])
def test_a_format_is_utf_8_on_a_terminal_of_another_encoding_too(
    monkeypatch: pytest.MonkeyPatch, form: str | None, is_utf8: bool
) -> None:
    held = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(held, encoding="ascii", errors="backslashreplace"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"chart")))
    monkeypatch.setattr(verb, "_run", lambda arguments: SimpleNamespace(tasks=[]))
    monkeypatch.setattr(verb, "Student", lambda run, filters: nullcontext())
    monkeypatch.setattr(verb, "say_warnings", lambda student: None)
    monkeypatch.setattr(verb, "answer", lambda *of: '{"text": "caf\u00e9 \U0001f600"}')
    verb.run_predict(
        Namespace(
            config=Path("-"), records=None, out=None, min_confidence=None, review_file=None, format=form, json=False,
            filters=False,
        )
    )  # fmt: skip
    sys.stdout.flush()
    assert ("caf\u00e9 \U0001f600".encode() in held.getvalue()) == is_utf8
