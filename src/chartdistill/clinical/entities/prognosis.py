"""What a chart states of the expected course of the patient's condition."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from chartdistill.clinical.entities.base import NOTHING_SAME, EntityType, Objection
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.clinical.text.forecasts import SUPPORT_SHARE, forecasts_of, is_forecast, support_of
from chartdistill.clinical.text.foretold import content_key, foretold, say_the_same
from chartdistill.clinical.text.grounding import Alignment, locate_words
from chartdistill.schema import Item

_NEAR = 20
_OUTLOOK = re.compile(r"prognosis(?: is|:| remains) ([^.]+)|(expected to [^.]+)|(will likely [^.]+)", re.IGNORECASE)


class Prognosis(EntityType):
    """Reason codes of its own: `not_a_forecast`, a plan, disposition, present state or diagnosis;
    `unsupported_forecast`, a forecast, but no sentence of the chart makes it."""

    names = ("prognosis",)
    also_called = ("prognoses",)
    task_name = "prognosis"
    question_words = r"\bprognos|\bexpected\s+course\b"
    answer_nouns = r"prognos[ie]s"
    max_words = 20
    """A prognosis is a quoted clause."""
    has_gist = True
    sentences_are_items = True
    not_of_kind = "not_a_forecast"
    insertion = "The prognosis is {}."

    def _match_key(self, text: str) -> str:
        """Its content words."""
        return content_key(text) or self.key(text)

    def same(self, one: str, other: str, same_as: Mapping[str, str] = NOTHING_SAME) -> bool:
        """Statements match by their content words, not only where all are the same: see `text.foretold`."""
        return super().same(one, other, same_as) or say_the_same(one, other)

    def gist(self, text: str) -> str | None:
        """What is foretold: good, fair, guarded, poor, uncertain, a risk, a time."""
        return foretold(text)

    def objection(self, text: str, chart: str, lexicon: LexiconUse, keep_unknown: bool) -> Objection | None:
        """By the grammar of forecasts."""
        if support_of(text, chart) is not None:
            return None
        if is_forecast(text):
            return Objection("unsupported_forecast", "no forecasting sentence of the chart says this")
        evidence = "says nothing of the expected course, or the chart does not"
        return Objection("not_a_forecast", evidence, self.span(text, chart))

    def overlooked(self, chart: str, lexicon: LexiconUse) -> Objection | None:
        """A forecast that calls itself a prognosis."""
        for start, end in forecasts_of(chart):
            if "prognosis" in chart[max(0, start - _NEAR) : end].casefold():
                return Objection("false_none", "the chart states a prognosis", (start, end))
        return super().overlooked(chart, lexicon)

    def decided_at(self, item: Item, chart: str, lexicon: LexiconUse) -> Alignment | None:
        """The statement where it stands in a sentence that forecasts; else that sentence."""
        support = support_of(item.text, chart)
        if support is None:
            return super().decided_at(item, chart, lexicon)
        start, end = support
        inside = self.locate(item.text, chart[start:end])
        if inside is not None:
            return replace(inside, start=start + inside.start, end=start + inside.end)
        words = locate_words(item.text, chart[start:end], SUPPORT_SHARE)
        end = start + len(chart[start:end].rstrip())
        return Alignment(start, end, "words", 100.0 if words is None else words.score)

    def split(self, text: str) -> list[str]:
        """A statement stays whole."""
        return [text]

    def new_names(self, synthetic: bool, rng: random.Random) -> Sequence[str]:
        """What an outlook may be."""
        return ("guarded", "favorable", "poor", "excellent", "uncertain", "grave")

    def read_by_rules(self, sentence: str, known: Sequence[str]) -> list[str]:
        """Whatever is said after "prognosis is", "expected to" or "will likely"."""
        return [next(group for group in match.groups() if group).strip() for match in _OUTLOOK.finditer(sentence)]
