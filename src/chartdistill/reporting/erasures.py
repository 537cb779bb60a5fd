"""What a report says of records that were erased since its stages were made: how many, and what that means."""

from __future__ import annotations

from collections.abc import Iterator

from chartdistill.reporting.run_results import RunResults
from chartdistill.runtime.tombstones import ERASED, adapter_warning


def erasure_limits(results: RunResults) -> Iterator[str]:
    """The adapter that still knows some, and figures that still count some."""
    warning = adapter_warning(results.manifests.get("adapter", {}))
    if warning is not None:
        yield f"{warning[0].upper()}{warning[1:]}."
    erased = results.manifests.get("records", {}).get(ERASED) or {}
    number = erased.get("records", 0)
    if not number:
        return
    counted = results.num_erased_since
    figures = (
        f" The scores were made before and count {counted} of them; `evaluate` makes them again from the stored "
        "answers."
        if counted
        else ""
    )
    charts = "1 chart was" if number == 1 else f"{number} charts were"
    yield f"{charts} erased from this run, and are in none of its files.{figures}"
