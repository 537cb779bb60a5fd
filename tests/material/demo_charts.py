"""Charts of the demo as records of a test split, and the tasks that they have gold for."""

from __future__ import annotations

from chartdistill.config import load_task
from chartdistill.records.cleaning import clean
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.schema import Record
from places import ROOT

TASKS = [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "prognosis", "diagnosis", "tests")]


def charts(count: int, seed: int = 3) -> dict[str, Record]:
    return {
        entry.id: Record(
            id=entry.id, source=entry.source, text=clean(entry.text).text, cluster=entry.id, split="test",
            segments=(), gold=entry.gold,
        )
        for entry in SyntheticSource(pool="heldout", count=count, seed=seed).read()
        if not hasattr(entry, "reason")
    }  # fmt: skip
