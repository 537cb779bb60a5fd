"""What goes by a drug's name: the same under brand and ingredient, never by initials or by words of it."""

from __future__ import annotations

import random
import re

from chartdistill.clinical.entities.base import EntityType
from chartdistill.clinical.lexica.drugs import LexiconUse
from chartdistill.clinical.lexica.ingredients import drug_key, other_names
from chartdistill.clinical.text.grounding import FUZZY_THRESHOLD, Alignment
from chartdistill.clinical.vocabulary import names_of

_PLAIN_NAME = re.compile(r"[a-z]{5,}")


class DrugNamed(EntityType):
    """Base of the kinds of finding whose items are drugs, or mostly are."""

    initials_ground = False
    has_other_names = True

    def _match_key(self, text: str) -> str:
        """The set of its ingredients: see `lexica.ingredients`."""
        return drug_key(self.key(self.canonical(text)), names_of(self._vocabulary, "medication"))

    def string_key(self, text: str) -> str:
        """The same: drugs were never matched by their letters."""
        return self._match_key(text)

    def locate(
        self,
        text: str,
        chart: str,
        threshold: float = FUZZY_THRESHOLD,
        lexicon: LexiconUse = "off",
        initials: bool = False,
    ) -> Alignment | None:
        """Its other names are the brands and ingredients of the lexicon."""
        self.drugs(lexicon)  # one that is required and missing is an error, whether it is needed or not
        return super().locate(text, chart, threshold, lexicon, initials)

    def all_names(self, text: str, lexicon: LexiconUse) -> list[str]:
        """Also other names of the same drug: see `lexica.ingredients`."""
        names = other_names(self.key(text), names_of(self._vocabulary, "medication")) if lexicon != "off" else ()
        return [*super().all_names(text, lexicon), *names]

    def evidence(
        self, text: str, chart: str, threshold: float, lexicon: LexiconUse, word_share: float | None
    ) -> Alignment | None:
        """A drug is a name: words of it that stand somewhere bear nothing out."""
        return super().evidence(text, chart, threshold, lexicon, None)

    def other_name(self, name: str, chart: str, rng: random.Random) -> str | None:
        """A brand or ingredient of the lexicon."""
        known = self.drugs("auto")
        names = [] if known is None else [name for name in known.aliases(name) if _PLAIN_NAME.fullmatch(name)]
        names = [name for name in names if name not in chart.lower()]
        return rng.choice(names) if names else None
