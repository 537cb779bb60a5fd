"""Labels -> kept and rejected labels, each reject with its reason. The verbs are curate.py and audit.py.

What other rooms may use: the drawer of filters, an answer put through it, and what people decide about labels.
"""

from chartdistill.curation.decisions import (
    ACTIONS,
    Decision,
    PersonName,
    Time,
    checked_name,
    decision_file,
    in_force,
    is_about,
    misfit,
    now,
    seen_hash,
)
from chartdistill.curation.filters import DEFAULT_FILTERS, AnyFilter, Format
from chartdistill.curation.screening import Screened, screen

__all__ = [
    "ACTIONS",
    "DEFAULT_FILTERS",
    "AnyFilter",
    "Decision",
    "Format",
    "PersonName",
    "Screened",
    "Time",
    "checked_name",
    "decision_file",
    "in_force",
    "is_about",
    "misfit",
    "now",
    "screen",
    "seen_hash",
]
