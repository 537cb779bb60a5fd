"""What was erased does not come back with the next `prepare`, and who learned from it is trained again."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from chartdistill.erasure.erase import erase
from chartdistill.errors import ArtefactError, InputError
from chartdistill.records import PrepareOptions
from chartdistill.records.near_duplicates import body_hash_as_typed
from chartdistill.records.prepare import prepare
from chartdistill.records.sources import JsonlSource
from chartdistill.runtime.run_folder import read_rows
from chartdistill.runtime.tombstones import Tombstones
from chartdistill.schema import Record, RejectedRecord

OPTIONS = PrepareOptions()


def quiet(line: str) -> None:
    pass


def chart(number: int) -> str:
    return f"Patient number {number} of room {number * 7} takes drug{number} every {number + 2} hours and sleeps well."


def source(folder: Path, rows: list[dict[str, str]], **options: str) -> JsonlSource:
    path = folder / "charts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return JsonlSource(path=path, **options)  # type: ignore[arg-type]


def ids(run: Path) -> set[str]:
    return {row.id for row in read_rows(run / "records/records.jsonl", Record)}


def test_the_next_prepare_leaves_it_out_and_writes_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    rows = [{"id": f"name-{n}", "text": chart(n)} for n in range(8)]
    of = source(tmp_path, rows)
    first = prepare([of], run / "records", OPTIONS)
    erase([run], ["name-3"], say=quiet)
    again = prepare([of], run / "records", OPTIONS)
    assert again["fingerprint"] == first["fingerprint"]  # nothing to do, and stages after it stay finished
    (run / "records/manifest.json").unlink()
    anew = prepare([of], run / "records", OPTIONS)
    assert "1 chart of the sources was left out" in capsys.readouterr().err
    assert anew["fingerprint"] == first["fingerprint"]
    assert all(anew["counts"][name] == again["counts"][name] for name in ("read", "kept", "by_reason", "by_split"))
    rows += [{"id": "name-3b", "text": chart(3).upper()}, {"id": "name-9", "text": chart(9)}]
    changed = prepare([source(tmp_path, rows)], run / "records", OPTIONS)  # the same words under another id
    assert changed["counts"]["by_reason"] == {"erased": 2}
    assert ids(run) == {f"name-{n}" for n in range(8) if n != 3} | {"name-9"}
    for path in run.rglob("*"):
        assert not path.is_file() or ("name-3" not in path.read_text() and "drug3 " not in path.read_text())
    assert {row.id for row in read_rows(run / "records/rejected.jsonl", RejectedRecord)} == {None}


def test_an_id_that_is_a_place_keeps_no_other_chart_out(tmp_path: Path) -> None:
    run = tmp_path / "run"
    rows = [{"text": chart(n)} for n in range(6)]
    prepare([source(tmp_path, rows)], run / "records", OPTIONS)
    erase([run], ["charts:3"], say=quiet)
    prepare([source(tmp_path, rows[:2] + rows[3:])], run / "records", OPTIONS)  # the row is gone, the others move up
    texts = {row.text for row in read_rows(run / "records/records.jsonl", Record)}
    assert texts == {row["text"] for row in rows[:2] + rows[3:]}
    prepare([source(tmp_path, rows)], run / "records", OPTIONS)
    assert chart(2) not in {row.text for row in read_rows(run / "records/records.jsonl", Record)}


def test_a_group_goes_with_all_its_charts_and_those_that_come(tmp_path: Path) -> None:
    run = tmp_path / "run"
    rows = [{"id": f"c{n}", "text": chart(n), "patient": f"MRN {n // 2}"} for n in range(8)]
    of = source(tmp_path, rows, group_field="patient")
    prepare([of], run / "records", OPTIONS)
    erase([run], [], ["mrn 1"], say=quiet)
    assert ids(run) == {"c0", "c1", "c4", "c5", "c6", "c7"}
    rows.append({"id": "c9", "text": chart(9), "patient": "MRN 1"})
    prepare([source(tmp_path, rows, group_field="patient")], run / "records", OPTIONS)
    assert ids(run) == {"c0", "c1", "c4", "c5", "c6", "c7"}
    with pytest.raises(InputError, match="no chart of its sources has this group"):
        erase([run], [], ["MRN 77"], say=quiet)
    (tmp_path / "charts.jsonl").unlink()
    with pytest.raises(InputError, match="sources are read again"):
        erase([run], [], ["MRN 2"], say=quiet)


def test_without_the_salt_nothing_is_prepared_as_if_nothing_was_erased(tmp_path: Path) -> None:
    run = tmp_path / "run"
    of = source(tmp_path, [{"id": f"name-{n}", "text": chart(n)} for n in range(5)])
    prepare([of], run / "records", OPTIONS)
    erase([run], ["name-3"], say=quiet)
    (run / ".erased_salt").unlink()
    with pytest.raises(ArtefactError, match="cannot say what was erased"):
        prepare([of], run / "records", OPTIONS)


def test_several_runs_need_it_in_one(tmp_path: Path) -> None:
    of = source(tmp_path, [{"id": f"name-{n}", "text": chart(n)} for n in range(5)])
    (tmp_path / "other").mkdir()
    other = source(tmp_path / "other", [{"id": f"other-{n}", "text": chart(n + 20)} for n in range(5)])
    prepare([of], tmp_path / "a/records", OPTIONS)
    prepare([other], tmp_path / "b/records", OPTIONS)
    erase([tmp_path / "a", tmp_path / "b"], ["name-3"], say=quiet)
    assert "name-3" not in ids(tmp_path / "a") and len(ids(tmp_path / "b")) == 5


def test_a_chart_that_was_erased_while_words_were_compared_by_characters_stays_away(tmp_path: Path) -> None:
    run, accented = tmp_path / "run", chart(3).replace("sleeps", "dort \u00e9veill\u00e9 et sleeps")
    rows = [{"id": f"name-{n}", "text": chart(n)} for n in range(5)] + [{"id": "other", "text": accented}]
    prepare([source(tmp_path, rows)], run / "records", OPTIONS)
    erase([run], ["other"], say=quiet)
    erased = Tombstones.of(run)
    then = erased.hashed("words", body_hash_as_typed(accented))
    assert then not in erased.rows[0].words
    erased.write(run, [erased.rows[0].model_copy(update={"words": (then,)})])
    again = [*rows[:5], {"id": "under-another-name", "text": accented}]
    counts = prepare([source(tmp_path, again)], run / "records", OPTIONS)["counts"]
    assert counts["by_reason"] == {"erased": 1}


def test_an_erased_chart_does_not_come_back_in_other_characters(tmp_path: Path) -> None:
    run, accented = tmp_path / "run", chart(3).replace("sleeps", "dort \u00e9veill\u00e9 et sleeps")
    rows = [{"id": f"name-{n}", "text": chart(n)} for n in range(5)] + [{"id": "other", "text": accented}]
    prepare([source(tmp_path, rows)], run / "records", OPTIONS)
    erase([run], ["other"], say=quiet)
    again = [*rows[:5], {"id": "as-sent-again", "text": unicodedata.normalize("NFD", accented)}]
    assert prepare([source(tmp_path, again)], run / "records", OPTIONS)["counts"]["by_reason"] == {"erased": 1}
