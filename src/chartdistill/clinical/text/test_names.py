"""Which test a short name means: what is measured, a cause of infection that is tested for, a result that is abnormal.

In: a noun phrase. Out: yes or no, by the lists of `lexica.tests`. Must hold: pure; a name that is a test only as the
whole item ("sodium") makes no test of a phrase that holds it ("sodium bicarbonate").
"""

from __future__ import annotations

import re

from chartdistill.clinical.lexica.tests import AGENTS, MEASURED, TEST_WORDS
from chartdistill.clinical.text.sections import Mention

_WORD = re.compile(r"[a-z0-9]+(?:[&/.'-][a-z0-9]+)*")
_AROUND = re.compile(
    r"^(?:(?:an?|the|his|her|repeat|follow-?up|serial|daily|weekly|fasting|random|serum|plasma|blood|urine|urinary|stool|fecal|sputum|csf|spot|24-hour|24\s+hour"
    r"|total|free|direct|indirect|ionized|rapid|maternal|prenatal|baseline|am|morning|evening|stat|trough|peak|new|another|routine|quantitative)\s+)+"
    r"|\s+(?:levels?|today|tomorrow|daily|weekly|monthly|stat|now|in\s+the\s+morning|in\s+the\s+am|x\s?\d|times\s+\w+)$"
)
_SENT = re.compile(
    r"\b(?:check\w*|send|sent|order\w*|obtain\w*|test\w*|swab\w*|screen\w*|draw|drawn|culture\w*|pcr|probe|lab\w*|titers?|serolog\w+|pending|await\w*|assay|stain"
    r"|work-?\s?up|profile|collected|submitted|rule\s+out|request\w*|recommend\w*)\b",
    re.IGNORECASE,
)
_TESTED = re.compile(
    r"^[\s/-]+(?:\w+\s+)?(?:tests?|testing|screens?|screening|antibod(?:y|ies)|antigen|serolog(?:y|ies)|titers?|pcr|cultures?|swabs?|assays?|panel|status"
    r"|viral\s+load)\b|^\s+(?:is|was|were)\s+(?:sent|ordered|pending|nonreactive|negative|checked)\b",
    re.IGNORECASE,
)
_ABNORMAL = re.compile(
    r"^(?:(?:an?|the|his|her|mildly|slightly|markedly|persistently|severely|chronically|transiently|borderline|recent|recurrent|history\s+of)\s+)*"
    r"(?:abnormal(?:ly)?|elevat(?:ed|ion\s+(?:of|in))|high|low|increased|decreased|raised|reduced|positive|impaired|prolonged|rising|falling|deranged|altered"
    r"|atypical|nonreassuring|non-?reactive|reactive|fluctuating|labile|uncontrolled|subtherapeutic|supratherapeutic|poorly\s+controlled|absent|suboptimal"
    r"|inadequate|suspicious|indeterminate|equivocal)\s+(?!(?:resolution|dose|definition|speed|risk|power|field)\b)(?P<what>\S.*)$"
    r"|^(?P<before>.*\S)\s+(?:elevations?|abnormalit(?:y|ies)|positivity|positive|derangements?|deficiency|excess)$",
    re.IGNORECASE,
)


def is_listed_test(phrase: str) -> bool:
    """Whether the lists have a word of the phrase, or the whole phrase, as a test."""
    plain = " ".join(phrase.casefold().split()).strip(" .,;:\"'()")
    return any(word in TEST_WORDS or word.removesuffix("s") in TEST_WORDS for word in _WORD.findall(plain)) or _whole(
        plain, MEASURED
    )


def is_agent(phrase: str) -> bool:
    """Whether the whole phrase is a cause of infections: "HIV", "C. diff", "stool H. pylori"."""
    return _whole(" ".join(phrase.casefold().split()).strip(" ,;:\"'()"), AGENTS)


def _whole(plain: str, names: frozenset[str]) -> bool:
    bare = _AROUND.sub("", _AROUND.sub("", plain))
    return any(form in names or form.removesuffix("s") in names for form in (plain, plain.rstrip("."), bare))


def is_sent_for(mention: Mention) -> bool:
    """Whether the sentence sends for a test of the agent that it names."""
    return _SENT.search(mention.told_before) is not None or _SENT.search(mention.told_after) is not None


def is_tested_for(mention: Mention) -> bool:
    """Whether the words behind an agent's name make a test of it: "HIV antibody"."""
    return _TESTED.search(mention.told_after) is not None


def abnormal_result(phrase: str) -> str | None:
    """The test whose result a phrase calls abnormal: "PSA" of "elevated PSA"; None where it calls none so."""
    match = _ABNORMAL.search(" ".join(phrase.split()))
    return None if match is None else match["what"] or match["before"]
