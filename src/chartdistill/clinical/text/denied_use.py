"""Wordings of several words -> the same in one word, for the cues of `context.py`.

In: what stands before a mention. Out: the text with "denies taking", "has not been taking", "denies missing any doses
of", "is unable to continue", "without aura," replaced. Must hold: pure; all else stays, so that the length of a text
changes little. And which orders and complaints are about a drug without denying it.
"""

from __future__ import annotations

import re

from chartdistill.clinical.text.sections import Mention

_USE = r"(?:takes?|taking|uses?|using)"
_DENIED = re.compile(rf"\b(?:denie[sd]|denying)\s+(?:currently\s+|ever\s+)?(?:{_USE}|being\s+on)\b", re.IGNORECASE)
_NOT_NOW = re.compile(
    r"\b(?:(?:is|was|are|were|has|have|had)\s*)?(?:\bnot|n['\u2019]t)(?:\s+(?:currently|presently|now|been))*"
    rf"\s+(?:taking|using)\b|\b(?:stop(?:ped|s|ping)?|discontinu(?:e[sd]?|ing)|quit)\s+(?:taking|using)\b|\bnot\s+(?:currently|presently|now)\s+on\b|\bno\s+longer\s+(?:{_USE}|on)\b",
    re.IGNORECASE,
)
_NOT_MISSED = re.compile(
    r"\b(?:denie[sd]|denying|not|never)\s+(?:miss(?:ing|ed)?|skip(?:ping|ped)?)(?:\s+(?:any|doses?|of|his|her))*",
    re.IGNORECASE,
)


def use_told(before: str) -> str:
    """Denied use reads "denies use of"; use that is over, or not now, "stopped"; a dose not left out, "takes"."""
    return _NOT_NOW.sub(" stopped ", _DENIED.sub(" denies use of ", _NOT_MISSED.sub(" takes ", before)))


_UNABLE = re.compile(
    r"\b(?:unable\s+to|(?:not|never)\s+(?:be\s+|been\s+)?able\s+to|can\s?not|could\s+not|(?:ca|could)n['\u2019]?t)\s+(?:(?:really|longer|fully|otherwise)\s+)?"
    r"(?P<verb>continue|tolerate)(?:\s+(?:on|with|taking))?",
    re.IGNORECASE,
)
"""What cannot go on has ended: "unable to continue with X"; what is not borne is an intolerance."""
_WITHOUT_ONE = re.compile(r"\bwithout\s+(?:[\w-]+\s+){0,2}[\w-]+,(?![^.;]*\b(?:or|nor)\b)", re.IGNORECASE)
"""A part of one name in a list: "migraine without aura, gout, and pain"; "without fever, chills or cough" is none."""
_OR = re.compile(r"\b(?:or|nor)\b", re.IGNORECASE)
_AT_FIRST = re.compile(
    r"\b(?:initially|originally|first|at\s+first|previously|formerly|had\s+been|(?:finished|completed|after)\s+(?:an?|his|her|the)\s+(?:\w+\s+)?(?:course|trial)"
    r"|while\s+(?:\w+\s+){0,2}(?:taking|on))\b[^.;]*$",
    re.IGNORECASE,
)
_WENT_ON = re.compile(
    r"^[^.]{0,80}?\b(?:but|which|then|later|subsequently|and|however)\b[^.]{0,60}?\b(?:reactions?|rash|hives|caused|switched|chang(?:ed|ing)\s+to"
    r"|stopped|stopping|discontinu\w+|without\s+(?:relief|improvement|success|benefit)|fail(?:ed|s)?|returned|worse\w*|became"
    r"|given\s+up|quit|ended|no\s+longer|has\s+taken\s+none|no\s+(?:relief|improvement|better)|(?:did|does|could)(?:\s+not|n['\u2019]t)\s+(?:help|work|tolerate|improve|take|respond)|had\s+to|held|on\s+hold|withheld|removed|weaned)\b",
    re.IGNORECASE,
)
"""What the same sentence tells of a drug after it was begun: the beginning is not its last word."""


_RESUMES = re.compile(
    r"(?<!not\s)(?<!not\sbe\s)(?<!never\s)(?<!n['\u2019]t\s)\b(?:re-?start\w*|resum\w+|until|(?:used|taken|given)\s+again|back\s+(?:on|to)|go(?:es)?\s+back)\b",
    re.IGNORECASE,
)


def resumes(after: str) -> bool:
    """Whether what is stopped or held is to begin again: "was stopped two days ago, restart tomorrow"."""
    return _RESUMES.search(after) is not None


def ability_told(before: str) -> str:
    """What cannot be continued reads "discontinue"; what cannot be tolerated, "intolerant of"."""
    return _UNABLE.sub(
        lambda match: " discontinue " if match["verb"].casefold() == "continue" else " intolerant of ", before
    )


def without_told(before: str, after: str) -> str:
    """Without the "without" that belongs to one name of a list; `after`: the rest of the sentence."""
    return before if _OR.search(after) else _WITHOUT_ONE.sub(" _,", before)


def went_on(before: str, after: str) -> bool:
    """Whether the sentence tells more of a drug than that it was begun: "first", or what came of it."""
    return _AT_FIRST.search(before) is not None or _WENT_ON.search(after) is not None


_NO = re.compile(
    r"(?:^|[.;,:)]|\band|\bbut|\d[.)])\s*no\s+(?:more\s+)?(?:[\w-]+(?:,?\s+(?:or|nor|and\s+no)\s+"
    r"|,\s*))*$",
    re.IGNORECASE,
)
_MERE_USE = re.compile(
    r"\s*(?:use|usage|intake|allerg\w+|history|intoleranc\w+|abuse|reported|taken|was)\b", re.IGNORECASE
)
_DO_NOT = re.compile(
    r"(?:^\W*(?:\d{1,2}[.)]\s*)?|[.;,:]\s*|\b(?:please|also|advised|instructed|told|asked|warned|cautioned|and|but|should|must|to)\s+)"
    r"(?:do\s+not|don['\u2019]?t|never|not(?:\s+to)?)\s+(?:ever\s+)?(?:take|use|have|be\s+given)\b[^.;]*$",
    re.IGNORECASE,
)
_TROUBLE = re.compile(
    r"\b(?:no|denie[sd]|denying|without)\s+(?:\w+\s+){0,2}(?:problems?|issues?|trouble|difficult\w*|complaints?|concerns?|symptoms?)"
    r"\s+(?:with|from|on|about)\s+(?:(?:the|his|her|their|taking|using|being|on)\s+){0,2}$",
    re.IGNORECASE,
)


def told_not_to_take(mention: Mention) -> bool:
    """Whether an order denies the drug: "No aspirin for two weeks.", "Do not take aspirin."; "no aspirin use" and "she
    does not take aspirin" are none."""
    ordered = _NO.search(mention.told_before) is not None and _MERE_USE.match(mention.told_after) is None
    return ordered or _DO_NOT.search(mention.told_before) is not None


def denies_trouble(before: str) -> bool:
    """Whether problems with a drug are denied, which who does not take it has no reason to."""
    return _TROUBLE.search(before) is not None
