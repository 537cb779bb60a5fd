"""`erase` and files that no stage of the run reads: answers of `predict` in every format, gold, readings of people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chartdistill.config import load_run
from chartdistill.erasure.erase import LeftoverError, erase
from chartdistill.errors import InputError
from chartdistill.evaluation.formats import FILES, FOLDERS, Answered
from chartdistill.evaluation.formats.converting import convert
from chartdistill.records import SourceEntry
from chartdistill.runtime.run_folder import read_manifest, read_rows, write_text
from chartdistill.runtime.tombstones import Tombstones
from chartdistill.schema import CuratedLabel, Record
from erasure_run import GONE, KEPT, SECRET, records_of, words_left, write_run
from places import ROOT
from report_run import write_manifest, write_rows

TASKS = load_run(ROOT / "configs/demo.yaml").tasks
OTHER_TEXT = "The patient of bed nine takes Febenor 5 mg; her canary is called Ferdinand the second."


def answers(folder: Path, charts: dict[str, str]) -> None:
    """What `predict` writes of some charts, in every format, under names that a user may choose."""
    folder.mkdir(parents=True)
    said = {"items": [{"text": "bed", "span": [0, 3], "grounded": True, "confidence": None}]}
    lines = [{"id": name, "source": "ward.jsonl:1", "tasks": {"tests": said}} for name in charts]
    lines[0]["tasks"]["medication"] = {"items": None, "failure": "truncated"}  # type: ignore[index]
    rows = folder / "answers.out"
    write_text(rows, "".join(json.dumps(line) + "\n" for line in lines))
    for form, name in (("fhir", "answers.ndjson"), ("csv", "answers"), ("label-studio", "tasks.json"), ("brat", "b")):
        entries = [SourceEntry(name, "ward.jsonl:1", text) for name, text in charts.items()]
        convert(form, rows, entries, folder / name, TASKS)
    assert len(FILES) + len(FOLDERS) == 4


def told(folder: Path, *ids: str) -> str:
    said: list[str] = []
    erase([folder], ids, say=said.append)
    return "\n".join(said)


def everything(folder: Path) -> str:
    """All texts and names of files."""
    return "\n".join(
        f"{path.relative_to(folder)}\n{path.read_bytes().decode('utf-8', 'replace')}"
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_answers_in_all_formats_go_and_those_of_others_stay(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    texts = {record.id: record.text for record in records_of(run)}
    answers(run / "mine", {GONE: texts[GONE], KEPT: texts[KEPT]})
    before = (run / "mine/answers").read_bytes().splitlines()
    assert "proof: " in told(run, GONE)
    assert words_left(run, texts[GONE], [text for name, text in texts.items() if name != GONE]) == []
    left = everything(run / "mine")
    assert "Marmaduke" not in left and not any(GONE in part.split() for part in left.replace('"', " ").splitlines())
    for name in ("answers.out", "answers.ndjson", "answers", "tasks.json"):
        assert KEPT in (run / "mine" / name).read_text(), name
    assert (run / f"mine/b/{KEPT}.ann").is_file() and not list((run / "mine/b").glob(f"{GONE}.*"))
    assert (run / "mine/answers").read_bytes().splitlines() == [
        row for row in before if not row.startswith(b"chart-30,")
    ]


@pytest.mark.parametrize("name", ["ward-9/c 1", "ward:91", "ü" * 150, "91"])
def test_who_was_only_predicted_can_be_erased_by_that_id(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run")
    texts = {record.id: record.text for record in records_of(run)}
    answers(run / "mine", {name: OTHER_TEXT, KEPT: texts[KEPT]})
    gold = {"id": name, "text": OTHER_TEXT, "gold": {"tests": []}}
    write_text(run / "compared.jsonl", json.dumps(gold) + "\n" + json.dumps(gold | {"id": "g2", "text": "x"}) + "\n")
    records = (run / "records/records.jsonl").read_bytes()
    assert "proof: " in told(run, name)
    left = everything(run)
    assert "Ferdinand" not in left and "canary" not in left and f'"{name}"' not in left
    assert (run / "records/records.jsonl").read_bytes() == records
    assert "g2" in (run / "compared.jsonl").read_text() and name in Tombstones.of(run)
    assert (run / f"mine/b/{KEPT}.txt").is_file() and len(list((run / "mine/b").glob("**/*.txt"))) == 1
    assert "was erased at" in told(run, name)


def test_a_record_that_stands_elsewhere_under_another_id_goes_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    text = next(record.text for record in records_of(run) if record.id == GONE)
    answers(run / "mine", {"note-77": f"{text}\r\n", KEPT: OTHER_TEXT})
    assert "note-77" in told(run, GONE)
    assert "note-77" not in everything(run) and SECRET[:20] not in everything(run)


def test_the_id_of_another_record_is_never_taken_for_its_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    text = next(record.text for record in records_of(run) if record.id == GONE)
    write_text(run / "gold.jsonl", json.dumps({"id": KEPT, "text": text}) + "\n")
    with pytest.raises(LeftoverError, match="1 file"):
        told(run, GONE)
    assert KEPT in {record.id for record in records_of(run)}


@pytest.mark.parametrize("name", ["1001-7:2", "1001-7 b", 'x "1001-7"'])
def test_an_id_that_stands_in_that_of_another_record_is_left_there(name: str, tmp_path: Path) -> None:
    """Labels of `1001-7:2` became those of `(erased):2`, a record that is nowhere, and no proof could be had."""
    run, texts = tmp_path / "run", {"1001-7": SECRET, name: OTHER_TEXT}
    records = [
        Record(id=one, source="c.jsonl:1", text=text, cluster=one, split="train", segments=())
        for one, text in texts.items()
    ]
    write_rows(run / "records/records.jsonl", *records)
    kept = [CuratedLabel(record=one, task="tests", items=()) for one in texts]
    write_rows(run / "curated/kept.jsonl", *kept)
    assert "proof: none of the" in told(run, "1001-7")
    assert list(read_rows(run / "curated/kept.jsonl", CuratedLabel)) == kept[1:]


def test_what_charts_elsewhere_share_is_not_the_records_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_text(run / "gold.jsonl", json.dumps({"id": "note-5", "text": f"As her sister says, {SECRET.lower()}"}) + "\n")
    assert "proof: " in told(run, GONE)
    assert "note-5" in (run / "gold.jsonl").read_text()


def test_a_stage_of_a_study_that_has_no_labels_of_its_own_is_no_hindrance(tmp_path: Path) -> None:
    write_run(tmp_path / "study/teacher")
    texts = {record.id: record.text for record in records_of(tmp_path / "study/teacher")}
    part = tmp_path / "study/memorisation"
    for name in ("records/records.jsonl", "records/manifest.json", "curated/train.jsonl"):  # as `study` writes them
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).write_bytes((tmp_path / "study/teacher" / name).read_bytes())
    write_manifest(part / "curated", counts={"canaries": 3})
    write_manifest(part / "adapter")
    said = told(tmp_path / "study", GONE)
    assert "proof: " in said and said.count("train again: chartdistill study CONFIG") == 1
    others = [text for name, text in texts.items() if name != GONE]
    assert words_left(tmp_path / "study", texts[GONE], others) == []
    assert (read_manifest(part / "curated") or {})["counts"] == {"canaries": 3}


@pytest.mark.parametrize("name", [f"mine/scan of {GONE}.png", f"mine/{GONE}.png", f"{GONE}/scan.png"])
def test_a_file_of_another_kind_that_bears_its_id_is_named(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run")
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_bytes(b"\x89PNG")
    (run / f"{KEPT}.png").write_bytes(b"\x89PNG")
    with pytest.raises(LeftoverError, match=r"1 file: .*png"):
        told(run, GONE)


def test_who_is_in_a_table_alone_can_be_erased_and_other_rows_stay_byte_for_byte(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    long_chart = "Febenor 5 mg; " * 20_000  # more than the module csv takes of itself
    kept = f'id,text,gold\nq1,"{long_chart}",\n"q2","two\nlines","with ""quotes"""\n'
    gone = f'"p12","{OTHER_TEXT}\nand more",x\n\'=p12,,\n'
    (run / "gold.csv").write_text(kept + gone + "q3,,\r\n", newline="")
    assert "proof: " in told(run, "p12")
    assert (run / "gold.csv").read_bytes() == (kept + "'=p12,,\n" + "q3,,\r\n").encode()
    assert "proof: " in told(run, "=p12")
    assert (run / "gold.csv").read_bytes() == (kept + "q3,,\r\n").encode()
    assert [name in Tombstones.of(run) for name in ("p12", "=p12", "q1")] == [True, True, False]


