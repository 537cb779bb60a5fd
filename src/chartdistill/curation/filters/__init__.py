"""The drawer of filters: what makes a label unfit to learn from.

A filter is one frozen class whose fields are its YAML keys, with one method:

    check(label, items, record, task, run) -> list[Rejection]

`items` is `parse_answer(label.completion, task)`, or None where there is no completion or it does not parse. `run` is
what is known of the run's other labels (`label_statistics.LabelStatistics`); only `duplicates` and `aberration` ask it
about them. A rejection without item rejects the label; one with an item drops that item, and is the evidence of the
label's rejection where both come together. An empty list means nothing to object to. To turn a filter off: leave it
out of the config's `filters:`. To add one: one file, one line here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chartdistill.curation.filters.aberration import Aberration
from chartdistill.curation.filters.abstention import Abstention
from chartdistill.curation.filters.agreement import Agreement
from chartdistill.curation.filters.duplicates import Duplicates
from chartdistill.curation.filters.format import Format
from chartdistill.curation.filters.grounding import Grounding
from chartdistill.curation.filters.kind import Kind
from chartdistill.curation.filters.status import Status
from chartdistill.curation.filters.truncation import Truncation
from chartdistill.curation.filters.verification import Verification
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics, survey

AnyFilter = Annotated[
    Format | Truncation | Duplicates | Grounding | Kind | Status | Abstention | Agreement | Verification | Aberration,
    Field(discriminator="type"),
]

DEFAULT_FILTERS: tuple[AnyFilter, ...] = (
    Format(),
    Truncation(),
    Duplicates(),
    Grounding(),
    Kind(),
    Status(),
    Abstention(),
    Agreement(),
    Verification(),
    Aberration(),
)
"""All filters with their defaults."""

__all__ = [
    "NO_STATISTICS",
    "Aberration",
    "Abstention",
    "Agreement",
    "AnyFilter",
    "DEFAULT_FILTERS",
    "Duplicates",
    "Format",
    "Grounding",
    "Kind",
    "LabelStatistics",
    "Status",
    "Truncation",
    "Verification",
    "survey",
]
