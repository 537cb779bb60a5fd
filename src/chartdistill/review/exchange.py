"""Decisions of a reviewer at another machine: out into a file, and in from one.

In, out: JSONL, one `Decision` a line, as in `review/decisions.jsonl`. Must hold: a file goes in as a whole or not at
all, with every fault named by its line; what is there already is not added again, so a file may be given twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from chartdistill.curation import Decision, decision_file, in_force
from chartdistill.errors import InputError
from chartdistill.runtime.json_lines import JsonLine, read_json_lines
from chartdistill.runtime.outputs import require_writable, whole_file
from chartdistill.runtime.run_folder import read_rows, require_manifest
from chartdistill.runtime.tombstones import Tombstones
from chartdistill.schema import Label

_MAX_FAULTS = 10
_LONGEST_LINE = 1 << 24
"""Bytes: a line of more is no decision."""


@dataclass(frozen=True)
class Imported:
    """What became of the lines of a file."""

    added: int
    known: int
    """Lines that were there already."""
    replaced: int
    """Labels that were decided otherwise here, where the file's decision is the later one."""
    outvoted: int
    """The other way round: the decision here is the later one."""
    elsewhere: int
    """Decisions about labels that this run does not have; they stay in the file, and are not applied."""
    erased: int = 0
    """Decisions about records that were erased here: they are left out."""

    def sentence(self) -> str:
        """For the terminal."""
        parts = [f"{self.added} decisions added, {self.known} were there already"]
        if self.replaced or self.outvoted:
            parts.append(
                f"{self.replaced + self.outvoted} labels were decided differently here: the later decision counts, "
                f"{self.replaced} times the file's"
            )
        if self.elsewhere:
            parts.append(f"{self.elsewhere} are about labels that this run does not have (or has made anew)")
        if self.erased:
            parts.append(f"{self.erased} are about records that were erased here, and were left out")
        return "; ".join(parts) + "."


def export_decisions(run_dir: Path, out: Path, overwrite: bool = False) -> int:
    """Write all decisions of a run, undone ones too; returns how many.

    Raises:
        InputError: nobody has decided anything.
        ArtefactError: the file cannot be written, or is there and `overwrite` is not set.
    """
    rows = decision_file(run_dir)
    require_writable("--export", out, overwrite, read=(run_dir,))
    found = rows.rows()
    if not found:
        raise InputError(f"{rows.path} has no decisions, so there is nothing to export. Make some: chartdistill review")
    with whole_file(out) as stream:
        stream.writelines(row.line() + "\n" for row in found)
    return len(found)


def import_decisions(run_dir: Path, source: Path) -> Imported:
    """Add the decisions of a file.

    Raises:
        InputError: a line is no decision, with its number; or all are about another run.
        ArtefactError: the run has no labels.
    """
    require_manifest(run_dir / "labels", "label")
    found, erased = _read(source), Tombstones.of(run_dir)
    given = [row for row in found if row.record not in erased]
    num_erased = len(found) - len(given)
    if not given:
        raise InputError(
            f"{source}: all of its {num_erased} decisions are about records that were erased from {run_dir}."
        )
    keys = {row.key for row in read_rows(run_dir / "labels" / "labels.jsonl", Label)}
    elsewhere = sum(row.label not in keys for row in given)
    if elsewhere == len(given):
        raise InputError(
            f"{source}: none of its {len(given)} decisions is about a label of {run_dir}. They belong to another run, "
            "or the labels were made anew since."
        )
    rows = decision_file(run_dir)
    before: list[Decision] = []

    def new(there: Sequence[Decision]) -> list[Decision]:
        before[:] = there
        known = {row.id: row for row in there}
        clash = next((row for row in given if known.get(row.id, row) != row), None)
        if clash is not None:
            raise InputError(
                f"{source}: the decision {clash.id} is here too, and says something else. The file was edited."
            )
        return [row for row in given if row.id not in known]

    added = rows.add(new)
    old, now = in_force(before), in_force([*before, *added])
    theirs = in_force(given)
    differ = [place for place in old.keys() & theirs.keys() if old[place].items != theirs[place].items]
    replaced = sum(now.get(place) == theirs[place] for place in differ)
    return Imported(len(added), len(given) - len(added), replaced, len(differ) - replaced, elsewhere, num_erased)


def _read(source: Path) -> list[Decision]:
    found: dict[str, Decision] = {}
    faults = []
    for line in read_json_lines(source, _LONGEST_LINE):
        row = _decision(line)
        if isinstance(row, str):
            faults.append(f"{source}:{line.number}: {row}")
        elif found.setdefault(row.id, row) != row:
            faults.append(f"{source}:{line.number}: the id {row.id} stands above with another decision")
    if faults:
        more = f"\n... and {len(faults) - _MAX_FAULTS} more lines" if len(faults) > _MAX_FAULTS else ""
        raise InputError(
            "\n".join(faults[:_MAX_FAULTS]) + more + "\nNothing was imported. Take these lines out or export again."
        )
    if not found:
        raise InputError(f"{source} has no line. Give a file that `chartdistill review RUN --export FILE` wrote.")
    return list(found.values())


def _decision(line: JsonLine) -> Decision | str:
    """The row, or what is wrong with it; never with text of the line."""
    try:
        return Decision.model_validate(line.parsed(), strict=False)
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "the line"
        return f"not a decision: {where}: {problem['msg']}"
    except ValueError as error:
        return str(error)
