"""What the words around a mention say about it: denied, a relative's, an allergy, stopped, ordered, done ...

Rules in the manner of NegEx (Chapman 2001) and ConText (Harkema 2009), written anew and kept few: a cue counts only
within the mention's own clause, and only in the direction it works in. Silence is no cue.

Must hold: pure; a cue is only reported when the words allow no other reading that a chart would use.
"""

from __future__ import annotations

import re
from typing import Literal

from chartdistill.clinical.text.cue_reach import (
    NO_LENGTH,
    NO_RELATIVES_OWN,
    PAST_A_PURPOSE,
    PAST_ITS_OBJECT,
    PAST_OTHER_WORDS,
    SAME_STATEMENT,
    TWO_LISTS,
    about_what_is_its_own,
    after_reaches,
    before_reaches,
    decided,
    for_a_procedure,
    long_ago,
    while_taken,
)
from chartdistill.clinical.text.denied_use import ability_told, resumes, use_told, went_on, without_told
from chartdistill.clinical.text.list_marks import answered_no, tags
from chartdistill.clinical.text.sections import Mention

Cue = Literal[
    "negated",
    "family",
    "allergy",
    "stopped",
    "held",
    "paused",
    "started",
    "continued",
    "resumed",
    "changed",
    "tried",
    "once",
    "considered",
    "declined",
    "screened",
]


def _before(words: str, gap: int = 3, past: str = "") -> re.Pattern[str]:
    """At most `gap` words up to the mention, none that `past` forbids (see `cue_reach`)."""
    return re.compile(rf"\b(?:{words})\b(?:\W+{past}\w[\w'-]*){{0,{gap}}}?\W*$", re.IGNORECASE)


def _right_before(words: str, gap: int = 2, past: str = "") -> re.Pattern[str]:
    """As `_before`, but no comma may come between: a verb of change has its object right after it."""
    return re.compile(rf"\b(?:{words})\b(?:[^\w,;:]+{past}\w[\w'-]*){{0,{gap}}}?[^\w,;]*$", re.IGNORECASE)


def _after(words: str, gap: int = 4) -> re.Pattern[str]:
    """At most `gap` words from the mention on, none that begins to tell of something else."""
    return re.compile(rf"^\W*(?:{SAME_STATEMENT}[\w'.%/-]+\W+){{0,{gap}}}?(?:{words})\b", re.IGNORECASE)


_RELATIVES = (
    r"(?:grand|step)?(?:mothers?|fathers?|parents?|sons?|daughters?)|grandma|grandpa|[mp]g[mf]|mom|dad|sisters?|brothers?|siblings?|aunts?|uncles?|cousins?"
    r"|spouse|wife|husband|nephews?|nieces?|relatives?|girlfriend|boyfriend|fianc[e\u00e9]e?|roommate"
)
_WHOSE = (
    r"(?:(?:both|his|her|their|the|a|an|maternal|paternal|patient['\u2019]?s|one|two|three|four|several|multiple|many|some|all"
    r"|of|older|younger|eldest|first|second|degree|great)[\s-]+){0,5}"
)
_BE = r"(?:is|was|were|are|has\s+been|have\s+been|had\s+been|be|been|being)"

