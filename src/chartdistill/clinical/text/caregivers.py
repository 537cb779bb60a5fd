"""A parent who gives a drug to a small child does not take it: "Mom has been using saline drops" in an infant's chart.

In: one mention, and the chart. Out: whether a parent of the patient gives, tries or applies what is named. Must hold:
pure; the chart must be a child's (its first age, or a word for a child, and no grown-up's age before it), the verb must
be one of giving, and the sentence must not be about a pregnancy.
"""

from __future__ import annotations

import re

from chartdistill.clinical.text.sections import Mention

_OPENING = 1500
"""Characters within which charts tell the patient's age."""
_CHILD = re.compile(
    r"\b(?:newborn|neonate|infant|toddler|baby|well[- ]child)\b|\b(?:\d{1,2}"
    r"|\w+)[- ](?:and[- ]a[- ]half[- ])?(?:day|week|month|wk|mo)s?[- ]olds?\b"
    r"|\b(?:[1-9]|1[0-2])(?:[- ]?(?:1/2|\u00bd))?[- ](?:years?|yrs?|y/?o)\b"
    r"|\b(?:one|two|three|four|five|six|seven|eight|nine|ten)[- ]years?[- ]old\b",
    re.IGNORECASE,
)
_GROWN_UP = re.compile(r"\b(?:1[4-9]|[2-9]\d)[- ]?(?:years?|yrs?|y/?o)\b", re.IGNORECASE)
_GIVES = re.compile(
    r"\b(?:mom|mommy|mother|dad|father|parents?|grandmother|grandfather|foster\s+\w+|caregivers?)\b(?:\s+and\s+\w+)?\s+"
    r"(?:(?:ha[sd]|have|is|are|was|were|has|will|did|does|also|only|been|then|just)\s+)*"
    r"(?:using|uses?|used|giv(?:es?|ing|en)|gave|try(?:ing)?|tries|tried|put(?:s|ting)?|appl(?:y|ies|ied|ying)|administer\w*|offer\w*|treat\w*)\b"
    r"[^.;]*$",
    re.IGNORECASE,
)
_OWN = re.compile(
    r"\b(?:pregnan\w+|prenatal\w*|breast-?\s?feed\w*|nursing\s+mother|herself|himself|during\s+labor)\b", re.IGNORECASE
)


_HANDED = re.compile(
    r"\b(?:cousin|wife|husband|spouse|friend|neighbor|brother|sister|mother|mom|father|dad|son|daughter|aunt|uncle|parents?|family)\s+"
    r"(?:(?:ha[sd]|have|is|was|also|been)\s+)*(?:giv(?:es?|ing|en)|gave|hand(?:s|ed|ing)|bought|brought)\s+(?:him|her|them|me|the\s+patient|pt|patient)\b"
    r"[^.;]*$",
    re.IGNORECASE,
)


def given_by_a_parent(mention: Mention, chart: str) -> bool:
    """Whether a parent gives the patient, a child, what the mention names; or any relative hands it to the patient."""
    if _HANDED.search(mention.told_before):
        return True
    if not _GIVES.search(mention.told_before) or _OWN.search(mention.sentence.text):
        return False
    child, grown_up = _CHILD.search(chart, 0, _OPENING), _GROWN_UP.search(chart, 0, _OPENING)
    return child is not None and (grown_up is None or child.start() < grown_up.start())
