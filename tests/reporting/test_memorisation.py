"""From how many repeats on something counts as memorised, and by how many canaries."""

from __future__ import annotations

from typing import Any

from chartdistill.metrics.bootstrap import Estimate
from chartdistill.reporting.memorisation import _from_when


def cell(low: float, holm: float | None = 0.01, n: int = 20, discordant: int | None = None) -> dict[str, Any]:
    gap = Estimate(
        value=low + 1, low=low, high=low + 2, n=n, unscored=0, clusters=n,
        discordant=n if discordant is None else discordant,
    )  # fmt: skip
    return {"difference": gap, "test": {"p": holm, "holm": holm, "clusters": n}}


def said(*cells: dict[str, Any]) -> str:
    return _from_when({str(4**place): of for place, of in enumerate(cells)})


def test_a_place_counts_as_memorised_only_where_more_repeats_show_it_too() -> None:
    assert said(cell(0.2), cell(-0.4), cell(0.1)) == "are memorised from 16 records on"
    assert said(cell(0.2), cell(0.1), cell(0.1)) == "are memorised from 1 record on"
    assert said(cell(0.2), cell(0.1), cell(-0.1)) == "are not shown to be memorised"


def test_what_the_corrected_test_does_not_bear_out_is_not_shown() -> None:
    assert said(cell(0.2), cell(0.1), cell(0.1, holm=0.2)) == "are not shown to be memorised"
    assert said(cell(0.2, holm=0.2), cell(0.1), cell(0.1)) == "are memorised from 4 records on"
    assert said(cell(0.2, holm=None), cell(0.1), cell(0.1)) == "are memorised from 4 records on"


def test_four_canaries_are_no_ground_for_a_claim_either_way() -> None:
    assert said(cell(0.2, n=4), cell(0.1, n=4)) == "cannot be judged by 4 canaries"
    assert said(cell(-3, holm=1, n=4)) == "cannot be judged by 4 canaries"
    assert said(cell(0.2, discordant=5)) == "are not shown to be memorised", "in five of twenty"
