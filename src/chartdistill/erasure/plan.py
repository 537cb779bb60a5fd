"""What an erasure has set out to do, written down before anything changes, so that a killed one goes on.

In: the targets. Out: `.erasing.json` in the run folder, with ids and salted hashes of words, never words. While it is
there no other verb takes the folder (`run_folder.lock`). Once all is taken out and something is left that only a person
can remove, it is renamed to `.erased_unproven.json`, which stops nobody.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from chartdistill.erasure.targets import Learned, Target
from chartdistill.erasure.traces import Traces
from chartdistill.errors import ArtefactError
from chartdistill.runtime.run_folder import disk_errors, write_text
from chartdistill.runtime.run_locks import UNFINISHED_ERASURE
from chartdistill.runtime.tombstones import remove_file
from chartdistill.schema import Split

UNPROVEN = ".erased_unproven.json"


class _OneTarget(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    source: str
    split: Split | None
    words: list[str]
    by_place: bool


class _Written(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    salt: str
    time: str
    targets: list[_OneTarget]
    groups: list[str]
    variants: list[str]
    own: list[int]
    around: list[str] = []
    adapters: list[tuple[str, list[str], list[str], list[str]]]
    """(folder, trained, validated, perhaps)."""
    rows: dict[str, int]


@dataclass
class Plan:
    """One erasure in one run folder."""

    folder: Path
    targets: dict[str, Target]
    groups: tuple[str, ...]
    """Group values, as sources compare them."""
    traces: Traces
    salt: bytes
    time: str
    """When it was begun: UTC, ISO 8601."""
    adapters: tuple[Learned, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    """File, below the folder -> rows or entries taken out of it so far."""

    def write(self) -> None:
        """Write it down, or write it anew with the rows so far."""
        written = _Written(
            salt=self.salt.hex(), time=self.time,
            targets=[
                _OneTarget(
                    id=one.id, source=one.source, split=one.split, words=sorted(one.words), by_place=one.by_place
                )
                for one in self.targets.values()
            ],
            groups=list(self.groups), variants=sorted(self.traces.variants), own=[int(run) for run in self.traces.own],
            around=sorted(self.traces.around),
            adapters=[
                (
                    one.folder.relative_to(self.folder).as_posix(), list(one.trained), list(one.validated),
                    list(one.perhaps),
                )
                for one in self.adapters
            ],
            rows=self.rows,
        )  # fmt: skip
        write_text(self.folder / UNFINISHED_ERASURE, written.model_dump_json() + "\n")

    def changed_all(self) -> None:
        """All is taken out; what is left is the search, and what a person must do."""
        with disk_errors(self.folder):
            os.replace(self.folder / UNFINISHED_ERASURE, self.folder / UNPROVEN)

    def proven(self) -> None:
        """Nothing is left."""
        remove_file(self.folder / UNPROVEN)


def new_salt() -> bytes:
    """For the hashes of one plan."""
    return secrets.token_bytes(32)


def begun(folder: Path) -> Plan | None:
    """The erasure that was begun in a folder and is not proven; None where there is none.

    Raises:
        ArtefactError: its file cannot be read.
    """
    path = next((folder / name for name in (UNFINISHED_ERASURE, UNPROVEN) if (folder / name).exists()), None)
    if path is None:
        return None
    try:
        found = _Written.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise ArtefactError(
            f"{path} cannot be read ({type(error).__name__}): it was changed, or is of another version. Delete it and "
            "run the same `erase` again, and read what the search at its end says."
        ) from None
    targets = {one.id: Target(one.id, one.source, one.split, set(one.words)) for one in found.targets}
    salt = bytes.fromhex(found.salt)
    traces = Traces(targets, found.variants, np.array(sorted(found.own), dtype=np.uint64), salt, found.around)
    adapters = tuple(
        Learned(folder / name, tuple(trained), tuple(validated), tuple(perhaps))
        for name, trained, validated, perhaps in found.adapters
    )
    return Plan(folder, targets, tuple(found.groups), traces, salt, found.time, adapters, found.rows)