_BEFORE: dict[Cue, tuple[re.Pattern[str], ...]] = {
    "negated": (
        _before(
            r"no\s+(?:(?:clinical|radiographic|definite|clear|obvious)\s+)?(?:evidence|signs?|history|indication|complaints?|suggestion)\s+(?:of|for)"
            r"|no\s+(?:known\s+)?(?:h/o|hx\s+(?:of|for)|e/o)",
            6,
            PAST_OTHER_WORDS,
        ),
        _before(
            r"(?:denie[sd]|denying|negative\s+for|free\s+of|without(?:\s+evidence\s+of)?|w/o|absence\s+of)",
            6,
            PAST_OTHER_WORDS,
        ),
        _before(r"(?:rule[sd]?|ruling)\s+out|r/o|doubt(?:ful\s+for|s)?|unlikely\s+to\s+(?:be|represent)", 3),
        _before(r"not\s+(?:\w+ly\s+)?(?:consistent|compatible)\s+with|not\s+suggestive\s+of", 3),
        _before(r"(?:never|not)\s+(?:had|taken|used|received|been\s+(?:on|given|treated\s+with)|taking|use|given)", 2),
        re.compile(
            r"(?:^|\W)(?:no|nor|not(?:\s+on)?(?:\s+any)?)\s+(?:known\s+|acute\s+|focal\s+|other\s+|prior\s+|previous\s+)?$",
            re.IGNORECASE,
        ),
    ),
    "family": (
        re.compile(
            rf"\b(?:{_RELATIVES})\W+(?:(?:age[d]?\W+)?\d{{1,3}}\W+)?(?:also\W+|who\W+)?(?:ha(?:[sd]|ve)|takes?|took|uses?|with|on|{_BE}|died|deceased|passed\s+away|suffers?|suffered)\b"
            rf"{NO_RELATIVES_OWN}[^.;]*$|\b(?:fam(?:ily)?\W+(?:history|hx)|f(?:am)?hx)\b[^.;]*$"
            rf"|\b(?:{_RELATIVES})(?:\s*:|\s+[-\u2013])\s*[^.;\n]*$",
            re.IGNORECASE,
        ),
    ),
    "allergy": (
        _before(r"allerg(?:ic|y|ies)(?:\s+(?:to|include|are))?|intoleran(?:t|ce)(?:\s+(?:to|of))?|hypersensitiv\w+", 6),
        _before(r"(?:adverse\s+)?reactions?\s+to|contraindicat\w+", 3),
        _before(r"avoid(?:s|ing)?", 3, PAST_ITS_OBJECT),
    ),
    "stopped": (
        _right_before(
            r"discontinu(?:e|ed|ing)|d/?c(?:'?e?d)?|stop(?:ped|ping|s)?|quit|cease[d]?|no\s+longer\s+(?:takes?|on|taking)",
            2,
            PAST_ITS_OBJECT,
        ),
        _right_before(
            r"(?:taken|came|weaned|tapered|be|is|was|now|been)\s+off(?:\s+of)?|switch(?:ed|ing)?\s+from|chang(?:e|ed)\s+from",
            1,
        ),
    ),
    "held": (_right_before(r"hold|held|holding|withh[eo]ld(?:ing)?", 2, PAST_ITS_OBJECT),),
    "started": (
        _right_before(
            r"start(?:ed|ing)?|begin|began|begun|initiat(?:e|ed)|prescrib(?:e|ed)|add(?:ed)?|rx|try|placed\s+on", 2
        ),
        _right_before(
            r"(?:switch|chang|cross[-\s]?taper)(?:e|ed)?\s+to|prescription\s+for|(?<!prior )(?<!previous )(?<!past )"
            r"(?:trial|course)\s+of",
            1,
        ),
    ),
    "continued": (
        _right_before(r"continu(?:e|es|ed|ing)(?:\s+(?:on|with))?|remains\s+on|stays?\s+on", 2),
        _right_before(r"(?:currently|presently)(?:\s+(?:on|taking))?|takes|taking|keep", 1),
    ),
    "resumed": (_right_before(r"(?:resum|restart)(?:e|ed|ing)?(?:\s+(?:on|with))?", 2),),
    "changed": (
        _right_before(
            r"(?:in|de)creas(?:e|ed|ing)|reduc(?:e|ed|ing)|titrat(?:e|ed|ing)|(?<!cross)(?<!cross[-\s])taper(?:ed|ing)?(?!\s+off)|adjust(?:ed)?",
            3,
            PAST_ITS_OBJECT,
        ),
        _right_before(r"(?:new|higher|lower|increased|decreased|reduced|different|full|half)\s+dose\s+of", 1),
    ),
    "tried": (
        _right_before(r"failed|previously\s+(?:\w+\s+)?(?:treated\s+with|on|took|tried)", 2),
        _right_before(r"(?:prior|previous|past)\s+(?:trial|course)\s+of", 1),
        _right_before(
            r"(?:complet(?:ed|es|ing)|finish(?:ed|es|ing)|received|had|status\s+post|s/p|after)\s+(?:[\w-]+\s+){0,4}?"
            r"(?:trial|course|cycle)s?\s+of",
            1,
        ),
    ),
    "once": (_right_before(r"(?:one|single|a)\s+dose\s+of|x\s?1\s+(?:dose\s+)?of", 1),),
    "considered": (
        _before(
            r"consider(?:ed|ing)?|discuss(?:ed|ing)?|(?:could|might)(?!\s+not\b)|option\s+of|possib(?:le|ly|ility\s+of)|if",
            4,
        ),
    ),
    "declined": (
        _before(
            r"declines|(?:he|she|they|i|patient|pt|to|will|would|may|family|parents?|wife|husband|and|also)\s+decline"
            r"|declined(?!\s+(?:due|from|over|in|on|with|after|since|secondary|because)\b)|refus(?:e|es|ed)|no\s+need\s+for|deferred?|not\s+recommend\w*",
            4,
            PAST_A_PURPOSE,
        ),
    ),
    "screened": (
        _before(r"(?:screen(?:ing|ed)?|prophylaxis|evaluat\w+|risk|suspected|suspicion|concern)\s+(?:for|of)", 2),
    ),
}
_AFTER: dict[Cue, tuple[re.Pattern[str], ...]] = {
    "family": (
        re.compile(
            rf"^\W*(?:\w+\W+){{0,3}}?(?:in|of|affect(?:s|ed|ing)?|runs\s+in|(?:used|taken|needed)\s+by|belong(?:s|ed|ing)?\s+to"
            rf"|(?:prescribed|meant)\s+(?:to|for))\s+{_WHOSE}(?:{_RELATIVES})\b|^\s*\((?:\w+\s+)?(?:{_RELATIVES})\b"
            rf"|^,?\s*which\s+(?:his|her|their)\s+(?:{_RELATIVES})\b"
            rf"|^\s*[:\u2013-]\s*{_WHOSE}(?:{_RELATIVES})\b(?=\s*(?:[,;.()\n&]|and\b|at\b|$))"
            r"|^\W*(?:\w+\W+){0,3}?(?:in\s+(?:the|his|her|their)\s+(?:immediate\s+|extended\s+)?family"
            r"(?!\s+(?:practice|medicine|clinic|doctor|physician|planning|meeting))"
            r"|on\s+(?:the|his|her|their)\s+(?:maternal|paternal|(?:mother|father)'?s)\s+side)\b",
            re.IGNORECASE,
        ),
    ),
    "negated": (
        _after(
            rf"{_BE}\s+(?:ruled\s+out(?!\s+for\b)|excluded|not\s+(?:seen|present|found|given|noted|identified)|negative|absent)"
        ),
        re.compile(
            r"^\W*(?:ruled\s+out|(?:(?:is|was|seems?|appears|felt|thought|to|be|very|highly|quite)\s+){0,5}unlikely"
            r"(?!\s+to\s+(?!be\b|represent\b)))\b",
            re.IGNORECASE,
        ),
        re.compile(
            rf"^\s*{_BE}\s+denied\b(?!\s+by\s+(?:\w+\s+){{0,2}}(?:insur\w+|payers?|plan|medicare|medicaid|pharmacy))",
            re.IGNORECASE,
        ),
    ),
    "allergy": (
        re.compile(
            r"^[^\w,;]*(?:allergy|intolerance)\b(?!\s+(?:shots?|injections?|pills?|medic))|^\W*(?:causes|caused"
            r"|gives\s+(?:him|her|me)|makes\s+(?:him|her))\b",
            re.IGNORECASE,
        ),
        _after(r"must\s+not\s+be\s+(?:given|used)|contraindicated", 2),
    ),
    "stopped": (
        _after(
            rf"{_BE}\s+(?:\w+ly\s+)?(?:discontinued|stopped|ceased|d/c'?d|replaced|weaned|removed|(?:taken|tapered)\s+off)"
        ),
        re.compile(
            r"^[^\w,;]*(?:tapered\s+off|d/?c'?d\b|d/c\b|(?:discontinued|stopped)\b(?!\s+(?:working|helping)))",
            re.IGNORECASE,
        ),
        _after(r"(?:will|should|to|can)\s+(?:be\s+)?(?:discontinued?|stop(?:ped)?)"),
    ),
    "held": (
        _after(rf"(?:{_BE}|will\s+be)\s+(?:\w+ly\s+|being\s+)?(?:held|on\s+hold|withheld)"),
        re.compile(r"^[^\w,;]*(?:currently\s+)?(?:held|on\s+hold|withheld)\b", re.IGNORECASE),
    ),
    "started": (_after(rf"{_BE}\s+(?:\w+ly\s+)?(?:started|begun|initiated|prescribed|added)"),),
    "continued": (_after(rf"(?:(?:{_BE}|will\s+be)\s+)(?:\w+ly\s+)?continued"),),
    "resumed": (_after(rf"(?:(?:{_BE}|will\s+be)\s+)(?:\w+ly\s+)?(?:resumed|restarted)"),),
    "changed": (
        _after(
            rf"{_BE}\s+(?:\w+ly\s+)?(?:increased|decreased|reduced|tapered(?!\s+off)|titrated|doubled|halved|changed)"
        ),
    ),
    "tried": (
        re.compile(r"[^;]{0,40}\bwithout\s+(?:benefit|relief|success)\b", re.IGNORECASE),
        _after(rf"{_BE}\s+(?:\w+ly\s+)?(?:completed|finished)"),
    ),
    "once": (re.compile(rf"[^,;]{{0,30}}\b(?:given\s+once|(?:x\s?1|times\s+one)\b{NO_LENGTH})", re.IGNORECASE),),
    "considered": (_after(rf"(?:{_BE}|was\s+also)\s+(?:discussed|considered|offered)|(?:may|might|could)\s+be"),),
    "declined": (_after(rf"{_BE}\s+(?:declined|refused|deferred|not\s+(?:needed|indicated|necessary|recommended))"),),
}
_END_VERB = (
    r"(?:stop(?:ped|ping)?|discontinu(?:ed?|ing|ation\s+of)|d/?c'?d?|h[eo]ld(?:ing)?|withh[eo]ld(?:ing)?"
    r"|ceas(?:ed?|ing))"
)
_UNCHANGED = re.compile(
    r"\b(?:(?:(?:do(?:es)?|did|should|must|will|can|may|is|was|were|has|have|need)\s*(?:not|n[o't\u2019]{1,2})|don['\u2019]?t"
    r"|not|never|no\s+(?:need|reason|plans?|indication|intention)\s+(?:to|for)|(?:refus|declin)(?:es|ed|e)\s+to|unwilling\s+to|unable\s+to)"
    r"(?:\s+to)?(?:\s+(?:be|been))?"
    r"|(?:against|without|instead\s+of|rather\s+than|avoid)(?:\s+abruptly|\s+suddenly)?)"
    rf"\s+{_END_VERB}(?!\w)",
    re.IGNORECASE,
)
"""A verb of ending that is denied: "do not stop", "was not discontinued", "no need to stop", "against stopping"."""
_NOT_BEGUN = re.compile(
    r"\b(?:(?:do|does|did|should|must|will|would|can|may|is|was|were)\s*(?:not|n[o't\u2019]{1,2})|don['\u2019]?t|not|never)"
    r"(?:\s+to)?(?:\s+be)?\s+(?:(?:re)?start(?:ed|ing)?|beg[iau]n|resum(?:ed?|ing)|(?:re)?initiat(?:ed?|ing)|add(?:ed)?"
    r"|continu(?:ed?|ing))\b",
    re.IGNORECASE,
)
"""A verb of beginning that is denied: "do not restart", "should not be resumed": a drug to stay away from."""
_WAITS = re.compile(r"\b(?:until|till)\b", re.IGNORECASE)
_ONLY_IF = re.compile(
    r"^(?:(?!\band\b)[^.;,]){0,40}?\b(?:if\s+(?!possible|needed|tolerated|ok)|unless\b|for\s+(?:an?\s+)?(?:sbp|dbp|s?bp|map|hr|rr|inr|systolic"
    r"|heart\s+rate|pulse|sedation|somnolence|loose\s+stools?)\b)",
    re.IGNORECASE,
)
_ENDS = re.compile(r"\b(?:hold|stop|discontinue)\b", re.IGNORECASE)
"""An order to end that waits for something: "hold metoprolol if the pulse is below 50"."""

