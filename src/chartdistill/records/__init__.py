"""Charts -> records: sources, cleaning, near-duplicates, splits. The verb is prepare.py.

What other rooms may use: the sources and options a config names, and how a text is cleaned and compared.
"""

from chartdistill.records.cleaning import Cleaned, clean
from chartdistill.records.near_duplicates import SHINGLE_WORDS, body_words, cluster_records
from chartdistill.records.sources import AnySource, PrepareOptions, SourceEntry, source_for
from chartdistill.records.sources.entry import id_text

__all__ = [
    "AnySource", "PrepareOptions", "SourceEntry", "source_for", "Cleaned", "clean", "SHINGLE_WORDS", "body_words",
    "cluster_records", "id_text",
]  # fmt: skip
