"""How far a cue of `context.py` reaches: what is denied, weighed or declined may be a thing of the mention, not itself.

In: the words before or after a mention. Out: the same without cues that do not reach it ("side effects from X", "cannot
sleep without X", "if pain persists, take X", "X cannot be excluded"), or whether they do. Must hold: pure; where a
wording can be read both ways no cue is left.
"""

from __future__ import annotations

import re

PAST_OTHER_WORDS = r"(?!(?:(?<!being )(?<!been )on|from|after|despite|since|while|explain|because)\b)"
"""Before a word between a denial and what it denies: "denies hypoglycemia on X" does not deny X."""
PAST_ITS_OBJECT = r"(?!(?:with|on|by|after|following|while|when|despite|during|using)\b)"
"""Before a word between a verb of ending or change and its object: "quit smoking with X", "pain decreased on X"."""
PAST_A_PURPOSE = (
    r"(?!(?:for|with|on|from|after)\b"
    r"|(?:treatment|repair|management|therapy|work-?up|evaluation|removal|correction)\s+of\b)"
)
"""Before a word between a refusal and what is refused: "refuses CPAP for X", "declined repair of X"."""

_OF_IT = re.compile(
    r"\b(?:side\s+effects?|adverse\s+(?:effects?|events?|reactions?)|worsening|progression|recurrences?|recurrent|residual"
    r"|exacerbations?|flares?(?:[-\s]?ups?)?|relief|improvement|radiation|compliance|adherence|refills?|risks?(?:\s+(?:and|or|vs\.?)\s+benefits?)?"
    r"|benefits?)(?:\s+(?:of|from|with|to|in|on|for))?\s+(?:(?:the|his|her|their|an?|this|any|taking|using|treatment|of|for|with)\s+){0,3}$",
    re.IGNORECASE,
)
"""A thing that the mention has, does or did: "denies side effects from X", "no evidence of recurrent X"."""
_ITS_OWN = re.compile(r"^\s+(?:exacerbations?|flares?(?:[-\s]?ups?)?|attacks?|side\s+effects?)\b", re.IGNORECASE)
"""The same behind it: "no X exacerbations since May"."""
_NEEDED = re.compile(
    r"\b(?:cannot|can\s*not|not|never|unable|difficult\w*|hard|trouble|worse)\b[^.;]*\bwithout\b|n['\u2019]t\b[^.;]*\bwithout\b",
    re.IGNORECASE,
)
"""What one cannot do without is there: "cannot sleep without X"."""
_NO_ALLERGY = re.compile(
    r"\b(?:no|not|never)\s+(?:(?:known|any|drug|food|an?|current|true|documented|adverse|been)\s+){0,4}"
    r"(?:(?:allerg\w+\s+)?reactions?|allerg\w+|intoleran\w+|hypersensitiv\w+)\b(?![^.;]*\b(?:other\s+than|except|besides|but)\b)",
    re.IGNORECASE,
)
_NOT_EXCLUDED = re.compile(
    r"\b(?:can\s*not|could\s+not|not|never|unable\s+to|ca?n['\u2019]t|couldn['\u2019]t)\s+(?:be\s+|been\s+|yet\s+)*"
    r"(?:\w+ly\s+)?(?:rule\s+out|ruled\s+out|excluded?)\b",
    re.IGNORECASE,
)
_ORDER_IF = re.compile(
    r"\bif\b[^.;]*,\s*(?:then\s+|please\s+|(?:you\s+)?may\s+)?(?:take|use|give|apply)\b|\bif\b[^.;]{0,40}?\b(?:problems?"
    r"|questions?|concerns?|issues?|trouble|difficult\w*|reactions?)\s+(?:with|from|to|about|on)\b",
    re.IGNORECASE,
)
"""An order for when it is needed, trouble with what is taken: "if pain persists, take X", "call if problems with X"."""
_DECIDED = re.compile(
    r"^[^.;]{0,80}?\b(?:and|but|then)\b[^.;]{0,40}?\b(?:"
    r"(?<!not )(?<!never )(?:prescribed|started|begun|initiated|ordered)(?=\s*(?:$|[.,;]|at\b|today\b|on\b))"
    r"|(?:agree[sd]?|wants?|wish(?:es)?|decided|elected|willing|like)\s+to\s+"
    r"(?:it\b|(?:start|try|begin|take|continue|proceed|resume)(?:\s+(?:it|this|that|now|today|with\s+it))?(?=\s*(?:$|[.,;]))))",
    re.IGNORECASE,
)
"""What came of weighing it: "X was discussed and prescribed"."""
NO_RELATIVES_OWN = (
    r"(?!\s+(?:\w+ly\s+|also\s+|been\s+|very\s+|that\s+){0,2}(?:notic|observ|report|concern|worri|caring|helping|assisting|bring|giving|present\b"
    r"|here\b|at\s+(?:the\s+)?bedside|aware|unaware|asking|witness|describ|power\s+of\s+attorney|remind|managing|administering"
    r"|filling|upset|requesting))"
)
"""Behind a relative and a verb, where what follows is the patient's: "his wife has noticed", "is worried about"."""


def before_reaches(before: str) -> str:
    """What stands before a mention, without cues that the words after them turn to something else."""
    before = _NO_ALLERGY.sub(" _ ", _NOT_EXCLUDED.sub(" _ ", before))
    return _ORDER_IF.sub(" _ ", _NEEDED.sub(" _ ", before))


def after_reaches(after: str) -> str:
    """What stands after a mention, without a ruling out that is denied."""
    return _NOT_EXCLUDED.sub(" _ ", after)


def about_what_is_its_own(before: str, after: str) -> bool:
    """Whether what is denied, weighed or declined is a thing of the mention."""
    return _OF_IT.search(before) is not None or _ITS_OWN.search(after) is not None


def decided(after: str) -> bool:
    """Whether the sentence says that what was weighed is done."""
    return _DECIDED.search(after) is not None