@pytest.mark.parametrize("name", ["'40712", "=40712", " +40712", "''40712", "'"])
def test_an_apostrophe_may_be_the_ids_own(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run")
    answers(run / "mine", {name: OTHER_TEXT, "q1": "Nothing was found in the chart of bed ten."})
    assert "proof: " in told(run, name)
    rows = (run / "mine/answers").read_text().splitlines()
    assert len(rows) > 1 and not any("40712" in row or row.startswith("',") for row in rows)


@pytest.mark.parametrize("name", ["p12", "ward-9/c 1"])
def test_what_a_killed_predict_left_and_the_list_of_what_brat_skipped_name_nobody(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run")
    said = {"tests": {"items": [{"text": "canary"}]}}
    rows = [json.dumps({"id": one, "source": "ward.csv:1", "tasks": said}) + "\n" for one in (name, "q1")]
    (run / "mine/b").mkdir(parents=True)
    for place, text in (("mine/.a.jsonl.0a1b2c.partial", "".join(rows)), ("mine/.b.jsonl.0a1b2c.partial", rows[1])):
        write_text(run / place, text)
    skipped = [f"{one}\ttests\tfailure\ttruncated\n" for one in (name, "q1")]
    write_text(run / "mine/b/skipped.tsv", "".join(skipped))
    assert "proof: " in told(run, name)
    assert sorted(path.name for path in (run / "mine").iterdir()) == [".b.jsonl.0a1b2c.partial", "b"]
    assert (run / "mine/b/skipped.tsv").read_text() == skipped[1]


def test_no_folder_keeps_the_name_of_who_lay_in_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    one, other = "ward-7/patient-4711/n1", "ward-7/patient-4712/n1"
    answers(run / "mine", {one: f"{SECRET} {OTHER_TEXT}", other: OTHER_TEXT})
    assert "proof: " in told(run, one)
    assert not list(run.rglob("*4711*")) and (run / "mine/b" / f"{other}.txt").exists()


@pytest.mark.parametrize(("ids", "groups"), [(["\udcff"], []), ([], ["\udcff"])])
def test_a_name_that_is_no_utf_8_is_unknown_in_a_sentence(tmp_path: Path, ids: list[str], groups: list[str]) -> None:
    run = write_run(tmp_path / "run")
    told(run, GONE)
    manifest = json.loads((run / "records/manifest.json").read_text())
    manifest["sources"] = [{"type": "jsonl", "path": "charts.jsonl", "group_field": "patient"}]
    (run / "records/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"udcff"):
        erase([run], ids, groups, say=lambda line: None)


def test_further_charts_of_its_id_go_from_the_answers_in_brat(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    charts = [("p-4711", "one", SECRET), ("p-4711", "two", OTHER_TEXT), ("p-4712", "three", OTHER_TEXT[::-1])]
    (run / "b").mkdir()
    FOLDERS["brat"]((Answered(name, source, text, {}) for name, source, text in charts), run / "b", TASKS)
    skipped = [f"{path.stem}\ttests\treview\t1 item" for path in sorted((run / "b").glob("*.txt"))]
    (run / "b/skipped.tsv").write_text("\n".join(skipped) + "\n")
    assert len(skipped) == 3 and "proof: " in told(run, "p-4711")
    assert [path.stem for path in (run / "b").glob("*.txt")] == ["p-4712"]
    assert (run / "b/skipped.tsv").read_text() == "p-4712\ttests\treview\t1 item\n"
