"""Chunks of long records, and their items put together."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from chartdistill.config import load_task
from chartdistill.labelling.chunks import chunks_of, merge_items
from chartdistill.schema import Item, Record
from places import ROOT

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")


def record(text: str) -> Record:
    return Record(id="r1", source="made up", text=text, cluster="c", split="train", segments=())


def count_words(text: str) -> int:
    return len(text.split())


@settings(max_examples=200, deadline=None)
@example(text=";;a a a ; ;", size=4, overlap=1)  # the piece after the overlap fills a chunk alone
@given(
    text=st.text(alphabet="ab .;\n", max_size=300),
    size=st.integers(min_value=4, max_value=40),
    overlap=st.integers(min_value=0, max_value=3),
)
def test_passages_cover_the_record_and_fit(text: str, size: int, overlap: int) -> None:
    found = chunks_of(record(text), count_words, size, overlap)
    assert found[0].start == 0 and found[-1].end == len(text)
    for chunk in found:
        assert chunk.text == text[chunk.start : chunk.end]
        assert count_words(chunk.text) <= size
    for before, after in pairwise(found):
        assert before.start < after.start <= before.end < after.end


def test_passages_end_at_sentences_and_overlap() -> None:
    text = "One two three. Four five six. Seven eight nine. Ten eleven twelve."
    found = chunks_of(record(text), count_words, 6, 3)
    assert [chunk.text.strip() for chunk in found] == [
        "One two three. Four five six.",
        "Four five six. Seven eight nine.",
        "Seven eight nine. Ten eleven twelve.",
    ]


def test_merged_items_are_each_once_and_conflicts_stay() -> None:
    a, b = Item(text="Velorim 5 mg", status="continue"), Item(text="velorim", status="continue")
    other = Item(text="Velorim", status="stop")
    assert merge_items([(a,), (b, other)], MEDICATION) == (a, other)
