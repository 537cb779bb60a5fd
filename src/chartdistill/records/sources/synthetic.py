"""Synthetic charts with exact gold -> entries: for the demo, and for checks that need a known answer.

In: a count, a seed and a pool of made-up drug names. Out: entries, no rejections. Must hold: entry i depends on
(pool, seed, i) only, so a larger count adds charts and changes none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from chartdistill.demo.charts import ALSO, write_chart
from chartdistill.records.sources.entry import MAX_BYTES, Source, SourceEntry
from chartdistill.schema import Item, RejectedRecord


class SyntheticSource(Source):
    """Made-up charts, filed as charts are found: some with lost line breaks, keyword tails or `nan`."""

    type: Literal["synthetic"] = "synthetic"
    count: int = Field(ge=1)
    """Charts to write."""
    seed: int = 0
    pool: Literal["train", "heldout"] = "train"
    """Which drug names occur; no name is in two pools."""
    also: tuple[str, ...] = Field(default=(), exclude_if=lambda names: not names)
    """Further tasks whose facts are written in, with gold. Charts without them are those the shipped models learned
    from. (Left out of the manifest where there are none: a run prepared before this option was there is still done.)"""

    @field_validator("also")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(names) - set(ALSO)):
            raise ValueError(f"no charts can be written for {', '.join(unknown)}; allowed: {', '.join(ALSO) or 'none'}")
        if len(set(names)) < len(names):
            raise ValueError(f"a task named twice: {', '.join(names)}; name each once")
        return names

    @property
    def has_gold_of_its_own(self) -> bool:
        """Always."""
        return True

    def read(self, max_bytes: int = MAX_BYTES, scratch: Path | None = None) -> Iterator[SourceEntry | RejectedRecord]:
        """All charts, in order; `max_bytes` is far above any of them."""
        for index in range(self.count):
            name = f"{self.pool}:{self.seed}:{index}"
            rng = random.Random(name)
            chart = write_chart(rng, self.pool, also=self.also)
            gold = {
                task: tuple(Item(text=text, status=status) for text, status in items)
                for task, items in chart.gold.items()
            }
            yield SourceEntry(
                f"synthetic-{name.replace(':', '-')}", f"synthetic:{name}", chart.as_filed(rng), self.split, gold
            )

    def stamp(self) -> list[str]:
        """Nothing on disk to change."""
        return []
