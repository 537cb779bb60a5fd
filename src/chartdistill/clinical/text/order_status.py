"""Whether a chart orders a test, reports it as done, or only weighs it.

In: a test's name and a chart. Out: :class:`TestUse`. A name is looked for as written, then by its words in one
sentence ("a knee MRI" for "MRI of the knee"). Must hold: pure; one sentence that orders is enough.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from chartdistill.clinical.text.sections import Mention, Outline, outline

_ORDER = re.compile(
    r"""\b(?: order(?:ed|s|ing)? | obtain(?:ing)? | sent\s+(?:to|for|off|out) | draw | to\s+have
        | ask(?:ed|ing)?\s+(?:\w+\s+){0,3}for(?!\s+(?:the\s+)?results) | set\s+(?:him|her|them)\s+up
        | bring\s+(?:\w+\s+)?back | (?:would|i['\u2019]d)\s+like | rule\s+out\s+[^.;]{1,40}\s+with
        | to\s+(?:x-?ray|radiology|(?:the\s+)?lab)\s+for
        | (?:the|his|her)\s+(?:next|return)\s+visit | next\s+(?:week|month)
        | monitor | follow | trend | workup | work-up | schedul(?:e|ed|ing)
        | re-?check(?:ed)? | repeat | check | send(?:ing)? | get
        | arrange(?:d|ments)? | recommend(?:ed|s|ation)? | request(?:ed|ing)? | plan(?:s|ned|ning)? | proceed
        | needs? | require[sd]? | undergo | set\s+up | pending | refer(?:red)? | advis(?:e|ed) | await(?:ing)?
        | will | shall | should | to\s+be | is\s+to | return\s+(?:\w+\s+){0,3}(?:for|with) | appointment\s+for
        | follow\W?up\s+(?:with|by) | suggest(?:ed)? | today
        | (?:has|have)\s+been\s+(?:ordered|scheduled) | going\s+to
        | (?:is|are)\s+due\s+for | prior\s+to\s+(?:his|her|the)\s+(?:next|return)
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
"""A sentence that orders or plans."""

_DONE = re.compile(
    r"""\b(?: show(?:ed|s|n|ing)? | reveal(?:ed|s|ing) | demonstrat(?:ed|es|ing)
        | (?:was|were|is|are)\s+(?:\w+ly\s+)?(?:
            normal|negative|positive|unremarkable|reviewed|obtained|performed|done|taken|carried\s+out|made|completed
            |noted|elevated|within|consistent|not\s+remarkable|drawn|accomplished|used|introduced|inserted)
        | (?:we|i)\s+(?:performed|obtained|did) | underwent | had\s+(?:an?|his|her|the) | status\s+post | s/p
        | (?:has|have|had)\s+(?:had|been\s+(?:done|performed|reviewed)) | last\s+(?:year|week|month) | consistent\s+with
        | came\s+back | compared\s+(?:to|with) | on\s+\d+/\d+ | recent | previous | prior\s+(?!to)
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
"""A sentence that reports a result or a thing done."""

_ONLY_CONSIDERED = re.compile(
    r"\b(?:consider(?:ed|ing|ation)?|discussed|(?:potential|possible|possibility\s+of|option\s+of)\s+(?:the\s+)?need"
    r"|options?\s+(?:of|include)|if\b[^.]*\b(?:recurs?|persists?|returns?|worsens?|continues?)|declin(?:e|es|ed)|refus(?:e|es|ed)"
    r"|no\s+need|not\s+(?:need(?:ed)?|necessary|indicated|in\s+need)|deferred)\b",
    re.IGNORECASE,
)
"""A sentence that weighs a thing, or says it will not be done."""
_PLAN_SECTION = re.compile(
    r"\b(?:plans?|recommendations?|orders?|follow-?\s?up|disposition|discharge\s+instructions|instructions|to\s+do|advice)\b"
    r"|\b(?:before|prior\s+to)\s+(?:(?:the|his|her|your)\s+)?(?:next|return|follow)"
)
_TITLE_SECTION = re.compile(
    r"\b(?:exam(?:ination)?|procedures?(?:\s+performed)?|operations?(?:\s+performed)?|title|study|type\s+of\s+\w+|technique|reason"
    r"|indications?|history|findings|laborator\w+|labs?|data|results?|studies|diagnostic\w*|x-?rays?|radiology|imaging)\b"
)
_FILLER = re.compile(
    r"\b(?:an?|the|repeat|follow-?\s?up|another|new|further|routine|scan|test(?:ing)?|study|of|and|for|levels?|his|her)\b",
    re.IGNORECASE,
)

_NO_TEST_ALONE = frozenset("bone breath exercise sleep stool stress swallow urine blood heart visual".split())

_FILLED = (
    r"(?:(?:an?|the|any|another|further|new|more|additional|repeat(?:ing|ed)?|order(?:ing|ed|s)?|obtain(?:ing)?|get(?:ting)?"
    r"|schedul(?:e|ing)|check(?:ing)?|re-?check(?:ing)?|send(?:ing)?|perform(?:ing)?|pursu(?:e|ing)|do(?:ing)?|have|having"
    r"|recommend(?:ed)?|plan(?:ned|s)?|need(?:ed|s)?|indications?|reason|role|be|be\s+getting|to|for|on|of|with|at\s+this"
    r"\s+(?:time|point)|today|yet|currently|his|her|routine|urgent|immediate)\s+)*"
)
_DECLINES = re.compile(
    rf"\b(?:no|not|never|without|(?:don|doesn|won|didn|needn)['’]?t|hold(?:ing)?\s+off|held\s+off|defer(?:s|red|ring)?"
    rf"|declin(?:e|es|ed|ing)|refus(?:e|es|ed|ing)|cancel(?:s|l?ed|l?ing)?|forgo(?:ing)?|skip(?:ping)?|instead\s+of"
    rf"|rather\s+than|decided\s+against|advised\s+against)\s+{_FILLED}(?:[\w-]+\s+(?:or|nor)\s+{_FILLED})?$",
    re.IGNORECASE,
)
_DECLINED = re.compile(
    r"^\s*(?:scans?|stud(?:y|ies)|tests?|imaging)?\s*(?:(?:is|are|was|were|will\s+be|has\s+been|need)\s+)?(?:not|n['’]t|deferred|declined"
    r"|refused|cancell?ed|held|unnecessary|no\s+longer)\b|^\s*(?:only\s+)?(?:if(?!\s+(?:not\s+(?:already|yet|done|recently)|possible|available|able))|unless|should(?!\s+(?:also\s+|then\s+)?be\b))\b"
    r"|^\s*(?:\w+\s+){0,3}(?:may|might|could)\s+(?:also\s+|still\s+|eventually\s+)?be\s+(?:needed|required|necessary|considered|ordered"
    r"|indicated|warranted|useful|helpful|obtained)\b",
    re.IGNORECASE,
)
_DEPENDS = re.compile(
    r"^\W*(?:(?:plan|return)\W+)?(?:if(?!\s+(?:not\s+(?:already|yet|done|recently)|possible|available|able))|should|in\s+case|unless)\b"
    r"[^.;]*$|\b(?:may|might|could)\s+(?:also\s+|still\s+|eventually\s+|later\s+)?(?:need|require|order|obtain|get|want|benefit\s+from)\b"
    r"[^.;,]*$",
    re.IGNORECASE,
)
"""Before a test: what makes it wait for something ("if the fever comes back, get ...", "she may need ...")."""


_DECIDED = re.compile(
    r"\b(?:will|shall|going\s+to|plans?\s+(?:are\s+)?(?:to|for)|agree[sd]?\s+to|agreeable\s+to|decided\s+(?:to|on)|elected\s+to|opted\s+(?:to|for)|want(?:s|ed)?\s+(?:him|her|them)\s+to"
    r"|(?:is|was|are|be)\s+(?:being\s+)?scheduled\s+(?:to|for)|asked\s+(?:him|her)\s+to|i\s+am|we\s+are"
    r"|(?:i|we)\s+(?:have\s+|had\s+|also\s+)*(?:ordered|requested|scheduled|arranged(?:\s+for)?|sent(?:\s+for)?))\s+"
    r"(?:(?:also|then|now|just|proceed(?:ing)?\s+(?:with|to)|go\s+ahead\s+(?:with|and))\s+)*"
    r"(?:(?:obtain|order|check|re-?check|get|do|undergo|have|perform|send|schedule|repeat|pursue|arrange|set\s+up|be\s+sent\s+for)(?:ing)?(?:\s+for)?\s+)?"
    r"(?:(?:an?|the|another|repeat|new|some|further|follow-?up|his|her)\s+)*(?:[\w-]+\s+(?:and\s+|or\s+)?){0,1}$",
    re.IGNORECASE,
)
"""Right before a test: somebody decides on it. What else the sentence tells is the reason, or what follows."""
_AWAITED = re.compile(
    r"^\s*(?:results?\s+|reports?\s+)?(?:(?:is|are|was|were|remains?)\s+(?:still\s+)?|[:,-]\s*)(?:pending|awaited|outstanding)\b",
    re.IGNORECASE,
)
_VALUE = re.compile(r"\s*(?:is|was|=|:)\s*(?:\d|(?:A|B|AB|O)[\s-](?:pos|neg))", re.IGNORECASE)
"""A result right behind the name."""
_IF_THEN = re.compile(r"(?<=_)(?P<kept>[^_]*?)\b(?:and\s+)?if\b.*$", re.IGNORECASE | re.DOTALL)
"""What follows once a result is there: "a CT, and if it is positive we operate"."""
_PENDING = re.compile(
    r"\s*[:,.-]*\s*(?:is\s+|are\s+)?(?:pending|awaited|ordered|scheduled)\b(?!\s+and\s+(?:show|reveal|normal))",
    re.IGNORECASE,
)
"""Behind a heading: "PATHOLOGY: pending", "Mammogram: ordered"."""
_SERIAL = re.compile(r"\bserial\s+[\w\s-]{0,40}$", re.IGNORECASE)
"""A series is ordered, unless it is told what it showed."""
_OTHER_CLAUSE = re.compile(r"^.*(?:,\s*so|\bbut|\btherefore)\s", re.IGNORECASE | re.DOTALL)
"""What is weighed before it is another thing: "she refuses surgery, so CT in 6 weeks"."""
_WEIGHS_ANOTHER = re.compile(
    r"\b(?:consider|discuss)(?:ing)?\s+(?!(?:it|this|that|these|them|doing|having|getting|repeating|both)\b)\w",
    re.IGNORECASE,
)
"""The same behind it: "check a TSH and consider a referral"; "an MRI was considered" is about the MRI."""
_PURPOSE = re.compile(
    r"^[^.;:]{0,30}?\bto\s+(?:further\s+)?(?:evaluate|assess|look\s+for|rule\s+out|exclude|confirm|determine)\b",
    re.IGNORECASE,
)
"""Behind an entry: "EMG to evaluate neuropathy"."""


_ENTRY = re.compile(
    r"\s*(?:(?:\d{1,2}[.)]|[-*\u2022]|\[\s*\])\s*)*(?:(?:an?|the|his|her|one\s+more|weekly|daily|fasting|serial|final)\s+)*"
    r"(?:[\w/.-]+(?:\s+[\w/.-]+){0,3}(?:,\s*(?:and\s+)?|\s+and\s+|\s+with\s+|\s*&\s*)(?:an?\s+|the\s+)?){0,4}\s*"
)
_TIME_TO_COME = re.compile(
    r"^[^.;]{0,60}?\b(?:(?:in|at|after|every|for\s+the\s+next|within)\s+(?:(?:about|another|the\s+next)\s+)?(?:\d+|an?|one|two|three|four|five|six|eight"
    r"|ten|twelve|several|a\s+few)(?:\s*(?:-|to|or)\s*\w+)?\s*(?:hours?|days?|weeks?|wks?|months?|mos?|years?|yrs?)\b(?!\s+(?:ago|earlier|later\s+(?:was|show)))"
    r"|(?:twice\s+)?daily|weekly|biweekly|monthly|yearly|annually|q\.?\s?\d+\s?(?:h|hours?|weeks?|months?)|tomorrow|tonight|next\s+(?:week|month|visit|year|time"
    r"|mon|tue|wed|thu|fri)\w*|(?:on|this)\s+(?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:before|prior\s+to|with)\s+(?:each|every|the\s+next|his\s+next"
    r"|her\s+next|discharge|surgery)|the\s+(?:week|day)\s+before|in\s+the\s+(?:morning|a\.?m)|at\s+(?:that|the\s+next|his\s+next|her\s+next)\s+visit"
    r"|today(?=\s*(?:[.;]|$))|overdue\b|on\s+(?:arrival|admission|(?:his\s+|her\s+)?return)|is\s+(?:set|due|booked)|booked|due\b|being\s+(?:drawn|scheduled|sent|arranged|done|set\s+up))",
    re.IGNORECASE,
)


Use = Literal["ordered", "done", "considered", "mentioned", "absent"]


@dataclass(frozen=True, slots=True)
class TestUse:
    """What a chart does with a test, and where."""

    what: Use
    span: tuple[int, int] | None = None


def use_of(name: str, chart: str) -> TestUse:
    """The most binding use of a test: ordered before considered before done before a bare mention."""
    return next(iter(uses_of(name, chart)), TestUse("absent"))


def uses_of(name: str, chart: str) -> list[TestUse]:
    """Every use of a test (or of a procedure), the most binding first, each with its first place."""
    plan = outline(chart)
    mentions = plan.mentions([name]) or _scattered(name, plan)
    found: dict[str, Mention] = {}
    for mention in mentions:
        found.setdefault(_use(mention, plan), mention)
    whats: tuple[Use, ...] = ("ordered", "considered", "done", "mentioned")
    return [TestUse(what, (found[what].start, found[what].end)) for what in whats if what in found]


def _use(mention: Mention, plan: Outline) -> Literal["ordered", "done", "considered", "mentioned"]:
    before = mention.told_before
    if plan.in_heading(mention.start) and not _PENDING.match(plan.text, mention.end):
        return "done"
    decided = _DECIDED.search(before) is not None
    if (
        (not decided and _weighed(mention))
        or _DECLINES.search(before)
        or _DEPENDS.search(before)
        or _DECLINED.search(mention.after)
    ):
        return "considered"
    done = (
        _DONE.search(_IF_THEN.sub(r"\g<kept>", mention.clause)) is not None or _VALUE.match(mention.after) is not None
    )
    if decided or _AWAITED.search(mention.told_after) or (not done and _scheduled(mention)):
        return "ordered"
    if _PLAN_SECTION.search(mention.heading) and not done:
        return "ordered"
    if _orders(mention):
        return "ordered"
    if done or _TITLE_SECTION.search(mention.heading):
        return "done"
    return "mentioned"


def _weighed(mention: Mention) -> bool:
    """Whether the sentence weighs or declines the test, and not some other thing beside it."""
    before, named = mention.told_before, mention.sentence.text[mention.start - mention.sentence.start :]
    return bool(
        _ONLY_CONSIDERED.search(_OTHER_CLAUSE.sub(" ", before))
        or _ONLY_CONSIDERED.search(_WEIGHS_ANOTHER.sub(" ", named))
    )


def _scheduled(mention: Mention) -> bool:
    """Whether an entry that begins with the test, or with a list of tests, gives it a time to come or a purpose, or
    whether it is one of a series."""
    if _SERIAL.search(
        mention.told_before
        + mention.sentence.text[mention.start - mention.sentence.start :][: mention.end - mention.start]
    ):
        return True
    told = _TIME_TO_COME.search(mention.told_after) or _PURPOSE.search(mention.told_after)
    return told is not None and _ENTRY.fullmatch(mention.told_before) is not None


def _orders(mention: Mention) -> bool:
    """Whether the sentence orders: an order's verb before the test, or "is ordered" after it, and no result."""
    ordered = re.search(
        r"\b(?:order(?:ed)?|schedul\w+|request(?:ed)?|recommend\w*|plan(?:ned)?|pending|arranged|to\s+be\s+\w+|will\s+be|sent"
        r"|advised|suggested|needed|required|being\s+(?:drawn|scheduled|sent|arranged|done|set\s+up)|(?:is|are)\s+(?:set\s+for|due|awaited|booked)|awaited|accepted|should\s+(?:also\s+|then\s+)?be)\b",
        mention.after,
        re.IGNORECASE,
    )
    asked = _ORDER.search(mention.told_before)
    if ordered and not re.search(r"\b(?:showed|revealed|normal|negative)\b", mention.after, re.IGNORECASE):
        return True
    return asked is not None and _DONE.search(_IF_THEN.sub(r"\g<kept>", mention.clause)) is None


def _scattered(name: str, plan: Outline) -> list[Mention]:
    """Sentences that hold all the words which make the test's name."""
    words = [word for word in re.findall(r"[a-z0-9]+", _FILLER.sub(" ", name.casefold())) if len(word) > 1]
    if not words or (len(words) == 1 and words[0] in _NO_TEST_ALONE):
        return []
    found = []
    for sentence in plan.sentences:
        low = sentence.text.casefold()
        places = [re.search(rf"\b{re.escape(word[:6])}", low) for word in words]
        if all(places):
            first = min(place.start() for place in places if place)
            last = max(place.end() for place in places if place)
            found.append(plan.mention(sentence.start + first, sentence.start + last))
    return found
