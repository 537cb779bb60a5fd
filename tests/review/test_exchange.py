"""Decisions that go from one machine to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from chartdistill.curation.decisions import decision_file, in_force
from chartdistill.errors import ArtefactError, InputError
from chartdistill.review.exchange import export_decisions, import_decisions
from review_run import LABELS, decide, decision, label, make_run


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return make_run(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return make_run(tmp_path / "there")


def test_out_and_in_again_and_twice_is_once(here: Path, there: Path, tmp_path: Path) -> None:
    first = decision(LABELS[0], None)
    decide(there, first, decision(LABELS[0], None, action="undo", undoes=first.id), decision(LABELS[2], None))
    assert export_decisions(there, tmp_path / "out.jsonl") == 3
    assert import_decisions(here, tmp_path / "out.jsonl").added == 3
    again = import_decisions(here, tmp_path / "out.jsonl")
    assert (again.added, again.known) == (0, 3)
    assert decision_file(here).rows() == decision_file(there).rows()


def test_of_two_machines_the_later_decision_counts_and_is_said(here: Path, there: Path, tmp_path: Path) -> None:
    decide(there, decision(LABELS[0], None, at="2026-01-01T10:00:00.000000Z", by="Bo"))
    decide(there, decision(LABELS[6], None, at="2026-01-03T10:00:00.000000Z", by="Bo"))
    for one in (LABELS[0], LABELS[6]):
        decide(here, decision(one, [("Yasadol", "stop")], at="2026-01-02T10:00:00.000000Z"))
    export_decisions(there, tmp_path / "out.jsonl")
    found = import_decisions(here, tmp_path / "out.jsonl")
    assert (found.replaced, found.outvoted) == (1, 1)
    assert "2 labels were decided differently here" in found.sentence()
    assert {place[0]: row.by for place, row in in_force(decision_file(here).rows()).items()} == {"a": "Ada", "d": "Bo"}


def test_faults_are_named_by_their_lines_and_nothing_goes_in(here: Path, tmp_path: Path) -> None:
    good = decision(LABELS[0], None)
    lines = [good.line(), "{", '{"id": 3}', good.line().replace('"reject"', '"burn"'), ""]
    lines[4] = decision(LABELS[2], None).line().replace("Ada", "A\\ud800")
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        import_decisions(here, tmp_path / "in.jsonl")
    said = str(caught.value)
    assert [f"in.jsonl:{number}:" in said for number in range(1, 6)] == [False, True, True, True, True]
    assert "Nothing was imported" in said and decision_file(here).rows() == []


def test_one_id_with_two_meanings_is_refused(here: Path, tmp_path: Path) -> None:
    one = decision(LABELS[0], None)
    other = decision(LABELS[0], [("Yasadol", "stop")], id=one.id)
    (tmp_path / "in.jsonl").write_text(f"{one.line()}\n{other.line()}\n")
    with pytest.raises(InputError, match=r"in\.jsonl:2: the id"):
        import_decisions(here, tmp_path / "in.jsonl")
    decide(here, one)
    (tmp_path / "in.jsonl").write_text(f"{other.line()}\n")
    with pytest.raises(InputError, match="says something else"):
        import_decisions(here, tmp_path / "in.jsonl")


def test_decisions_of_another_run_are_refused_and_single_ones_counted(here: Path, tmp_path: Path) -> None:
    other = decision(label("elsewhere", "Yasadol | stop"), None)
    (tmp_path / "in.jsonl").write_text(other.line() + "\n")
    with pytest.raises(InputError, match="another run"):
        import_decisions(here, tmp_path / "in.jsonl")
    (tmp_path / "in.jsonl").write_text(other.line() + "\n" + decision(LABELS[0], None).line() + "\n")
    assert import_decisions(here, tmp_path / "in.jsonl").elsewhere == 1


def test_nothing_is_written_over_and_nothing_is_nothing(here: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to export"):
        export_decisions(here, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    decide(here, decision(LABELS[0], None))
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(ArtefactError, match="--overwrite"):
        export_decisions(here, tmp_path / "out.jsonl")
    assert export_decisions(here, tmp_path / "out.jsonl", overwrite=True) == 1
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="has no line"):
        import_decisions(here, tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match=r"missing\.jsonl cannot be read"):
        import_decisions(here, tmp_path / "missing.jsonl")
