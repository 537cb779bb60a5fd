"""Rejects answers that were cut by the token limit: the last item is torn and those after it are missing."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from chartdistill.clinical.text.grounding import occurrences
from chartdistill.clinical.text.normalisation import normalise
from chartdistill.curation.filters.items import LabelFilter
from chartdistill.curation.label_statistics import NO_STATISTICS, LabelStatistics
from chartdistill.prompting.answer_format import says_none
from chartdistill.schema import Item, Label, Record, Rejection, Task

_OPEN_END = re.compile(
    r"(?:[,;:(/&+\-]|\b(?:a|an|the|and|or|but|of|in|on|at|to|for|with|without|from|by|as|per|is|are|was|were|be|been|has"
    r"|have|had|will|may|that|which|who|his|her|their|this|these|if|than|into|due|secondary|probably))$",
    re.IGNORECASE,
)
_END = re.compile(r"[.!?][\"')\]]*$")
_VERB = re.compile(r"\b(?:is|are|was|were|will|has|have|had|should|may|be|been|discussed|ordered|underwent)\b")
_LETTERS_PER_TOKEN = 4.0
"""English text, in the byte-pair vocabularies of common models."""
_MIN_PROSE_WORDS = 10


class Truncation(LabelFilter):
    """Reason code `truncated`.

    Where the engine said how it stopped, that decides. Where nothing is known (data from elsewhere), the text does:
    it ends in a comma or in a word that cannot end anything, tears a word of the chart in two, stops a long sentence
    without a full stop, or reaches the token cap in the middle of a phrase of the chart. A cut between two items
    leaves an incomplete answer, not a wrong one, and passes.
    """

    type: Literal["truncation"] = "truncation"
    token_cap: int = Field(default=50, ge=8)
    """The cap data from elsewhere was made with, in tokens; only used where `finish_reason` is not known."""

    def check(
        self,
        label: Label,
        items: tuple[Item, ...] | None,
        record: Record,
        task: Task,
        run: LabelStatistics = NO_STATISTICS,
    ) -> list[Rejection]:
        """Reject a label whose engine stopped at the limit, however well it reads."""
        if label.finish_reason == "length":
            evidence = f"the answer was cut after {label.completion_tokens} tokens; give label.max_answer_tokens room"
            return [self.objection("truncated", evidence)]
        if label.finish_reason is not None or label.completion is None or says_none(label.completion, task):
            return []
        evidence = self._torn_end(label.completion.strip(), normalise(record.text, label.completion).text)
        return [self.objection("truncated", evidence)] if evidence else []

    def _torn_end(self, text: str, chart: str) -> str:
        if not text:
            return ""
        if _OPEN_END.search(text) and not re.search(r"(?<![A-Za-z])[A-Z]$", text):
            return "the answer ends in a comma or in a word that cannot end it"
        if _END.search(text):
            return ""
        if _tears_a_word(text, chart):
            return "the answer's last word is the beginning of a longer word of the chart"
        last_line = text.split("\n")[-1]
        sentence = re.split(r"(?<=[a-z)][.!?])\s+(?=[A-Z])", last_line)[-1]
        full_stops = len(re.findall(r"[a-z]\.\s+[A-Z]", last_line))
        if len(sentence.split()) >= _MIN_PROSE_WORDS and _VERB.search(sentence):
            return "the answer's last sentence has no end"
        at_cap = len(text) / _LETTERS_PER_TOKEN >= 0.9 * self.token_cap
        if at_cap and full_stops:
            return "the answer reaches the token cap after a full stop, and its last piece has no end"
        if at_cap and _goes_on(text, chart):
            return "the answer reaches the token cap in the middle of a phrase of the chart"
        return ""


def _tears_a_word(text: str, chart: str) -> bool:
    """Whether the last two words stand in the chart only when the last one is made longer."""
    words = text.split()[-2:]
    if len(words) < 2 or not words[-1][-1].isalpha():
        return False
    torn = re.compile(rf"\b{re.escape(words[0])}\s+{re.escape(words[1])}(?=(\w?))", re.IGNORECASE)
    following = [match[1] for match in torn.finditer(chart)]
    return bool(following) and all(following)


def _goes_on(text: str, chart: str) -> bool:
    """Whether the chart goes on in the same phrase wherever the answer's last three words stand."""
    tail = " ".join(text.split()[-3:])
    spans = list(occurrences(tail, chart))
    return bool(spans) and all(re.match(r"[ ]+[a-z]", chart[end : end + 3]) for _, end in spans)
