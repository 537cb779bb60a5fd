"""What was decided before the answers existed: the gates and the held-out records, written down with the time.

In: a config's gates and the held-out records of a run folder. Out: `registrations.jsonl` in the run folder, one line
each time either changed, and one when an arm begins to answer about these records; and, for the report, whether the
gates or the held-out records were changed after that. What must hold: lines are only ever added; what was registered
when a held-out record was first answered about counts for all later sets that hold this record.

The file is a memory, not a proof: who deletes it, or takes another run folder, starts anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from chartdistill.evaluation.trust_gates import TrustGate
from chartdistill.runtime.run_folder import RowWriter, read_rows, write_text
from chartdistill.schema import Record, Row, content_hash

REGISTRATIONS = "registrations.jsonl"
REGISTERED = "registered"
"""Key in the manifests of adapter/ and predictions/ of what was registered before the answers."""
_MARK = 16
"""Hex digits of a record's mark."""


class Registration(Row):
    """One line of registrations.jsonl."""

    time: str
    """UTC, ISO 8601."""
    verb: str
    """Who wrote it."""
    gates: tuple[str, ...] | None
    """The gates, as a config writes them; None: answers were there before this file, so nobody knows."""
    held_out: str
    """Fingerprint of the held-out records: their ids, texts and gold."""
    records: tuple[str, ...]
    """Mark of each held-out text, to see which are also in another set."""
    answered: bool
    """Whether an arm began to answer about them."""
    erased: int = Field(default=0, exclude_if=lambda number: not number)
    """Records that were among them and were erased since: a patient's right, and no choice of held-out records."""

    def facts(self) -> dict[str, Any]:
        """What manifests say of it."""
        gates = None if self.gates is None else content_hash(sorted(self.gates))
        return {"time": self.time, "verb": self.verb, "gates": gates, "held_out": self.held_out}


def register(
    run_dir: Path, gates: Sequence[TrustGate], records: Iterable[Record], verb: str, answering: bool = False
) -> Registration:
    """Add a line where the gates or the held-out `records` are others than in the last, or the answering begins.

    Returns the line that counts for these records: see `in_force`.
    """
    rows = read_registrations(run_dir)
    held_out, marks = _marks(records)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    spelled = tuple(gate.spelled() for gate in gates)
    new = [Registration(time=now, verb=verb, gates=spelled, held_out=held_out, records=marks, answered=answering)]
    if not any(row.answered for row in rows) and _answers_exist(run_dir):
        new.insert(0, new[0].model_copy(update={"gates": None, "answered": True}))
    last = rows[-1] if rows else None
    if last is not None and (last.gates, last.held_out) == (spelled, held_out) and (last.answered or not answering):
        new.pop()
    if new:
        with RowWriter(run_dir / REGISTRATIONS, append=True) as out:
            out.write(*new)
    found = in_force([*rows, *new], held_out, marks)
    return found or (*rows, *new)[-1]


def read_registrations(run_dir: Path) -> list[Registration]:
    """All lines, oldest first; none where there is no file."""
    path = run_dir / REGISTRATIONS
    return list(read_rows(path, Registration, grows=True)) if path.exists() else []


def in_force(rows: Sequence[Registration], held_out: str, marks: Sequence[str]) -> Registration | None:
    """The line written when any of these records was first answered about; None where none was."""
    wanted = set(marks)
    return next((row for row in rows if row.answered and (row.held_out == held_out or wanted & set(row.records))), None)


def forget_held_out(run_dir: Path, records: Sequence[Record], gone: Collection[str]) -> int:
    """Take the marks of records that are being erased out of all lines, so that the sets without them are the same sets
    as before; returns how many marks went.

    Args:
        records: all of the run, with those that go.
        gone: their ids.
    """
    rows = read_registrations(run_dir)
    left = [record for record in records if record.id not in gone]
    stay = set(_marks(left)[1])
    marks = {mark for mark in _marks(record for record in records if record.id in gone)[1] if mark not in stay}
    now = {
        _marks(one for one in records if one.split == split)[0]: _marks(one for one in left if one.split == split)[0]
        for split in {record.split for record in records}
    }
    new = [
        row.model_copy(
            update={
                "records": tuple(mark for mark in row.records if mark not in marks),
                "held_out": now.get(row.held_out, row.held_out),
                "erased": row.erased + len(marks.intersection(row.records)),
            }
        )
        for row in rows
    ]
    if new != rows:
        write_text(run_dir / REGISTRATIONS, "".join(f"{row.line()}\n" for row in new))
    return len(marks.intersection(mark for row in rows for mark in row.records))


