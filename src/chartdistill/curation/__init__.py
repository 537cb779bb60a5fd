"""Labels -> kept and rejected labels, each reject with its reason. The verbs are curate.py and audit.py.

What other rooms may use: the drawer of filters, and an answer put through it.
"""

from chartdistill.curation.filters import DEFAULT_FILTERS, AnyFilter, Format
from chartdistill.curation.screening import Screened, screen

__all__ = ["DEFAULT_FILTERS", "AnyFilter", "Format", "Screened", "screen"]
