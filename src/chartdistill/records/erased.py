"""Charts that were erased from a run, and that a source still has: they are left out.

In: an entry of a source, the run's tombstones. Out: whether it is one of them. Must hold: neither name nor place of
what was erased is written anywhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chartdistill.records.cleaning import clean
from chartdistill.records.near_duplicates import body_hash, body_hash_as_typed
from chartdistill.records.sources import SourceEntry
from chartdistill.runtime.tombstones import ERASED, Tombstones
from chartdistill.schema import RejectedRecord

LEFT_OUT = RejectedRecord(
    source=ERASED, reason=ERASED, detail="was erased from this run; delete it from its source too"
)
"""The rejection of each of them."""


def was_erased(entry: SourceEntry | RejectedRecord, erased: Tombstones) -> bool:
    """Whether a chart was erased: under its id, under another one (by its words), or with all charts of its group."""
    if entry.id in erased:
        return True
    if not erased or isinstance(entry, RejectedRecord):
        return False
    text = clean(entry.text).text
    words = (body_hash(text), body_hash_as_typed(text))
    return erased.has_group(entry.group) or any(erased.has_words(one) for one in words)


def say_left_out(number: int, run_dir: Path) -> None:
    """On standard error, where there are any."""
    if number:
        them = "1 chart of the sources was" if number == 1 else f"{number} charts of the sources were"
        print(
            f"prepare: {them} left out, having been erased from {run_dir}; delete what was erased from the sources too",
            file=sys.stderr,
        )
