"""`erase`: nothing of the record is left, nothing of others goes, a kill is made good, a leftover is named."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import pickle
import signal
import tarfile
import unicodedata
import zipfile
from pathlib import Path
from urllib.parse import quote

import numpy
import pyarrow
import pytest
from pyarrow import parquet

from chartdistill.erasure.erase import LeftoverError, erase
from chartdistill.erasure.search import search
from chartdistill.erasure.targets import find_targets
from chartdistill.erasure.traces import Runs5, Traces
from chartdistill.errors import ArtefactError, ConfigError, InputError
from chartdistill.evaluation.registration import read_registrations
from chartdistill.records.prepare import prepare
from chartdistill.records.sources import JsonlSource, PrepareOptions
from chartdistill.runtime.run_folder import read_manifest, read_rows
from chartdistill.runtime.run_locks import lock
from chartdistill.runtime.tombstones import Tombstones, adapter_warning
from chartdistill.schema import Record, RejectedRecord
from command_line import forked, in_a_fork
from erasure_run import (
    GONE,
    HELD_OUT,
    KEPT,
    NEAR,
    SECRET,
    erase_and_be_killed,
    records_of,
    words_left,
    write_run,
)
from report_run import write_rows


def lines(folder: Path) -> dict[str, list[str]]:
    """Every row of every file below a folder that is not about the record."""
    found = {}
    for path in sorted(folder.rglob("*.jsonl")):
        rows = path.read_text().splitlines()
        found[path.relative_to(folder).as_posix()] = [
            row for row in rows if f'"{GONE}' not in row and "Quibbleton" not in row and f"record {GONE}" not in row
        ]
    return found


def said_of(folder: Path, *ids: str, **options: bool) -> str:
    told: list[str] = []
    erase([folder], ids, say=told.append, **options)
    return "\n".join(told)


def test_nothing_of_the_record_is_left_and_nothing_of_others_goes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    records = {record.id: record for record in records_of(run)}
    others = [record.text for record in records.values() if record.id != GONE]
    before = lines(run)
    assert len(words_left(run, records[GONE].text, others)) >= 10  # the material has what is to be found
    told = said_of(run, GONE)
    assert "proof: none of the" in told and "Quibbleton" not in told
    assert words_left(run, records[GONE].text, others) == []
    for path in run.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            assert f'"{GONE}"' not in text and f"{GONE}:" not in text and f"{GONE}/" not in text, path
            assert path.stat().st_mode & 0o077 == 0, path
    after = {name: rows for name, rows in lines(run).items() if name not in ("erased.jsonl", "records/rejected.jsonl")}
    gone = {"records/.staged.jsonl", "registrations.jsonl", "records/rejected.jsonl"}
    assert after.keys() | gone == before.keys() | gone
    for name in after.keys() - gone:
        assert after[name] == before[name], name
    assert (
        KEPT in (run / "review/decisions.jsonl").read_text() and KEPT in (run / "curated/readmissions.json").read_text()
    )


def test_counts_are_of_what_is_left_and_fingerprints_stay(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    before = {stage: read_manifest(run / stage) for stage in ("records", "labels", "curated", "predictions", "adapter")}
    said_of(run, GONE, HELD_OUT)
    after = {stage: read_manifest(run / stage) or {} for stage in before}
    assert all(after[stage]["fingerprint"] == (before[stage] or {})["fingerprint"] for stage in before)
    counts = after["records"]["counts"]
    assert (counts["read"], counts["kept"], counts["rejected"]) == (41, 38, 3)
    assert counts["by_reason"] == {"erased": 3}  # the two, and the copy that was a duplicate
    assert after["labels"]["counts"]["labels"] == 38
    assert after["curated"]["counts"]["train_examples"] == {"train": 25, "validation": 4}
    assert after["predictions"]["counts"]["records"] == 9
    assert after["adapter"]["erased"]["trained_on"] == 1
    assert "learned from 1 chart that was erased" in str(adapter_warning(after["adapter"]))
    tombstones = Tombstones.of(run)
    assert GONE in tombstones and KEPT not in tombstones
    assert len(tombstones.learned()) == 1 and len(tombstones.held_out("test")) == 1
    assert all(GONE not in row.line() and row.time for row in tombstones.rows)
    row = read_registrations(run)[-1]
    assert (len(row.records), row.erased) == (9, 1)


def test_a_dry_run_changes_nothing_and_a_no_changes_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    told = said_of(run, GONE, dry_run=True)
    assert "labels/labels.jsonl: 1 row would go" in told and "train_messages.jsonl: 1 row would go" in told
    with pytest.raises(ConfigError, match="not confirmed"):
        erase([run], [GONE], confirm=lambda question: False, say=lambda line: None)
    after = {
        path: path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in (".lock", ".onlookers")
    }
    assert after == before


@pytest.mark.parametrize("asked", ["a", "b"])
def test_either_of_two_charts_with_the_same_words_is_known_by_its_id(asked: str, tmp_path: Path) -> None:
    text = "She was told to stop Velorim 5 mg. Order a CBC in two weeks."
    rows = [{"id": "a", "text": text}, {"id": "b", "text": f"{text} ---"}]  # b is longer, and kept under the id a
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = tmp_path / "run"
    prepare([JsonlSource(path=tmp_path / "c.jsonl")], run / "records", PrepareOptions())
    targets, unknown = find_targets(run, [run], [asked], ())
    assert targets.keys() == {"a", "b"} and not unknown


def test_near_duplicates_are_named_and_stay_unless_asked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert f"charts of the same group: {NEAR} " in said_of(run, GONE)
    assert NEAR in {record.id for record in records_of(run)}
    other = write_run(tmp_path / "other")
    said_of(other, GONE, with_near_duplicates=True)
    assert {GONE, NEAR}.isdisjoint(record.id for record in records_of(other))


def test_a_no_to_one_folder_says_what_was_erased_from_others(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name) for name in ("one", "two")]
    with pytest.raises(ConfigError, match=rf"erased from {runs[1]}: .*Erased before: {runs[0]}\.$"):
        erase(runs, [GONE], confirm=lambda question: str(runs[0]) in question, say=lambda line: None)
    assert [GONE in {record.id for record in records_of(run)} for run in runs] == [False, True]


def test_what_stands_for_a_near_duplicate_goes_with_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    rows = [*read_rows(run / "records/rejected.jsonl", RejectedRecord)]
    detail = f"same words as z, which is kept as record {NEAR}"
    write_rows(
        run / "records/rejected.jsonl", *rows, RejectedRecord(source="z", id="c31", reason="duplicate", detail=detail)
    )
    text = next(record.text for record in records_of(run) if record.id == NEAR)
    (run / "gold.jsonl").write_text(json.dumps({"id": "n31", "text": text}) + "\n")
    assert "proof: " in said_of(run, GONE, with_near_duplicates=True)
    assert {row.id for row in read_rows(run / "records/rejected.jsonl", RejectedRecord)} == {None}
    assert (run / "gold.jsonl").read_text() == ""


def planted(kind: str, text: str) -> tuple[str, bytes]:
    if kind == "zip":
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data.pkl", pickle.dumps({"batch": [text]}))
        return "state.pt", held.getvalue()
    if kind == "parquet":
        held = io.BytesIO()
        parquet.write_table(pyarrow.table({"text": [text, "other"]}), held, compression="zstd")
        return "rows.parquet", held.getvalue()
    if kind == "arrow":
        held = io.BytesIO()
        table = pyarrow.table({"text": [text]})
        options = pyarrow.ipc.IpcWriteOptions(compression="lz4")
        with pyarrow.ipc.new_stream(held, table.schema, options=options) as writer:
            writer.write_table(table)
        return "cache.arrow", held.getvalue()
    if kind == "tar of packed files":
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w:gz") as archive:
            info, inner = tarfile.TarInfo("runs/old/rows.gz"), gzip.compress(text.encode("utf-16"))
            info.size = len(inner)
            archive.addfile(info, io.BytesIO(inner))
        return "backup.tgz", held.getvalue()
    if kind == "array":
        held = io.BytesIO()
        numpy.save(held, numpy.array(["other", text]))
        return "texts.npy", held.getvalue()
    twice = json.dumps(json.dumps({"t": text.replace(" ", "\n")}))
    packed = base64.b64encode(text.encode()).decode()
    return {
        "text": ("notes.md", f"As in {text[:60]}".encode()),
        "json in json": ("odd.json5", twice.encode()),
        "pickle": ("rng.bin", pickle.dumps([b"\x00\xff" * 30, text])),
        "gzip": ("log.gz", gzip.compress(gzip.compress(text.encode()))),
        "utf-16": ("export.tsv2", text.encode("utf-16")),
        "html": ("page.htm", text.replace(" ", " <b>").replace("'", "&#39;").encode()),
        "base64": ("mail.eml", packed.encode()),
        "base64 in lines": ("mail.eml", "\r\n".join(packed[at : at + 20] for at in range(0, 999, 20)).encode()),
        "base64 of gzip": (
            "odd.json5",
            json.dumps({"t": base64.encodebytes(gzip.compress(text.encode())).decode()}).encode(),
        ),
        "hex": ("dump.hex", text.encode().hex().encode()),
        "percent": ("page.url", quote(text).encode()),
        "quoted-printable": ("mail.eml", "=\r\n=20".join(text.split(" ")).encode()),
        "repr": ("dump.py", repr(text.replace(" ", "\x07")).encode()),
        "utf-16 without a mark": ("page.bin", text.replace("'", "\u2019").encode("utf-16-be")),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "text", "json in json", "pickle", "gzip", "zip", "parquet", "arrow", "utf-16", "html", "base64",
        "base64 in lines", "base64 of gzip", "hex", "percent", "quoted-printable", "repr", "utf-16 without a mark",
        "tar of packed files", "array",
    ],
)  # fmt: skip
def test_the_proof_names_what_no_verb_wrote_and_holds_once_that_is_gone(tmp_path: Path, kind: str) -> None:
    run = write_run(tmp_path / "run")
    name, data = planted(kind, SECRET)
    (run / "labels" / name).write_bytes(data)
    told: list[str] = []
    with pytest.raises(LeftoverError, match=name):
        erase([run], [GONE], say=told.append)
    assert any("STILL THERE" in line and name in line for line in told)
    with lock(run):
        pass  # everything else goes on
    (run / "labels" / name).unlink()
    assert "proof: none" in said_of(run, GONE)
    assert not list(run.glob(".eras*.json"))


@pytest.mark.parametrize("number", [2, 5, 9, 14, 20, 27, 35, 45, 55])
def test_a_kill_is_made_good_by_the_same_command(tmp_path: Path, number: int) -> None:
    run = write_run(tmp_path / "run")
    texts = {record.id: record.text for record in records_of(run)}
    assert in_a_fork(erase_and_be_killed, run, number) == -signal.SIGKILL
    for path in run.rglob("*.json*"):
        if not path.name.startswith("."):
            for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
                json.loads(line)  # no half file under a final name
    if (run / ".erasing.json").exists():
        with pytest.raises(ArtefactError, match="was interrupted"), lock(run):
            pass
        assert SECRET[:20] not in (run / ".erasing.json").read_text()
    said_of(run, GONE)
    assert words_left(run, texts.pop(GONE), list(texts.values())) == []
    assert {record.id for record in records_of(run)} == texts.keys()
    assert (read_manifest(run / "adapter") or {})["erased"]["trained_on"] == 1
    assert (read_manifest(run / "records") or {})["counts"]["by_reason"] == {"erased": 2}
    assert not list(run.rglob(".*.partial")) and not list(run.glob(".eras*.json"))


def test_what_is_not_there_is_named_with_what_is_near_and_without_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"'Chart-3O' \(near: 'chart-3"):
        erase([run], ["Chart-3O"])
    with pytest.raises(ArtefactError, match="is no run folder"):
        erase([tmp_path / "run" / "labels"], [GONE])
    with pytest.raises(ConfigError, match="--record ID or --group ID"):
        erase([run], [])
    with lock(run), pytest.raises(ArtefactError, match="another process"):
        erase([run], [GONE])
    with lock(run / "rounds"), pytest.raises(ArtefactError, match=r"another process .* is writing to .*/run/rounds"):
        erase([run], [GONE])  # its verbs hold round after round, and not the run
    with lock(run / "rounds/1"), pytest.raises(ArtefactError, match=r"is writing to .*/run/rounds/1"):
        erase([run], [GONE])
    other = write_run(tmp_path / "other")
    erase([other], [GONE], say=lambda line: None)
    told: list[str] = []
    erase([other, run], [GONE], say=told.append)  # gone from one already, and in the other
    assert any("was erased at" in line for line in told) and GONE not in {record.id for record in records_of(run)}


def test_the_command_asks_for_a_yes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    done = forked("erase", str(run), "--record", GONE)
    assert done.returncode == 2 and "give --yes" in done.stderr
    done = forked("erase", str(run), "--record", "copy-30", "--yes")  # a duplicate stands as the record with its words
    assert done.returncode == 0, done.stderr
    assert "proof: none" in done.stdout and "train again: chartdistill run" in done.stdout
    rows = list(read_rows(run / "records/rejected.jsonl", RejectedRecord))
    assert {(row.id, row.reason) for row in rows} == {(None, "erased")}
    assert GONE not in {record.id for record in read_rows(run / "records/records.jsonl", Record)}
    assert os.stat(run / ".erased_salt").st_mode & 0o077 == 0


def test_letters_of_other_scripts_and_old_encodings_are_found(tmp_path: Path) -> None:
    said = "Zoé souffre déjà d'une épaule gelée depuis l'été passé"
    russian = "пациент жалуется на боль в плече два дня"
    forms = {
        "old.log1": said.encode("cp1252"),
        "mac.txt": unicodedata.normalize("NFD", said).encode(),
        "le.bin": russian.encode("utf-16-le"),
        "be.bin": b"\x00" + russian.encode("utf-16-be"),
        "wide.bin": russian.encode("utf-32"),
        "lines.b64": base64.encodebytes((russian * 3).encode()),
        "url.b64": base64.urlsafe_b64encode(russian.encode()),
    }
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
    own = Runs5(b"salt").own([said, russian], [])
    assert {path.name for path in search(tmp_path, Traces((), (), own, b"salt")).left} == set(forms)
    others = Runs5(b"salt").own(["none of these five words"], [])
    assert not search(tmp_path, Traces((), (), others, b"salt")).left
