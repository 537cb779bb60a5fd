"""Which validation records choose the adapter."""

from __future__ import annotations

from chartdistill.schema import Record
from chartdistill.training.packing import Branch, Example
from chartdistill.training.validation import drawn


def test_validation_records_are_drawn_over_sources_and_clusters() -> None:
    """40 charts of one source before 40 of another, and each of the other has a near-duplicate beside it."""
    records = {
        name: Record(id=name, source=name[0], text="t", cluster=name if name[0] == "a" else f"b{int(name[1:]) // 2}",
                     split="validation", segments=())
        for name in (*(f"a{n}" for n in range(40)), *(f"b{n}" for n in range(40)))
    }  # fmt: skip
    examples = [Example(name, [1], (Branch("tests", [2], [3]),)) for name in records]
    for seed in range(20):
        chosen = drawn(examples, records, 30, seed)
        assert len({records[one.record].cluster for one in chosen}) == 30, "one of each cluster first"
        assert 2 <= sum(one.record.startswith("b") for one in chosen) <= 22
        assert drawn(examples[::-1], records, 30, seed) == chosen, "the order of the sources decides nothing"
        assert len(drawn(examples, records, 100, seed)) == 80
    assert drawn(examples, records, 30, 0) != drawn(examples, records, 30, 1)
