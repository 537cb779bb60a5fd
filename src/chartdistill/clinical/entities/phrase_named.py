"""What goes by a phrase: the same in any word order, and under the second names that charts use (HTN, CXR)."""

from __future__ import annotations

from chartdistill.clinical.entities.base import EntityType
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.clinical.text.grounding import Alignment, locate_second_name, locate_turned
from chartdistill.clinical.text.phrase_keys import phrase_key, second_names


class PhraseNamed(EntityType):
    """Base of the kinds of finding whose items are phrases of clinical use."""

    def _match_key(self, text: str) -> str:
        """In any word order, abbreviated or not: see `text.phrase_keys`."""
        return phrase_key(self.key(text), self.name)

    def _locate_alias(self, key: str, chart: str, lexicon: LexiconUse) -> Alignment | None:
        """Also by a second name ("hypertension": HTN), and turned ("knee MRI": "MRI of the knee")."""
        found = super()._locate_alias(key, chart, lexicon)
        return found or locate_second_name(second_names(key, self.name), chart) or locate_turned(key, chart)

    def names_in(self, text: str, chart: str, lexicon: LexiconUse) -> list[str]:
        """The names of an item, and where the chart has none of them the one that it has."""
        names = self.all_names(text, lexicon)
        place = (
            None
            if self.locate(text, chart, lexicon=lexicon) is None
            else self._locate_alias(self.key(text), chart, lexicon)
        )
        return names if place is None else [*names, chart[place.start : place.end]]
