"""Where a sentence begins and ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.clinical.text.sentences import sentence_spans, without


@given(st.text(alphabet="ab .\n!?1", max_size=60))
@settings(max_examples=200, deadline=None)
def test_sentences_are_the_text(text: str) -> None:
    spans = sentence_spans(text)
    assert "".join(text[start:end] for start, end in spans) == text
    assert without(text, []) == text.rstrip() + ("\n" if text.endswith("\n") else "")


def test_sentences_know_abbreviations_and_lists() -> None:
    text = "Dr. Ada gave it p.o. b.i.d. for pain. He slept.\n1. Rest.\n2. Fluids; walk."
    assert [text[a:b].strip() for a, b in sentence_spans(text)] == [
        "Dr. Ada gave it p.o. b.i.d. for pain.", "He slept.", "1. Rest.", "2. Fluids;", "walk.",
    ]  # fmt: skip