def _marks(records: Iterable[Record]) -> tuple[str, tuple[str, ...]]:
    """Fingerprint of held-out records, whatever their order, and the mark of each text."""
    chosen = sorted(records, key=lambda record: record.id)
    whole = content_hash([
        [one.id, one.text, None if one.gold is None else {name: [i.model_dump() for i in of] for name, of in
                                                          sorted(one.gold.items())}]
        for one in chosen
    ])  # fmt: skip
    return whole, tuple(content_hash(one.text)[:_MARK] for one in chosen)


def _answers_exist(run_dir: Path) -> bool:
    """Whether an arm has answered: the teacher's labels apart, which `label` makes of all records."""
    folder = run_dir / "predictions"
    return any(next(folder.glob(f"{arm}.*jsonl"), None) is not None for arm in ("base", "student"))


@dataclass(frozen=True)
class Timing:
    """Whether gates and held-out records are those that were registered before the answers."""

    registered: Registration | None = None
    """What counts; None where it is not recorded, or nothing was answered."""
    withheld: tuple[str, ...] = ()
    """Why an approval is withheld, each in a few words."""
    warnings: tuple[str, ...] = ()
    """What to tell the reader, in sentences."""

    def as_json(self) -> dict[str, Any]:
        """Plain values for report.json and manifests."""
        registered = None if self.registered is None else self.registered.facts()
        return {REGISTERED: registered, "withheld": list(self.withheld), "warnings": list(self.warnings)}


NO_TIMING = Timing()
"""Nothing to compare: no gates, or nothing scored."""


def compare_timing(rows: Sequence[Registration], gates: Sequence[TrustGate], scored: Iterable[Record]) -> Timing:
    """What the gates and records of a report are, beside what was registered.

    Approval is withheld where a registered gate is gone or changed, where gates were set only after the answers, where
    a part of the held-out records had been answered about in another set, and where nothing is recorded. Gates added
    to registered ones make it no easier to be approved: they are only told.
    """
    scored = list(scored)
    if not scored:
        return NO_TIMING
    held_out, marks = _marks(scored)
    registered = in_force(rows, held_out, marks)
    if registered is None or registered.gates is None:
        if not gates:
            return NO_TIMING
        sentence = (
            "When these gates were set is not recorded: the answers are older than the record of it "
            f"({REGISTRATIONS}), or it was deleted. Approval is withheld."
        )
        return Timing(None, ("not recorded when the gates were set",), (sentence,))
    changes = [_gate_change(registered, gates), _erasure(registered), *_record_changes(rows, held_out, marks)]
    found = [change for change in changes if change is not None]
    return Timing(registered, tuple(short for short, _ in found if short), tuple(sentence for _, sentence in found))


_Change = tuple[str, str]
"""(why approval is withheld, or empty; the sentence)."""


def _gate_change(registered: Registration, gates: Sequence[TrustGate]) -> _Change | None:
    before, now = registered.gates or (), tuple(gate.spelled() for gate in gates)
    gone, new = [one for one in before if one not in now], [one for one in now if one not in before]
    if not gone and not new:
        return None
    told = "; ".join([*(f"gone or changed: {one}" for one in gone), *(f"new: {one}" for one in new)])
    when = f"the answers exist since {registered.time}"
    if before and not gone:
        return "", f"Gates were added after evaluation, which takes nothing from the others: {when}; {told}."
    return "gates changed after evaluation", (
        f"Gates changed after evaluation: {when}, the gates of this report do not; {told}. Approval is withheld: put "
        "the registered gates back, or judge by the new ones on held-out records that no arm has answered about."
    )


def _erasure(registered: Registration) -> _Change | None:
    if not registered.erased:
        return None
    return "", (
        f"{registered.erased} of the {registered.erased + len(registered.records)} held-out records that were "
        f"registered at {registered.time} were erased since: figures made before that count them."
    )


def _record_changes(rows: Sequence[Registration], held_out: str, marks: Sequence[str]) -> list[_Change]:
    """About each other set of held-out records that was answered about before this one."""
    first = next((place for place, row in enumerate(rows) if row.answered and row.held_out == held_out), len(rows))
    earlier = {row.held_out: row for row in reversed(rows[:first]) if row.answered and row.held_out != held_out}
    changes = []
    for row in sorted(earlier.values(), key=lambda one: one.time):
        if seen := len(set(marks) & set(row.records)):
            sentence = (
                f"Held-out records changed after evaluation: {seen} of these {len(marks)} had been answered about "
                f"since {row.time}, in a set of {len(row.records)} records or with other gold. Approval is withheld: "
                "it needs held-out records that no arm has answered about."
            )
            changes.append(("held-out records changed after evaluation", sentence))
        else:
            sentence = (
                f"Not the first held-out records of this run: another {len(row.records)} were answered about since "
                f"{row.time}. None of them is among these {len(marks)}."
            )
            changes.append(("", sentence))
    return changes
