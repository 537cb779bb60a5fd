"""Charts -> records: sources, cleaning, near-duplicates, splits. The verb is prepare.py.

What other rooms may use: the sources and options a config names, how labels that exist are read, and how a text is
cleaned and compared.
"""

from chartdistill.records.annotations import (
    AnnotationFile,
    Answer,
    Finding,
    Reading,
    annotations_sha256,
    read_annotations,
)
from chartdistill.records.annotations.answer import nothing_usable, shown
from chartdistill.records.annotations.fine_tuning_lines import NO_ENDINGS, Endings, prompt_and_completion
from chartdistill.records.annotations.index import FROM_CHART, AnswerIndex, completion_of
from chartdistill.records.annotations.question_place import chart_and_kind
from chartdistill.records.cleaning import Cleaned, clean
from chartdistill.records.decoding import Unreadable, decode
from chartdistill.records.gold import GoldFile
from chartdistill.records.groups import split_in_words
from chartdistill.records.near_duplicates import SHINGLE_WORDS, body_hash, body_words, cluster_records
from chartdistill.records.sources import (
    AnySource,
    FolderSource,
    PrepareOptions,
    SourceEntry,
    say_passed_over,
    source_for,
    with_own_names,
)
from chartdistill.records.sources.entry import MAX_BYTES, id_text, text_problem

__all__ = [
    "AnySource", "FolderSource", "PrepareOptions", "SourceEntry", "source_for", "Cleaned", "clean", "SHINGLE_WORDS",
    "body_words", "cluster_records", "id_text", "split_in_words", "body_hash", "AnnotationFile", "Answer",
    "AnswerIndex", "FROM_CHART", "Finding", "GoldFile", "Reading", "annotations_sha256", "completion_of",
    "nothing_usable", "read_annotations", "MAX_BYTES", "Unreadable", "chart_of_bytes", "NO_ENDINGS", "Endings",
    "chart_and_kind", "prompt_and_completion", "say_passed_over", "shown", "with_own_names",
]  # fmt: skip


def chart_of_bytes(data: bytes) -> str | Unreadable:
    """The text of one chart, decoded and judged as a file of a folder of charts is."""
    if len(data) > MAX_BYTES:
        return Unreadable("too_large", f"holds more than {MAX_BYTES} bytes, which no chart does; split it")
    found = decode(data) if data.strip() else Unreadable("empty", "holds no text")
    if isinstance(found, Unreadable):
        return found
    problem = text_problem(found.text, MAX_BYTES * 3)
    return found.text if problem is None else Unreadable(*problem)
