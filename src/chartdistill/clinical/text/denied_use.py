"""Whether a drug is taken, told by a verb and its denial -> the same in one word, for the cues of `context.py`.

In: what stands before a mention. Out: the text with "denies taking", "has not been taking", "no longer uses", "denies
missing any doses of" replaced. Must hold: pure; all else stays, so that the length of a text changes little.
"""

from __future__ import annotations

import re

_USE = r"(?:takes?|taking|uses?|using)"
_DENIED = re.compile(rf"\b(?:denie[sd]|denying)\s+(?:currently\s+|ever\s+)?(?:{_USE}|being\s+on)\b", re.IGNORECASE)
_NOT_NOW = re.compile(
    r"\b(?:(?:is|was|are|were|has|have|had)\s*)?(?:\bnot|n['\u2019]t)(?:\s+(?:currently|presently|now|been))*"
    rf"\s+(?:taking|using)\b|\bnot\s+(?:currently|presently|now)\s+on\b|\bno\s+longer\s+(?:{_USE}|on)\b",
    re.IGNORECASE,
)
_NOT_MISSED = re.compile(
    r"\b(?:denie[sd]|denying|not|never)\s+(?:miss(?:ing|ed)?|skip(?:ping|ped)?)(?:\s+(?:any|doses?|of|his|her))*",
    re.IGNORECASE,
)


def use_told(before: str) -> str:
    """Denied use reads "denies use of"; use that is over, or not now, "stopped"; a dose not left out, "takes"."""
    return _NOT_NOW.sub(" stopped ", _DENIED.sub(" denies use of ", _NOT_MISSED.sub(" takes ", before)))
