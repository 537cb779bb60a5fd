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

SAME_STATEMENT = r"(?!(?:until|till|once|after|before|when|while|because|since|as|if|unless)\b)"
"""Before a word between a mention and what is said of it: "X until the drain is removed" does not say X is removed."""
NO_LENGTH = r"(?!\s*(?:more\s+)?(?:hours?|hrs?|days?|weeks?|wks?|months?|mos?|years?|yrs?|refills?)\b)"
"""Behind "x1": once, not for one week or with one refill."""
TWO_LISTS = (
    r"(?:\bmed(?:ication|icine)?s?\s*(?:/|&|,|\band\b)\s*(?:drug\s+)?allerg"
    r"|\ballerg\w+\s*(?:/|&|,|\band\b)\s*(?:current\s+|home\s+)?med)"
)
"""A heading of both: what stands under it may be either."""

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
_ALLERGIC_DISEASE = re.compile(
    r"\ballergic\s+(?:\w+\s+)?(?:\w+itis|rhino\w+|asthma|symptoms?|diathesis)\b|\b(?:seasonal|environmental|nasal|perennial|spring|fall)"
    r"\s+allerg(?:y|ies)\b(?!\s+to\b)|\bfor\s+(?:\w+\s+){0,3}allergies\b"
    rf"|{TWO_LISTS}\w*\s*:|\ballerg(?:y|ies)\b(?=[^.;]*\b(?:treated|controlled|managed|relieved|takes?|uses?|using|responds?|helped)\b)",
    re.IGNORECASE,
)
"""A disease that drugs are taken for: "allergic rhinitis treated with X", "for her allergies X"."""
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
_THEIRS = re.compile(
    r"\bdiscuss(?:ed|ing)?\s+(?:his|her|their|the\s+patient['\u2019]?s)\s+(?:current\s+|home\s+)?$", re.IGNORECASE
)
_WHILE_TAKEN = re.compile(
    r"\b(?:while|when|whenever|before|after)\s+(?:you\s+are\s+)?taking\s+(?:[\w-]+\s+)?$", re.IGNORECASE
)
_LONG_AGO = re.compile(r"[^;]{0,40}\b(?:years\s+ago|in\s+the\s+past)\b", re.IGNORECASE)
_CAUSE = re.compile(r"\b(?:for|since|after|following|diagnosed|placed|from|because|due)\b", re.IGNORECASE)
_WAS = re.compile(r"\b(?:took|had|was|were|been|tried|used|received|given)\b[^.;]*$", re.IGNORECASE)
_FOR_A_PROCEDURE = re.compile(
    r"^[^.;]{0,30}?\b(?:days?|weeks?|hours?|morning|night|day)\s+(?:before|prior\s+to|preceding)\s+(?:(?:the|his|her|your|this|any|skin|allergy"
    r"|planned|scheduled)\s+){0,2}(?:surg\w+|operation|procedure|colonoscopy|endoscopy|biopsy|test\w*|injections?|catheteri\w+|extractions?)\b",
    re.IGNORECASE,
)
NO_RELATIVES_OWN = (
    r"(?!\s+(?:\w+ly\s+|also\s+|been\s+|very\s+|that\s+){0,2}(?:notic|observ|report|concern|worri|caring|helping|assisting|bring|giving|present\b"
    r"|here\b|at\s+(?:the\s+)?bedside|aware|unaware|asking|witness|describ|power\s+of\s+attorney|remind|managing|administering"
    r"|filling|upset|requesting|told|informed|instructed|counsel|advised|educated|asked|taught|shown|reassured|updated|crushing|mixing"
    r"|to\s+(?:remind|help|give|bring|administer|assist)\b)"
    r"|(?<=died)[^.;]*\band\s+(?:he|she|(?:the\s+)?patient|pt)\s+(?:has|had|is|was|became|takes|uses|started)\b)"
)
"""Behind a relative and a verb, where what follows is the patient's: "his wife has noticed", "is worried about"."""


def before_reaches(before: str) -> str:
    """What stands before a mention, without cues that the words after them turn to something else."""
    before = _ALLERGIC_DISEASE.sub(" _ ", _NO_ALLERGY.sub(" _ ", _NOT_EXCLUDED.sub(" _ ", before)))
    return _ORDER_IF.sub(" _ ", _NEEDED.sub(" _ ", before))


def after_reaches(after: str) -> str:
    """What stands after a mention, without a ruling out that is denied."""
    return _NOT_EXCLUDED.sub(" _ ", after)


def about_what_is_its_own(before: str, after: str) -> bool:
    """Whether what is denied, weighed or declined is a thing of the mention."""
    return _OF_IT.search(before) is not None or _ITS_OWN.search(after) is not None


def decided(before: str, after: str) -> bool:
    """Whether what is weighed or talked of is done: the sentence says so, or it is the patient's already ("her X")."""
    return _DECIDED.search(after) is not None or _THEIRS.search(before) is not None


def long_ago(before: str, after: str) -> bool:
    """Whether a drug was taken long ago, and not begun for something of long ago: "X for a clot two years ago"."""
    told = _LONG_AGO.match(after)
    return told is not None and (_CAUSE.search(told[0]) is None or _WAS.search(before) is not None)


def for_a_procedure(after: str) -> bool:
    """Whether what is stopped is stopped for a procedure alone: "stop X five days before surgery"."""
    return _FOR_A_PROCEDURE.search(after) is not None


def while_taken(before: str) -> bool:
    """Whether the taking is only the time of something else: "do not drive while taking X"."""
    return _WHILE_TAKEN.search(before) is not None
