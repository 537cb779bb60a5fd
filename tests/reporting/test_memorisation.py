"""From how many repeats on something counts as memorised."""

from __future__ import annotations

from chartdistill.reporting.memorisation import _from_when


def test_a_place_counts_as_memorised_only_where_more_repeats_show_it_too() -> None:
    def verdict(*lows: float) -> str:
        rows = {str(4**i): {"difference": {"low": low}} for i, low in enumerate(lows)}
        return _from_when(rows)

    assert verdict(0.2, -0.4, 0.1) == "are memorised from 16 records on"
    assert verdict(0.2, 0.1, 0.1) == "are memorised from 1 record on"
    assert verdict(0.2, 0.1, -0.1) == "are not shown to be memorised"