_DENIED_LIST = re.compile(
    r"\b(?:denie[sd]|denying|negative\s+for|free\s+of|without|neither|no\s+(?:\w+\s+)?(?:history|evidence|signs?"
    r"|symptoms?|indication|use)\s+(?:of|for)|(?:has|have|had)\s+(?:not|never)\s+(?:had|used|taken|received|tried)"
    r"|(?:do|does|did)(?:\s+not|n['\u2019]?t)\s+(?:have|take|use|show|report|endorse))\b"
    r"(?P<list>[^.;:\n]*)$",
    re.IGNORECASE,
)
_REACTION = re.compile(r"\s*(?:[-\u2013:]\s+|\()")
_DIRECTED = re.compile(
    r"\d\s?(?:m?c?g|units?|ml|%|tab)|\b(?:daily|nightly|weekly|once|twice|every|prn|[bt]id|q\w{1,3})\b", re.IGNORECASE
)
_BREAKS_A_LIST = re.compile(
    r"\b(?:but|however|although|except|then|has|have|had|is|are|was|were|takes?|taking|took|uses|using|reports?"
    r"|continues?|starts?|started|stops?|stopped|lives?|works?|smokes?|drinks?|will|who|which|he|she|they|on|since|until|after|before|because|from|explain)\b|,\s+with\b",
    re.IGNORECASE,
)
_NEAR = 200
_PSEUDO = re.compile(
    r"\bno\s+(?:change|changes|increase|further|improvement|doubt)\b|\bnot\s+only\b|\bwithout\s+(?:difficulty|benefit)\b"
    r"|\bcontinue\s+to\s+hold\b|\bnon[- ]",
    re.IGNORECASE,
)
_HEADINGS: tuple[tuple[re.Pattern[str], Cue], ...] = (
    (re.compile(r"\bfamily\b|\bf(?:am)?hx?\b"), "family"),
    (re.compile(rf"^(?!.*{TWO_LISTS}).*(?:\ballerg|\bintoleran|\badverse\s+(?:drug\s+)?reactions?)"), "allergy"),
    (
        re.compile(
            r"^(?:stop|discontinue|do\s+not\s+(?:take|use|resume|restart))\b|\b(?:discontinued|stopped|inactive|no\s+longer)\b"
            r"|\bto\s+(?:stop|discontinue)\b|^(?:past|former|previous)\s+(?:medications?|meds|drugs|medicines)\b"
        ),
        "stopped",
    ),
    (re.compile(r"^hold\b|\b(?:held|on\s+hold|to\s+hold)\b"), "held"),
)


