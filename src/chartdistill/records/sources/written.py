"""The invented charts that come with the program, with gold -> entries: language as people write it, without a patient.

In: `demo/written/charts.jsonl`. Out: entries, no rejections. Must hold: its fifth for testing never goes to training.
How they were made, and how well two readers agreed: docs/written-charts.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from chartdistill.records.sources.entry import MAX_BYTES, Source, SourceEntry
from chartdistill.runtime.json_lines import read_json_lines
from chartdistill.schema import Item, RejectedRecord, Row, Split

CHARTS = Path(__file__).parents[2] / "demo" / "written" / "charts.jsonl"


class WrittenSource(Source):
    """Invented charts with gold. They keep the file's splits, unless `split` puts all of one part elsewhere."""

    type: Literal["written"] = "written"
    part: Literal["all", "train", "validation", "test"] = Field(default="all")
    """Which of them."""

    @property
    def has_gold_of_its_own(self) -> bool:
        """Always."""
        return True

    def read(self, max_bytes: int = MAX_BYTES, scratch: Path | None = None) -> Iterator[SourceEntry | RejectedRecord]:
        """All charts of the part, in the file's order; `max_bytes` is far above any of them."""
        for line in read_json_lines(CHARTS):
            chart = WrittenChart.model_validate(line.parsed())
            if self.part in ("all", chart.split):
                name = f"written:{chart.writer}:{chart.type}"
                yield SourceEntry(chart.id, name, chart.text, self.split or chart.split, chart.gold)

    def stamp(self) -> list[str]:
        """The file's hash: another version of the program may have other charts."""
        return [hashlib.sha256(CHARTS.read_bytes()).hexdigest()]


class WrittenChart(Row):
    """One line of the file."""

    id: str
    writer: str
    """One letter for each of the writers."""
    type: str
    """Kind of note."""
    specialty: str
    split: Split
    """Fixed in the file, alike over writers and types: a fifth is for testing, a tenth for validation."""
    text: str
    gold: dict[str, tuple[Item, ...]]
