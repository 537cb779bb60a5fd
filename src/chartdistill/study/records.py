"""Which records a student of a study learns from.

In: a run folder whose records are prepared. Out: ids. Must hold: all arms of a seed that share records draw the same;
a smaller draw is part of a larger one. And about which all arms answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chartdistill.config import Run
from chartdistill.errors import ConfigError
from chartdistill.runtime.run_folder import read_rows
from chartdistill.schema import Record, content_hash
from chartdistill.study.options import StudyConfig


def records_of(run_dir: Path, *splits: str) -> list[Record]:
    """The records of some splits, in order."""
    return [r for r in read_rows(run_dir / "records" / "records.jsonl", Record) if r.split in splits]


def held_out(run: Run, options: StudyConfig) -> list[Record]:
    """The held-out records that all arms answer about, in order.

    Raises:
        ConfigError: there are fewer than the study asks for.
    """
    records = records_of(run.dir, run.config.evaluate.split)
    if options.test_records is None:
        return records
    if len(records) < options.test_records:
        raise ConfigError(
            f"test_records is {options.test_records}; {run.dir / 'records'} has {len(records)} held-out records. Lower "
            "it, leave it out, or give more records."
        )
    drawn = draw([record.id for record in records], options.test_records, 0)
    return [record for record in records if record.id in drawn]


def train_records(run_dir: Path, options: StudyConfig, size: int | None = None) -> list[str]:
    """Ids of the records to draw from.

    Raises:
        ConfigError: there are fewer than `size` (default: the largest size of the study).
    """
    learned = [record.id for record in records_of(run_dir, "train")]
    size = max(options.sizes) if size is None else size
    if len(learned) < size:
        raise ConfigError(
            f"sizes asks for {size} training records; {run_dir / 'records'} has {len(learned)}. Lower the sizes, or "
            "give more records."
        )
    return learned


def draw(records: Sequence[str], size: int, seed: int) -> frozenset[str]:
    """So many of the records, drawn by hash: a smaller draw of the same seed is part of a larger one."""
    return frozenset(sorted(records, key=lambda name: content_hash(seed, name))[:size])