_ENDS_FIRST = re.compile(rf"(\b{_END_VERB}\b[^.;]*?)\bstarting\s+with\b", re.IGNORECASE)
"""Order of an ending: "stop the vasodilators, starting with X"."""


def told_as_meant(text: str, after: str = "") -> str:
    """A text whose denied verbs of ending ("do not stop") and beginning ("do not restart") say what they amount to.

    `after`: what follows it in its sentence; "do not restart X until ..." holds it.
    """
    return _NOT_BEGUN.sub(" hold " if _WAITS.search(after) else " avoid ", _UNCHANGED.sub(" continue ", text))


def cues(mention: Mention) -> frozenset[Cue]:
    """What the mention's clause and heading say about it; empty when nothing is said."""
    found: set[Cue] = {
        cue
        for pattern, cue in _HEADINGS
        if pattern.search(mention.heading) and (mention.listed or (cue == "allergy" and _tells_a_reaction(mention)))
    }
    lead = before_reaches(without_told(mention.before, mention.told_after))
    lead = _ENDS_FIRST.sub(r"\1 _ ", ability_told(lead))
    before = told_as_meant(_PSEUDO.sub(" _ ", lead), mention.told_after)
    before = use_told(before)
    waits = "is held" if _WAITS.search(mention.told_after) else "is contraindicated"
    after = _NOT_BEGUN.sub(waits, _UNCHANGED.sub("will be continued", after_reaches(mention.after)))
    if _ONLY_IF.search(after):
        before = _ENDS.sub(" _ ", before)
    found |= {cue for cue, patterns in _BEFORE.items() if any(pattern.search(before) for pattern in patterns)}
    found |= {cue for cue, patterns in _AFTER.items() if any(pattern.search(after) for pattern in patterns)}
    found.update(tags(mention.told_after))
    if any(pattern.search(mention.told_after) for pattern in _AFTER["family"]):
        found.add("family")  # also behind a comma: "X, which her husband takes"
    listed = _DENIED_LIST.search(use_told(before_reaches(without_told(mention.told_before, mention.told_after))))
    if answered_no(mention) or (listed and not _BREAKS_A_LIST.search(listed["list"])):
        found.add("negated")
    if about_what_is_its_own(mention.before, mention.after):
        found -= {"negated", "considered", "declined"}
    if "considered" in found and decided(mention.before, mention.told_after):
        found.discard("considered")
    if found & {"started", "continued", "changed"} and went_on(mention.before, mention.told_after):
        found.add("tried")
    if "continued" in found and while_taken(mention.told_before):
        found.discard("continued")
    if long_ago(before, after):
        found.add("tried")
    if "stopped" in found and resumes(mention.told_after):
        found = (found - {"stopped"}) | {"held"}
    elif "stopped" in found and for_a_procedure(mention.told_after):
        found = (found - {"stopped"}) | {"paused"}
    return frozenset(found)


