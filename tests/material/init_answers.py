"""Charts, gold and the five answers of `init`, for its tests."""

from __future__ import annotations

import json
from pathlib import Path


def charts(folder: Path, number: int = 6) -> Path:
    """Charts of a few words each."""
    folder.mkdir(parents=True)
    for i in range(number):
        (folder / f"c{i}.txt").write_text(f"Visit {i}. Takes Velorim {i} mg daily. Plan: stop Tandrel, order CBC.")
    return folder


def gold(path: Path, *ids: str) -> Path:
    """Gold of one drug for each id."""
    items = [{"text": "Velorim", "status": "continue"}]
    path.write_text("".join(json.dumps({"id": i, "gold": {"medication": items}}) + "\n" for i in ids))
    return path


def options(records: Path | str, **changes: str | None) -> dict[str, str | None]:
    """All five, as the command line gives them."""
    given: dict[str, str | None] = {
        "records": str(records), "hardware": "cpu", "tasks": "medication,tests", "gold": "none", "report_text": "no",
    }  # fmt: skip
    return given | changes
