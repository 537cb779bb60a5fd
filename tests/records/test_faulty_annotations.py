"""Files of labels that are broken, cut or half right: what cannot be read gives no label, and is named."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chartdistill.config import load_task
from chartdistill.errors import InputError
from chartdistill.records import AnnotationFile, Reading, read_annotations
from chartdistill.records.sources import JsonlSource, SourceEntry
from chartdistill.schema import Task
from places import ROOT


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "diagnosis", "tests")]


def read(path: Path, tasks: list[Task], **options: Any) -> Reading:
    return read_annotations(AnnotationFile(path=path, **options), tasks)


def codes(reading: Reading) -> dict[str, int]:
    return dict(Counter(finding.code for finding in reading.findings))


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def taken(reading: Reading) -> dict[str, list[tuple[str, str | None]]]:
    return {one.task.name: [(item.text, item.status) for item in one.items or ()] for one in reading.answers}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"text": "naproxen", "Status": "stop"}, "unknown key 'Status'; allowed: text, status, optional"),
        ({"text": "naproxen", "stauts": "stop"}, "unknown key 'stauts'"),
        ({"text": "naproxen", "action": "stop"}, "unknown key 'action'"),
        ({"text": " \t"}, "blank"),
        ("  ", "blank"),
        ("\u00a0", "blank"),
        ({"text": "None found"}, r"write the list `\[\]`"),
        ("N/A", "says none"),
        ("no medications", "says none"),
        (None, "is not a text"),
        (7, "is not a text"),
        ([], "is not a text"),
        ({"text": None}, "is not a text"),
    ],
)
def test_an_item_that_is_none_makes_no_label(item: object, said: str, tmp_path: Path, tasks: list[Task]) -> None:
    good = {"text": "gout pills", "status": "stop", "span": [1, 4], "grounded": True, "dose": {"number": 5}}
    for row in (
        {"record": "c1", "task": "medication", "items": [good, item]},
        {"id": "c1", "gold": {"medication": [good, item]}},
        {"id": "c1", "tasks": {"medication": {"items": [good, item]}}},
    ):
        tests = {"record": "c1", "task": "tests", "items": []}
        reading = read(write_lines(tmp_path / "r.jsonl", row, tests), tasks)
        (finding,) = reading.findings
        assert (finding.code, finding.place, finding.task) == ("bad_line", "r.jsonl: line 1", "medication")
        assert "entry 1" in finding.detail and re.search(said, finding.detail)
        assert taken(reading) == {"tests": []}, "and nothing is made of the rest"


@pytest.mark.parametrize("text", [" ", "None found", "none", "no tests"])
def test_gold_of_a_row_has_no_item_that_is_none(text: str, tmp_path: Path) -> None:
    chart = "A chart with words enough to be kept as a record."
    rows = [{"id": "a", "text": chart, "gold": {"tests": of}} for of in ([{"text": text}], [], [{"text": "CBC"}])]
    path = write_lines(tmp_path / "r.jsonl", *rows)
    bad, *good = JsonlSource(path=path, gold_field="gold").read()
    assert not isinstance(bad, SourceEntry) and bad.reason == "bad_gold" and "tests" in bad.detail
    assert all(isinstance(one, SourceEntry) for one in good)


TEXT = "\U0001f600 Stop naproxen today. Has gout."
REGION = {"id": "a", "type": "labels", "value": {"start": 7, "end": 15, "text": "naproxen", "labels": ["Drug"]}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_in_any_encoding_is_read_and_one_that_is_cut_is_said_to_be(
    encoding: str, indent: int | None, tmp_path: Path, tasks: list[Task]
) -> None:
    row = {"record": "c1", "task": "tests", "items": ["CBC"]}
    text = json.dumps([row, None], indent=indent)
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    path = tmp_path / "a.json"
    path.write_text(mark + text, encoding=encoding)
    reading = read(path, tasks)
    assert taken(reading) == {"tests": [("CBC", None)]} and reading.findings[0].place == "a.json: entry 2"
    for broken in (text[:-8], text.replace('"task"', '"record"')):
        path.write_text(mark + broken, encoding=encoding)
        with pytest.raises(InputError, match="JSON array that cannot be read as a whole"):
            read(path, tasks)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ([REGION, {"type": "labels", "id": "b", "value": {"start": 0, "end": 1, "labels": "Drug"}}], "bad_line"),
        ([REGION, {"type": "labels", "id": "b", "value": {"start": 0, "end": 1, "labels": [3]}}], "bad_line"),
        ([REGION, {"type": "labels", "id": "b", "value": None}], "bad_line"),
        ([REGION, None], "bad_line"),
        ([{**REGION, "id": "\ud83d"}], "bad_line"),
        ([REGION, {"type": "choices", "id": "a", "value": {"choices": ["stop", "hold"]}}], "unknown_status"),
    ],
)
def test_a_region_that_cannot_be_read_is_not_left_out(
    result: list[Any], code: str, tmp_path: Path, tasks: list[Task]
) -> None:
    path = tmp_path / "l.json"
    path.write_text(json.dumps([{"id": 7, "data": {"text": TEXT}, "annotations": [{"result": result}]}]))
    reading = read(path, tasks)
    assert codes(reading) == {code: 1} and not reading.answers


def test_regions_without_type_label_or_id_are_read_or_counted(tmp_path: Path, tasks: list[Task]) -> None:
    region = {"value": REGION["value"]}
    choice = {"type": "choices", "from_name": "status", "value": {"start": 7, "end": 15, "choices": ["stop"]}}
    other = {"value": {"start": 27, "end": 31, "text": "gout", "labels": ["Drug"]}}
    bare = {"id": "c", "type": "labels", "value": {"start": 2, "end": 6, "text": "Stop"}}
    path = tmp_path / "l.json"
    task = {"id": 7, "data": {"text": TEXT}, "annotations": [{"result": [region, choice, other, bare]}]}
    path.write_text(json.dumps([task]))
    reading = read(path, tasks)
    assert taken(reading) == {"medication": [("naproxen", "stop"), ("gout", None)]}
    assert reading.unmapped == {"(no label)": 1}


@pytest.mark.parametrize("spans", [None, {}, "x"])
def test_no_list_of_spans_is_not_none_found(spans: object, tmp_path: Path, tasks: list[Task]) -> None:
    path = write_lines(tmp_path / "p.jsonl", {"text": TEXT, "spans": spans, "answer": "accept"})
    assert codes(read(path, tasks)) == {"bad_line": 1}


def test_fields_of_a_span_of_any_type_are_attributes(tmp_path: Path, tasks: list[Task]) -> None:
    span = {"start": 7, "end": 15, "label": "DRUG"}
    for field, found in (
        ({"status": ["stop"]}, {"medication": [("naproxen", "stop")]}),
        ({"negated": 1}, {"medication": []}),
        ({"negated": 0}, {"medication": [("naproxen", None)]}),
        ({"status": 3}, {}),
    ):
        path = write_lines(tmp_path / "p.jsonl", {"text": TEXT, "spans": [{**span, **field}], "answer": "accept"})
        assert taken(read(path, tasks)) == found, field


def test_doccano_spans_in_the_second_list_are_not_lost(tmp_path: Path, tasks: list[Task]) -> None:
    path = write_lines(tmp_path / "d.jsonl", {"text": TEXT, "label": [], "entities": [[7, 15, "Drug-Stop"]]})
    assert taken(read(path, tasks)) == {"medication": [("naproxen", "stop")]}
    path = write_lines(
        tmp_path / "d.jsonl", {"text": TEXT, "label": [[7, 15, "Drug"]], "entities": [[7, 15, "Drug-Stop"]]}
    )
    assert codes(read(path, tasks)) == {"bad_line": 1}


@pytest.mark.parametrize(
    "line",
    [
        "T1\tDrug 2 6\tStop", " T2\tDrug 2 6\tStop", "<<<<<<< HEAD", "A1\tNegated T9", "E1\tDrug:T9", "E1 Drug T1",
        f"T2\tDrug 2 {'9' * 5000}\tx", "T2\tDrug \u0662 6\tStop",
    ],
)  # fmt: skip
def test_a_brat_file_with_a_line_that_cannot_be_read_gives_no_label(
    line: str, tmp_path: Path, tasks: list[Task]
) -> None:
    (tmp_path / "dir.ann").mkdir()
    (tmp_path / "c1.txt").write_text(TEXT)
    (tmp_path / "c1.ann").write_text(f"T1\tDrug 7 15\tnaproxen\n{line}\n")
    reading = read(tmp_path, tasks)
    assert [(one.code, one.place) for one in reading.findings] == [("bad_line", "c1.ann: line 2")]
    assert not reading.answers


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_a_brat_file_has_lines_of_any_kind(end: str, tmp_path: Path, tasks: list[Task]) -> None:
    lines = ("T1\tDrug 5 13\tnaproxen", "A1\tStatus T1 stop", "T2\tProblem 24 28\tgout", "")
    (tmp_path / "c1.ann").write_bytes(end.join(lines).encode())
    assert taken(read(tmp_path, tasks)) == {"medication": [("naproxen", "stop")], "diagnosis": [("gout", None)]}


def test_one_span_that_may_be_counted_in_two_ways_is_none(tmp_path: Path, tasks: list[Task]) -> None:
    path = write_lines(tmp_path / "d.jsonl", {"text": TEXT, "label": [[8, 16, "Drug-Stop"]]})
    reading = read(path, tasks)
    assert codes(reading) == {"text_differs_at_offsets": 1} and not reading.answers


def test_offsets_of_signs_as_a_reader_sees_them(tmp_path: Path, tasks: list[Task]) -> None:
    text = "Cafe\u0301 \U0001f44d\U0001f3fd: stop naproxen today, has gout."
    start = text.index("naproxen") - 2
    spans = [[start, start + 8, "Drug-Stop"], [text.index("gout") - 2, text.index("gout") + 2, "Problem"]]
    reading = read(write_lines(tmp_path / "d.jsonl", {"text": text, "label": spans}), tasks)
    assert taken(reading) == {"medication": [("naproxen", "stop")], "diagnosis": [("gout", None)]}


def test_many_spans_are_read_in_time_and_the_longer_count(tmp_path: Path, tasks: list[Task]) -> None:
    text = " ".join(f"drug{number} x" for number in range(400))
    spans = []
    for number in range(400):
        start = text.index(f"drug{number} x")
        end = start + len(f"drug{number}")
        spans += [[start, end, "Drug-Stop"], [start, end + 2, "Drug-Stop"]]
    reading = read(write_lines(tmp_path / "d.jsonl", {"text": text, "label": spans}), tasks)
    assert all(name.endswith(" x") for name, _ in taken(reading)["medication"])


@pytest.mark.parametrize("completion", ["naproxen | Stop", "naproxen | stop\ngout pills", "naproxen | stop | x"])
def test_a_broken_answer_of_a_fine_tuning_line_stays_broken(completion: str, tmp_path: Path, tasks: list[Task]) -> None:
    line = {"prompt": f"{TEXT}\n\nLIST ALL MEDICATION:\n\n###\n\n", "completion": f" {completion}"}
    (answer,) = read(write_lines(tmp_path / "f.jsonl", line), tasks).answers
    assert answer.items is None and answer.completion == completion
    line["completion"] = ' [{"name": "naproxen"}]'
    assert codes(read(write_lines(tmp_path / "f.jsonl", line), tasks)) == {"no_answer": 1}


@pytest.mark.parametrize("order", [1, -1])
def test_a_status_of_what_is_ruled_out_spoils_nothing(order: int, tmp_path: Path, tasks: list[Task]) -> None:
    fields = dict([("status", "unknown"), ("negated", True)][::order])
    spans = [{"start": 7, "end": 15, "label": "DRUG", **fields}]
    path = write_lines(tmp_path / "p.jsonl", {"text": TEXT, "spans": spans, "answer": "accept"})
    reading = read(path, tasks)
    assert taken(reading) == {"medication": []} and not reading.findings


def test_items_win_over_the_completion_beside_them(tmp_path: Path, tasks: list[Task]) -> None:
    """As `score` reads them: the filtered arm of a run has both."""
    said = {"task": "medication", "completion": "naproxen | stop\ngout pills | start"}
    listed = [{"text": "naproxen", "status": "stop"}], [{"text": "naproxen"}, {"text": "gout pills"}], None
    rows = [{"record": f"c{number}", "items": items, **said} for number, items in enumerate(listed)]
    reading = read(write_lines(tmp_path / "r.jsonl", *rows), tasks)
    assert [(one.key, one.completion) for one in reading.answers] == [("c0", None), ("c1", said["completion"])]
    assert [(item.text, item.status) for item in reading.answers[0].items or ()] == [("naproxen", "stop")]
    assert codes(reading) == {"no_answer": 1}, "what was rejected as a whole is no label"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"{}\n", mtime=0), "is gzip-compressed, in which no labels are read"),
        (b"PAR1\x15\x00", "is a Parquet file, in which"),
        (b" \n\n", "nothing but blank lines"),
        (b'{"record":"a","task":"tests","items":[]}\r{"record":"b"}', r"\(line 1: not JSON: Extra data"),
        ('{"record":"\u00e9"}'.encode("latin-1"), r"\(line 1: not UTF-8: byte 0xe9"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content: bytes, said: str, tmp_path: Path, tasks: list[Task]) -> None:
    (tmp_path / "labels.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read(tmp_path / "labels.jsonl", tasks)


def test_what_stands_in_the_wrong_place_is_not_quoted_whole(tmp_path: Path, tasks: list[Task]) -> None:
    secret = "Mrs. Example of 7 Example Street was seen for her gout and stopped all"
    span = {"start": 7, "end": 15, "label": "Drug", "status": secret}
    row = {"text": "He had naproxen.", "spans": [span], "answer": "accept"}
    answers = [{"record": "c1", "task": secret, "items": []}, {"record": "c1", "task": "tests", "failure": secret}]
    for rows in ([row], answers):
        found = read(write_lines(tmp_path / "r.jsonl", *rows), tasks).findings
        assert found and not any("her gout" in one.detail for one in found)


def test_a_span_of_a_file_with_markup_is_what_was_read(tmp_path: Path, tasks: list[Task]) -> None:
    text = "<p>Stop <b>napro</b>xen&nbsp;5 mg and &beta;-blockers.</p><p>Takes <s>iron</s> zinc.</p>"
    names = ("napro</b>xen&nbsp;5 mg", "&beta;-blockers", "iron", "zinc")
    spans = [[text.index(name), text.index(name) + len(name), "Drug-Stop"] for name in names]
    reading = read(write_lines(tmp_path / "d.jsonl", {"text": text, "label": spans}), tasks)
    items = ["naproxen 5 mg", "\u03b2-blockers", "iron", "zinc"]
    assert [text for text, _ in taken(reading)["medication"]] == items


def test_two_meanings_of_one_label_are_refused(tmp_path: Path, tasks: list[Task]) -> None:
    path = write_lines(tmp_path / "d.jsonl", {"text": "He had naproxen.", "label": [[7, 15, "CHEM_OFF"]]})
    stop, start = ({"task": "medication", "status": status} for status in ("stop", "start"))
    with pytest.raises(InputError, match="'CHEM_OFF' and 'chem-off' are read as one label"):
        read(path, tasks, meaning={"CHEM_OFF": stop, "chem-off": start})
    assert read(path, tasks, meaning={"CHEM_OFF": stop, "chem-off": stop}).answers