def _tells_a_reaction(mention: Mention) -> bool:
    """Whether a sentence of its own reads "Naproxen - hives", "Codeine (nausea)": a reaction, no dose."""
    alone = not mention.told_before.strip(" \t-*\u2022") and _REACTION.match(mention.told_after) is not None
    return alone and _DIRECTED.search(mention.sentence.text[:_NEAR]) is None


_TOLD_OF_A_RELATIVE = re.compile(
    rf"\b(?<!with )(?:{_RELATIVES}|grand\w{{1,12}}|partner|family)\b"
    r"(?![^.;]{0,80}\b(?:patient|pt|he|she)\b)[^.;,]{0,60}$",
    re.IGNORECASE,
)
_SAYS_NONE = re.compile(
    r"\b(?:no|not|none|nil|never|denies|denied|without|negative|unknown|unable|unremarkable|noncontributory|reviewed|see"
    r"|n/?a|nk[dfm]?a)\b",
    re.IGNORECASE,
)
_BUT = re.compile(r"\b(?:except|other\s+than|besides|but)\b", re.IGNORECASE)


def about_a_relative(before: str) -> bool:
    """Whether the words before a mention make a relative the one it is told of: not "per daughter, patient ..."."""
    return _TOLD_OF_A_RELATIVE.search(before[-200:]) is not None


def says_none_listed(entries: str) -> bool:
    """Whether the first sentence under a heading says that there is none: "Denies any.", "See chart.".

    The first alone: in charts that lost their line breaks, the next one is about something else.
    """
    first = re.split(r"[.;\n]", entries.lstrip(" .;\n"), maxsplit=1)[0]
    return _SAYS_NONE.search(first) is not None and _BUT.search(first) is None
