"""Labels that exist, in every format: what is read, what is not, and of which chart it is. All charts are invented."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import annotation_files as files
from annotation_reading import TASKS, codes, read, said
from chartdistill.clinical.status_by_rules import status_of
from chartdistill.errors import InputError
from chartdistill.records import AnnotationFile, AnswerIndex, Reading, body_hash, clean, read_annotations
from chartdistill.schema import Task

CHART = files.CHART


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return TASKS


@pytest.mark.parametrize("name", files.EXPORTS)
def test_every_export_says_the_same(name: str, tmp_path: Path, tasks: list[Task]) -> None:
    reading, found = read(files.EXPORTS[name](tmp_path), tasks)
    assert reading.format == name.split()[0].replace("gold", "rows")
    assert found == files.SAID, "prognosis, which nothing was marked as, is not said to be none"
    assert not reading.findings


@pytest.mark.parametrize("name", files.WITHOUT_STATUS)
def test_fine_tuning_lines_get_their_status_from_the_chart(name: str, tmp_path: Path, tasks: list[Task]) -> None:
    path = files.WITHOUT_STATUS[name](tmp_path)
    reading, found = read(path, tasks)
    assert reading.format == "fine_tuning"
    assert found["medication"] == [("allopurinol 300 mg", None), ("naproxen", None)]
    assert told(reading, path, "from_chart")["medication"] == [("allopurinol 300 mg", "continue"), ("naproxen", "stop")]
    assert told(reading, path, "continue")["medication"] == [
        ("allopurinol 300 mg", "continue"),
        ("naproxen", "continue"),
    ]
    assert "medication" not in told(reading, path, "leave_out"), "a status is not guessed"


@pytest.mark.parametrize(
    ("name", "chart", "status"),
    [
        ("furosemide 40 mg daily", "Stop furosemide 40 mg PO daily. Has gout.", "stop"),
        ("furosemide", "He has gout. Stop Lasix today.", "stop"),
        ("furosemide 20 mg", "Takes furosemide 20 mg at noon. Stop furosemide 40 mg at night.", "continue"),
        ("furosemide", "Stop naproxen today.", "continue"),
        ("metformin", "Do not stop metformin before the scan.", "continue"),
        ("metformin", "Metformin was not discontinued.", "continue"),
        ("metformin", "Advised against stopping metformin.", "continue"),
        ("metformin", "There is no need to hold metformin.", "continue"),
        ("naproxen", "Do not restart naproxen.", "avoid"),
        ("naproxen", "Do not stop aspirin; naproxen is stopped.", "stop"),
    ],
)
def test_a_status_is_read_also_where_the_chart_has_other_words(
    name: str, chart: str, status: str, tasks: list[Task]
) -> None:
    assert status_of(name, chart, tasks[0]) == status


@pytest.mark.parametrize("name", [name for name in files.EXPORTS if name != "brat"])
def test_lines_or_one_array_are_the_same(name: str, tmp_path: Path, tasks: list[Task]) -> None:
    path = files.EXPORTS[name](tmp_path)
    text = path.read_text()
    values = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    whole, lines = tmp_path / "whole.json", tmp_path / "lines.jsonl"
    whole.write_text(json.dumps(values, indent=1))
    lines.write_bytes("".join(json.dumps(value) + "\r\n" for value in values).encode("utf-16"))
    for other in (whole, lines):
        reading, found = read(other, tasks)
        assert found == files.SAID and not reading.findings
    assert reading.answers[0].origin.place in ("line 1", "task 7")


def told(reading: Reading, path: Path, missing: str, **options: Any) -> dict[str, Any]:
    index = AnswerIndex(reading, AnnotationFile(path=path, **options), missing)
    found = index.of_record("c1", body_hash(clean(CHART).text), clean(CHART).text)
    index.finish()
    return {name: said(answer) for name, answer in found.items()}


def test_json_min_has_no_statuses_of_regions(tmp_path: Path, tasks: list[Task]) -> None:
    reading, found = read(files.label_studio_min(tmp_path / "min.json"), tasks)
    assert reading.format == "label_studio"
    assert found["medication"] == [("allopurinol 300 mg", None), ("naproxen", None)]
    assert found["diagnosis"] == [("gout", None), ("diabetes", None)], "nor what rules a region out"


@pytest.mark.parametrize(
    ("label", "use"),
    [
        ("Drug", ("medication", None)), ("MEDICATION", ("medication", None)), ("Medications", ("medication", None)),
        ("DrugName", ("medication", None)), ("Drug-Discontinued", ("medication", "stop")),
        ("stopped_medication", ("medication", "stop")), ("medication/given-once", ("medication", "given-once")),
        ("Problem", ("diagnosis", None)), ("DISEASE", ("diagnosis", None)), ("LAB_TEST", ("tests", None)),
        ("Dose", None), ("Drug Dose", None), ("Frequency", None), ("Strength", None), ("Person", None),
        ("history of present illness", None),
    ],
)  # fmt: skip
def test_a_label_is_told_by_its_words(
    label: str, use: tuple[str, str | None] | None, tmp_path: Path, tasks: list[Task]
) -> None:
    mark = (("naproxen", label, {}), ("gout", "prognosis", {}))
    reading, found = read(files.brat(tmp_path / "b", marks=mark), tasks)
    if use is None:
        assert reading.unmapped == {label.split()[0]: 1} if " " not in label else True
        assert set(found) <= {"prognosis"}
    else:
        assert found[use[0]] == [("naproxen", use[1])]


def test_the_config_says_what_labels_mean(tmp_path: Path, tasks: list[Task]) -> None:
    marks = (
        ("naproxen", "X1", {}),
        ("gout", "X2", {}),
        ("uric acid level", "LabTest", {}),
        ("allopurinol", "X1", {"Do": "quit"}),
    )
    path = files.doccano(tmp_path / "d.jsonl", marks=marks)
    meaning = {"x1": {"task": "medication", "status": "continue"}, "X2": "diagnosis", "LabTest": None}
    _, found = read(path, tasks, meaning=meaning)
    assert found == {
        "medication": [("allopurinol", "continue"), ("naproxen", "continue")],
        "diagnosis": [("gout", None)],
    }
    path = files.brat(tmp_path / "b", marks=marks)
    _, found = read(path, tasks, meaning=meaning, status_meaning={"quit": "stop"})
    assert found["medication"] == [("allopurinol", "stop"), ("naproxen", "continue")]
    for wrong, of in (("vitals", "not among"), ({"task": "medication", "status": "paused"}, "does not have")):
        with pytest.raises(InputError, match=of):
            read(path, tasks, meaning={"X1": wrong})
    with pytest.raises(InputError, match="paused"):
        read(path, tasks, status_meaning={"quit": "paused"})


def test_a_span_that_is_not_there_spoils_its_task_and_no_other(tmp_path: Path, tasks: list[Task]) -> None:
    folder = files.brat(tmp_path / "b")
    text = (folder / "c1.ann").read_text().replace("\tnaproxen", "\tnaprosyn")
    (folder / "c1.ann").write_text(text)
    reading, found = read(folder, tasks)
    assert codes(reading) == {"text_differs_at_offsets": 1} and reading.findings[0].task == "medication"
    assert found == {name: items for name, items in files.SAID.items() if name != "medication"}
    assert "naprosyn" not in reading.findings[0].detail
    past_end = {"id": 1, "text": CHART, "label": [[0, 3000, "Drug"], [16, 20, "Problem"]]}
    (tmp_path / "d.jsonl").write_text(json.dumps(past_end) + "\n")
    reading, found = read(tmp_path / "d.jsonl", tasks)
    assert codes(reading) == {"text_differs_at_offsets": 1} and found == {"diagnosis": [("gout", None)]}


def test_discontinuous_nested_and_repeated_spans(tmp_path: Path, tasks: list[Task]) -> None:
    chart = "Pain in left and right knee. Aspirin 81 mg daily. Later: stop aspirin 81 mg."
    lines = [
        "T1\tProblem 0 12;23 27\tPain in left knee", "T2\tDrug 29 42\tAspirin 81 mg", "T3\tDrug 29 36\tAspirin",
        "T4\tDrug 62 75\taspirin 81 mg", "A1\tStatus T2 active", "A2\tStatus T4 Discontinued",
        "E1\tDrug:T4", "A3\tCertainty E1 Certain",
    ]  # fmt: skip
    (tmp_path / "c.ann").write_text("\n".join(lines) + "\n")
    (tmp_path / "c.txt").write_text(chart)
    reading, found = read(tmp_path, tasks)
    assert found == {"diagnosis": [("Pain in left knee", None)], "medication": [("Aspirin 81 mg", "stop")]}
    assert codes(reading) == {"nested_span": 1, "statuses_differ": 1}


@pytest.mark.parametrize("with_text", [True, False])
def test_what_stands_in_the_gap_of_a_span_is_an_item_of_its_own(
    with_text: bool, tmp_path: Path, tasks: list[Task]
) -> None:
    lines = [
        "T1\tProblem 0 12;23 27\tPain in left knee", "T2\tProblem 17 27\tright knee", "T3\tProblem 8 12\tleft",
        "T4\tProblem 29 35;36 48\tSevere chronic gout", "T5\tProblem 36 43\tchronic",
        "T6\tProblem 50 56;68 76\tMitral stenosis", "T7\tProblem 61 76\taortic stenosis",
    ]  # fmt: skip
    if with_text:
        (tmp_path / "c.txt").write_text(
            "Pain in left and right knee. Severe\nchronic gout. Mitral and aortic stenosis."
        )
        lines.append("T8\tProblem 29 43\tSevere chronic")  # over the end of the line at which brat parted T4
    (tmp_path / "c.ann").write_text("\n".join(lines) + "\n")
    reading, found = read(tmp_path, tasks)
    said = ["Pain in left knee", "right knee", "Severe chronic gout", "Mitral stenosis", "aortic stenosis"]
    assert found == {"diagnosis": [(one, None) for one in said]}
    assert codes(reading) == {"nested_span": 1}


def test_attributes_of_events_optional_items_and_unknown_statuses(tmp_path: Path, tasks: list[Task]) -> None:
    folder = files.brat(tmp_path / "b", marks=(("naproxen", "Drug", {}), ("gout", "Problem", {"Optional": None})))
    with (folder / "c1.ann").open("a") as stream:
        stream.write("E1\tDrug:T1\nA9\tAction E1 Stop\n")
    reading, found = read(folder, tasks)
    assert found["medication"] == [("naproxen", "stop")]
    assert [item.optional for answer in reading.answers for item in answer.items or ()] == [False, True]
    with (folder / "c1.ann").open("a") as stream:
        stream.write("A10\tStatus T1 paused-ish\n")
    reading, found = read(folder, tasks)
    assert codes(reading) == {"unknown_status": 1} and "medication" not in found


def test_a_status_that_the_rules_do_not_know_is_not_the_first_of_the_list(tmp_path: Path, tasks: list[Task]) -> None:
    own = tasks[0].model_copy(update={"statuses": ("abgesetzt", "laufend", "stop")})
    marks = (("allopurinol 300 mg", "Drug", {}), ("naproxen", "Drug", {}))
    path = files.brat(tmp_path / "b", marks=marks)

    index = AnswerIndex(read_annotations(AnnotationFile(path=path), [own]), AnnotationFile(path=path), "from_chart")
    found = index.of_record("c1", body_hash(CHART), CHART)
    assert not found and not index.counts.statuses_from_chart, "that naproxen is stopped is told, and no whole list"
    assert [(one.code, one.task) for one in index.findings] == [("no_status", "medication")]
    assert "1 of 2 items have no status, and the chart's words tell none of abgesetzt" in index.findings[0].detail


@pytest.mark.parametrize("optional", [["T1"], ["T2"], ["T1", "T2"]])
def test_an_item_is_optional_where_all_its_mentions_are(optional: list[str], tmp_path: Path, tasks: list[Task]) -> None:
    lines = ["T1\tProblem 0 4\tGout", "T2\tProblem 6 10\tgout"]
    lines += [f"A{number}\tOptional {of}" for number, of in enumerate(optional)]
    (tmp_path / "c.ann").write_text("\n".join(lines) + "\n")
    (tmp_path / "c.txt").write_text("Gout, gout.")
    reading, _ = read(tmp_path, tasks)
    assert [item.optional for item in reading.answers[0].items or ()] == [len(optional) == 2]


def test_optional_may_be_the_name_of_a_choice(tmp_path: Path, tasks: list[Task]) -> None:
    reading, _ = read(
        files.label_studio(tmp_path / "e.json", marks=(("gout", "Problem", {"Flag": "Optional"}),)), tasks
    )
    assert [item.optional for item in reading.answers[0].items or ()] == [True]


def test_one_span_under_two_tasks_is_told(tmp_path: Path, tasks: list[Task]) -> None:
    marks = (("gout", "Problem", {}), ("gout", "Prognosis", {}))
    reading, found = read(files.brat(tmp_path / "b", marks=marks), tasks)
    assert found == {"diagnosis": [("gout", None)], "prognosis": [("gout", None)]} and codes(reading) == {
        "two_tasks": 1
    }


def test_a_text_without_spans_is_none_only_where_somebody_finished_it(tmp_path: Path, tasks: list[Task]) -> None:
    folder = files.brat(tmp_path / "b")
    (folder / "c2.ann").write_text("")
    (folder / "c2.txt").write_text("Nothing of note was found at this visit.")
    reading, _ = read(folder, tasks)
    assert codes(reading) == {"unlabelled": 1} and {one.key for one in reading.answers} == {"c1"}
    reading, _ = read(folder, tasks, without_spans="none_found")
    assert [said(one) for one in reading.answers if one.key == "c2"] == [[], [], []]
    path = files.prodigy(tmp_path / "p.jsonl")
    more = [{"text": f"Visit {n} without findings.", "answer": answer, "_input_hash": n}
            for n, answer in enumerate(("accept", "reject", "ignore"))]  # fmt: skip
    path.write_text(path.read_text() + "".join(json.dumps(row) + "\n" for row in more))
    reading, _ = read(path, tasks)
    assert codes(reading) == {"not_finished": 2} and len(reading.answers) == 6


def test_label_studio_takes_the_ground_truth_and_no_skipped_task(tmp_path: Path, tasks: list[Task]) -> None:
    path = files.label_studio(tmp_path / "e.json")
    task = json.loads(path.read_text())[0]
    other = {"result": [], "was_cancelled": False, "ground_truth": False}
    task["annotations"] = [other, {**task["annotations"][0], "ground_truth": True}, {**other, "was_cancelled": True}]
    skipped = {"id": 8, "data": {"text": "Another chart."}, "annotations": [{**other, "was_cancelled": True}]}
    path.write_text(json.dumps([task, skipped, {"id": 9, "data": {"text": "A third chart."}, "annotations": []}]))
    reading, found = read(path, tasks)
    assert found == files.SAID and codes(reading) == {"not_finished": 2}


@pytest.mark.parametrize(
    "address", ["https://host/charts/1.txt", "s3://charts/1.txt", "/data/local-files/?d=charts/1.txt"]
)
def test_label_studio_tasks_that_hold_addresses_are_named(tmp_path: Path, tasks: list[Task], address: str) -> None:
    """valueType="url": the tool loads the text itself, and its offsets are in what it loaded."""
    path = files.label_studio(tmp_path / "e.json")
    task = json.loads(path.read_text())[0]
    path.write_text(json.dumps([task, {**task, "id": 8, "data": {"text": address}}]))
    reading, found = read(path, tasks)
    assert found == files.SAID and codes(reading) == {"no_text": 1}
    assert "valueType=" in reading.findings[0].detail and address not in reading.findings[0].detail


def test_faults_are_named_with_their_place(tmp_path: Path, tasks: list[Task]) -> None:
    path = files.rows(tmp_path / "r.jsonl")
    bad = [
        '{"record": "c1", "task": ',
        '["list"]',
        '{"task": "tests", "items": []}',
        '{"record": "c9", "task": "vitals", "items": []}',
        '{"record": "c2", "task": "tests", "items": null, "failure": "bad_format: x"}',
        '{"record": "c3", "task": "tests", "items": [{"name": "a"}]}',
        '{"record": 1001.0, "task": "tests", "items": ["CBC"]}',
    ]
    path.write_text(path.read_text() + "\n".join(bad) + "\n")
    reading, _ = read(path, tasks)
    assert codes(reading) == {"bad_line": 4, "no_answer": 1, "other_task": 1}
    assert {one.place for one in reading.findings if one.code == "bad_line"} == {
        f"r.jsonl: line {n}" for n in (4, 5, 6, 9)
    }
    assert reading.answers[-1].key == "1001"
    numbers = {"id": 1, "text": CHART, "annotations": [{"label": 7, "start_offset": 16, "end_offset": 20, "user": 1}]}
    (tmp_path / "d.jsonl").write_text(json.dumps(numbers) + "\n")
    reading, _ = read(tmp_path / "d.jsonl", tasks)
    assert "names of the labels" in reading.findings[0].detail
    folder = files.brat(tmp_path / "b")
    (folder / "c1.ann").write_text("T1\tDrug 5\tallopurinol\n")
    reading, found = read(folder, tasks)
    assert reading.findings[0].place == "c1.ann: line 1" and not found


@pytest.mark.parametrize("text", ["", '{"a": 1}\n', "[1, 2]\n"])
def test_what_is_no_such_file_is_refused(text: str, tmp_path: Path, tasks: list[Task]) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="format is not known" if text else "is empty"):
        read(path, tasks)
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "missing.jsonl", tasks)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.ann file"):
        read(tmp_path / "empty", tasks)


def test_a_label_goes_to_the_chart_with_its_words_and_to_no_other(tmp_path: Path, tasks: list[Task]) -> None:
    path = files.prodigy(tmp_path / "p.jsonl")
    reading, _ = read(path, tasks)
    options = AnnotationFile(path=path)
    index = AnswerIndex(reading, options, "from_chart")
    other = "Another chart, of somebody else, under the id of the first."
    assert index.of_record("c1", body_hash(other), other) == {}
    index.finish()
    assert Counter(one.code for one in index.findings) == {"text_differs": 3}
    index = AnswerIndex(reading, options, "from_chart")
    laid_out_anew = CHART.replace("\n", "\r\n\r\n  ").upper()
    assert set(index.of_record("z9", body_hash(laid_out_anew), laid_out_anew)) == set(files.SAID)
    index.finish()
    assert not index.findings


def test_labels_that_differ_are_an_error_or_left_out_and_the_same_again_is_counted(
    tmp_path: Path, tasks: list[Task]
) -> None:
    path = files.rows(tmp_path / "r.jsonl")
    path.write_text(path.read_text() + '{"record": "c1", "task": "tests", "items": ["Uric acid level"]}\n')
    reading, _ = read(path, tasks)
    index = AnswerIndex(reading, AnnotationFile(path=path), "from_chart")
    assert "tests" in index.of_record("c1", "x", CHART) and index.counts.said_again == 1
    path.write_text(path.read_text() + '{"record": "c1", "task": "tests", "items": []}\n')
    reading, _ = read(path, tasks)
    with pytest.raises(InputError, match=r"record c1, task tests: r\.jsonl: line 3 and r\.jsonl: line 5"):
        told(reading, path, "from_chart")
    assert "tests" not in told(reading, path, "from_chart", differing="leave_out")


def test_what_is_said_of_a_duplicate_holds_for_the_chart_that_was_kept(tmp_path: Path, tasks: list[Task]) -> None:
    path = files.rows(tmp_path / "r.jsonl", key="dropped")
    reading, _ = read(path, tasks)
    index = AnswerIndex(reading, AnnotationFile(path=path), "from_chart")
    assert set(index.of_record("kept", "x", CHART, also=("dropped",))) == set(files.SAID)
    path.write_text(path.read_text() + '{"record": "kept", "task": "tests", "items": []}\n')
    reading, _ = read(path, tasks)
    index = AnswerIndex(reading, AnnotationFile(path=path), "from_chart")
    assert said(index.of_record("kept", "x", CHART, also=("dropped",))["tests"]) == []
    index.finish()
    assert Counter(one.code for one in index.findings) == {"differs_from_duplicate": 1}
