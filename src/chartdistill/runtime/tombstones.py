"""What was erased from a run folder, so that it does not come back: one row for each record, without its name.

In: the ids and words of erased records. Out: `erased.jsonl` in the run folder, with salted hashes of them, and the salt
in a file apart. Read by `prepare` (which leaves them out), by `train` and `evaluate` (an adapter, or scores, of records
that are gone are not finished) and by all that uses an adapter. Who has the folder, salt included, can test whether a
name that he knows is among them, and learn no name that he does not know.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from chartdistill.errors import ArtefactError
from chartdistill.runtime.run_folder import read_rows, write_text
from chartdistill.schema import Row, Split, content_hash

TOMBSTONES, SALT = "erased.jsonl", ".erased_salt"
"""In the run folder."""
ERASED = "erased"
"""Key of manifests, and the reason why an entry of a source becomes no record."""
_SALT_BYTES = 32


class Tombstone(Row):
    """One erased record, or all charts of one group (patient)."""

    time: str
    """UTC, ISO 8601."""
    what: Literal["record", "group"]
    name: str
    """Salted hash of the record's id, or of the group's value."""
    words: tuple[str, ...] = ()
    """Salted hashes of its words: the same text under another id is left out too."""
    by_place: bool = Field(default=False, exclude_if=lambda by_place: not by_place)
    """Its id was its place in a file (`charts:17`), where another chart may stand later: only its words tell it."""
    split: Split | None = None
    trained: bool = False
    """Whether training examples were made of it, so that an adapter may have learned from it."""
    validated: bool = False
    """Whether examples to validate by were."""
    rows: int = 0
    """Rows and entries that were taken out of files."""


class Tombstones:
    """The erased records of one run folder."""

    def __init__(self, rows: Sequence[Tombstone] = (), salt: bytes = b"") -> None:
        self.rows, self._salt = tuple(rows), salt
        self._ids = {row.name for row in rows if row.what == "record" and not row.by_place}
        self._known = {row.name: row for row in rows}
        self._words = {one for row in rows for one in row.words}
        self._groups = {row.name for row in rows if row.what == "group"}

    @classmethod
    def of(cls, run_dir: Path) -> Tombstones:
        """Those of a run folder; none where nothing was erased.

        Raises:
            ArtefactError: the salt is gone, so nobody can say what was erased.
        """
        path, salt = run_dir / TOMBSTONES, run_dir / SALT
        if not path.exists():
            return cls(salt=bytes.fromhex(salt.read_text(encoding="ascii")) if salt.exists() else b"")
        if not salt.exists():
            raise ArtefactError(
                f"{salt} is missing, without which {path.name} cannot say what was erased from {run_dir}. Put it back "
                f"from a copy of the folder; or delete {path}, and erased charts come back with the next `prepare`."
            )
        return cls(list(read_rows(path, Tombstone)), bytes.fromhex(salt.read_text(encoding="ascii")))

    def with_salt(self, run_dir: Path) -> Tombstones:
        """The same; the first time a salt is drawn and written."""
        if not self._salt:
            write_text(run_dir / SALT, secrets.token_bytes(_SALT_BYTES).hex())
        return Tombstones.of(run_dir)

    def hashed(self, kind: str, value: str) -> str:
        """Salted hash, 32 hex digits. `kind`: `id`, `words` or `group`."""
        said = f"{kind}:{value}".encode("utf-8", "surrogatepass")  # an id as it was typed may be no UTF-8
        return hashlib.blake2b(said, key=self._salt, digest_size=16).hexdigest()

    def write(self, run_dir: Path, rows: Iterable[Tombstone]) -> Tombstones:
        """Add rows; those of the same name are replaced."""
        known = {row.name: row for row in self.rows} | {row.name: row for row in rows}
        write_text(run_dir / TOMBSTONES, "".join(f"{row.line()}\n" for row in known.values()))
        return Tombstones.of(run_dir)

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __contains__(self, record: object) -> bool:
        """Whether a record of this id was erased."""
        return bool(self._ids) and isinstance(record, str) and self.hashed("id", record) in self._ids

    def of_record(self, record: str) -> Tombstone | None:
        """The row of an id, also where the id was only a place in a file."""
        return self._known.get(self.hashed("id", record)) if self.rows else None

    def has_words(self, body: str) -> bool:
        """Whether a record of these words (`records.body_hash`) was erased."""
        return bool(self._words) and self.hashed("words", body) in self._words

    def has_group(self, group: str | None) -> bool:
        """Whether all charts of this group were erased."""
        return bool(self._groups) and group is not None and self.hashed("group", group) in self._groups

    def facts(self) -> dict[str, Any] | None:
        """What manifests of stages without these records say; None where nothing was erased."""
        names = sorted(row.name for row in self.rows)
        return (
            {"records": sum(row.what == "record" for row in self.rows), "mark": content_hash(names)} if names else None
        )

    def learned(self) -> list[str]:
        """Names of those that an adapter may have learned from, or was chosen by: with more of them than in its
        training it is another adapter."""
        return sorted(row.name for row in self.rows if row.trained or row.validated)

    def held_out(self, split: str) -> list[str]:
        """Names of those of a split: scores that counted them are of other records."""
        return sorted(row.name for row in self.rows if row.what == "record" and row.split == split)


def adapter_warning(manifest: Mapping[str, Any]) -> str | None:
    """What to say before an adapter is used that learned from erased records; None where it did not.

    `manifest`: the adapter's.
    """
    found = manifest.get(ERASED)
    if not found:
        return None
    learned, chosen, perhaps = (found.get(name, 0) for name in ("trained_on", "validated_on", "perhaps"))
    parts = [
        f"learned from {_charts(learned)}" if learned else "",
        f"was chosen by {_charts(chosen)}" if chosen else "",
        f"may have learned from {_charts(perhaps)}" if perhaps else "",
    ]
    how = " and ".join(part for part in parts if part)
    return (
        f"the adapter {how} erased since ({found['since'][:10]}): what it learned is still in its weights. Train it "
        "again (`chartdistill run CONFIG --from train`)"
    )


def _charts(number: int) -> str:
    return f"{number} chart that was" if number == 1 else f"{number} charts that were"


def remove_file(path: Path) -> None:
    """Remove a file, and make that last before the caller goes on."""
    path.unlink(missing_ok=True)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
