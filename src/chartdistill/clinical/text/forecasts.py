"""The grammar of a forecast: a sentence that says how a patient's condition will go on.

In: sentences of a chart, or a free-form answer. Out: whether they forecast. What is left out matters as much: plans
("will be followed"), dispositions ("discharged in good condition"), present states ("tolerated the procedure well"),
consent talk ("the risks include"), hopes and conditions. Must hold: pure.
"""

from __future__ import annotations

import re

from chartdistill.clinical.text.grounding import locate, locate_words
from chartdistill.clinical.text.sections import outline

_QUALITY = (
    r"(?:(?:very|fairly|quite|extremely|relatively)\s+)?(?:good|excellent|fair|guarded|poor|grave|favou?rable|unfavou?rable"
    r"|uncertain|dismal|bleak|unknown|limited|hopeful|terminal|bad|bright|satisfactory"
    r"|hopeless|questionable|reasonable|encouraging|grim|reserved|serious)"
)
_OUTCOME = r"""(?: (?:do|does|fare|feel)\s+(?:very\s+|quite\s+|fairly\s+|extremely\s+)?(?:well|better|fine|poorly)
    | (?:make|have)\s+an?\s+(?:\w+\s+){0,2}(?:recovery|outcome|result|course|prognosis)
    | recover | improve | resolve | heal | worsen | deteriorate | progress | relapse | recur | subside
    | settle\s+down | survive | regress | wax\s+and\s+wane | (?:slough|fall|peel)\s+off | be\s+(?:slowly\s+)?progressive
    | always\s+(?:need|require|have)
    | return\s+to\s+(?:\w+\s+){0,3}(?:work|activit\w+|function\w*|baseline|school|duty|driving|sports?|normal|health)
    | regain | remain\s+(?:stable|free|disabled|sterile) | become\s+(?!a\s+patient)
    | resume\s+(?:\w+\s+)?(?:driving|activit\w+|work)
    | be(?:come)?\s+(?:\w+\s+)?(?:cured|sterile|disabled|free\s+of|able\s+to|independent|permanent|well|better|normal)
    | need\s+(?:\w+\s+){0,2}(?:dialysis|surgery|transplant\w*|support)
    | require\s+(?:further|more|additional|lifelong)\s+(?!imaging|stud|test|evaluation|work)\w+
    | live\s+(?:through|past|beyond|longer|more|less|for|another|out|until|much|to\s+(?:be|see)) | outgrow | grow\s+back
    | go\s+(?:down|away) | abate | fade | disappear | succumb | need\s+lifelong
    | lose\s+(?:the|his|her)\s+(?:\w+\s+){0,2}
        (?:leg|foot|arm|hand|toes?|limb|eye|eyesight|vision|sight|hearing|teeth|tooth)
    | be\s+(?:back\s+(?:to|at)\s+(?:\w+\s+){0,2}(?:work|school|normal|baseline|activit\w+|sports?|duty|self|function\w*)
        | wheelchair | bed-?\s?(?:bound|ridden) | (?:\w+\s+)?(?:slow|gradual|prolonged|uneventful|fatal|lifelong))
    | walk | die | lead\s+to | get\s+(?:better|worse|well) | take\s+(?:\w+\s+){1,4}to\s+(?:heal|recover|resolve|improve)
    | (?:last|persist)\s+for | continue\s+to\s+(?:\w+ly\s+)?(?:improve|decline|worsen|do\s+well|progress|recover)
)\b"""
_MODAL = r"(?:will|should|would|is\s+going\s+to|are\s+going\s+to|may|can)"
_DEGREE = (
    r"(?:(?:very|most|quite|more)\s+)?(?:likely|probably|eventually|ultimately|certainly|hopefully|gradually|never|not)"
)

_FORECAST = re.compile(
    rf"""\bprognosis\b[^.]{{0,60}}?(?:\b(?:is|remains?|was|appears|seems|as|considered|for)\b|:|,|-)
        [^.]{{0,60}}?\b{_QUALITY}\b
    | \bprognosis\s+(?:(?:overall|currently|still|now|very)\s+)?{_QUALITY}\b
    | \b{_QUALITY}\s+(?:\w+\s+)?(?:prognosis|outlook)\b
    | \b(?:outlook|life\s+expectancy|(?:expected\s+)?survival)\b\W+(?:\w+\W+){{0,6}}?(?:is|remains|appears|of|:)\b
    | \b(?:{_MODAL})\s+(?:{_DEGREE}\s+)?{_OUTCOME}
    | \bexpect(?:s|ed|ation)?\b\W+(?:\w+\W+){{0,6}}?(?:to\s+)?{_OUTCOME}
    | \bexpect(?:s|ed)?\s+(?:an?\s+)?(?:\w+\s+)?(?:full|complete|good|uneventful|excellent|slow|rapid|gradual
        |steady|continued|eventual|partial)\s+(?:recovery|outcome|result|return\s+of|improvement|healing|resolution)
    | \banticipat(?:e|es|ed)\b\W+(?:\w+\W+){{0,8}}?{_OUTCOME}
    | \b(?:likely|unlikely|apt|bound)\s+to\s+(?:{_OUTCOME}|be\s+\w+|have\s+\w+|require|need)
    | \b(?:chances?|likelihood|probability|odds)\s+(?:\w+\s+){{0,3}}(?:of|for|that)\s+(?:\w+\s+){{0,3}}
        (?:cure|recovery|survival|recurrence|success|healing|improvement|relapse|return|come\s+back|progression|death)
    | \b(?:{_MODAL})\s+{_DEGREE}\s+(?:need|require)\s+
        (?!(?:\w+\s+){{0,4}}?(?:imaging|stud|test|evaluation|work|scan|mri|ct)\w*\b)\w+
    | \b(?:hours?|days?|weeks?|months?|years?)\s+(?:left\s+)?to\s+live\b
    | \b(?:death|demise)\s+(?:is|appears|seems)\s+(?:\w+\s+)?(?:imminent|near|likely|expected|inevitable|certain)\b
    | \b(?:condition|disease|illness|cancer|tumou?r|damage|loss|deficits?|paralysis|blindness|weakness|numbness)\s+
        (?:is|are|remains?)\s+(?:\w+\s+)?(?:terminal|incurable|not\s+curable|lifelong|irreversible|permanent|fatal)\b
    | \b\d{{1,3}}\s?(?:%|percent)\s+(?:[\w-]+\s+){{0,3}}
        (?:survival|mortality|chance\s+of\s+(?:survival|recovery|recurrence))\b
    | \b(?:survival|mortality)\b[^.;]{{0,30}}?\s(?:is|of|at)\s[^.;]{{0,25}}?\d{{1,3}}\s?(?:%|percent)
    | \b{_QUALITY}\s+potential\s+(?:to|for)\b
    | \blifelong\s+(?:condition|disease|disorder|problem|illness)\b
    | \b(?:chances?|likelihood|odds)\s+(?:of|for)\s+(?:\w+\s+){{0,2}}
        (?:walk|regain|return|recover|surviv|heal|speak|see)(?:ing)?\b[^.;]{{0,60}}?\s(?:is|are|remains?|seems?)\s+(?:\w+\s+)?(?:{_QUALITY}|high|low|small|slim|minimal|remote)\b
    | \b(?:rehab\w*|recovery)\s+potential\b[^.]{{0,30}}\b{_QUALITY}\b
    | \b(?:can|do|may)\s+expect\b
    | \b(?:expect|anticipate|foresee)(?:s|ed)?\s+(?:no|any)\s+(?:[\w-]+\s+){{0,3}}(?:complications?|problems?|sequelae
        |deficits?|difficult(?:y|ies)|issues?|recurrence
        |residual\w*|limitations?|disabilit(?:y|ies)|impairments?)\b
    | \b(?:recovery|recurrence|improvement|resolution|healing|cure|survival|remission|relapse|deterioration)
        \s+(?:is|was)\s+(?:(?:not|very|quite|highly|generally)\s+)?(?:expected|anticipated|likely|unlikely|probable|foreseen)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NO_FORECAST = re.compile(
    r"""\b(?: risks? | complications?\s+(?:includ\w+|such) | informed | consent(?:ed)?
    | explain(?:ed|ing)?(?!\s+(?:to\s+(?:\w+\s+){1,3})?that\b)
    | hop(?:es?|ing|eful)
        | wish(?:es)? | wants?\s+to | goal | would\s+like | if | unless
        | should\s+(?:he|she|they|you|any|there|symptoms) | until
        | once | not\s+discussed | reviewed | deferred | was\s+expecting | whether | in\s+order\s+to | so\s+that
        | such\s+that
        | whenever | as\s+long\s+as | to\s+see\s+(?:if|how)
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
_RATED_RISK = re.compile(
    r"\b(?:high(?:er)?|low|increased|significant|substantial|elevated|small|moderate|considerable)\s+risk\s+(?:of|for)\s+(?:\w+\s+){0,3}?(?:recurren\w+"
    r"|relapse|progression|metasta\w+|amputation|limb\s+loss|death|mortality|re-?bleeding|re-?rupture|blindness)\b"
    r"|\brisk\s+of\s+(?:recurrence|relapse|progression|death|amputation)\b[^.;]{0,30}\s(?:is|remains|approaches)\b",
    re.IGNORECASE,
)
"""How likely a turn for the worse is, unlike the risks that a consent lists."""
_PLAN = re.compile(
    r"""\b(?: (?:will|should|to)\s+(?:also\s+|then\s+)?(?:be\s+(?:\w+ly\s+)?(?:followed|seen|treated|discharged
        |started|scheduled
            |transferred|admitted|given|placed|kept|monitored|continued|referred|sent|re-?evaluated|re-?checked|advised|put
            |observed|called|contacted|maintained|instructed)
            | follow | return\s+(?!to\s+(?:\w+\s+){0,3}(?:work|activit|function|baseline|normal))| start | schedule
            | obtain
            | call | see | come\s+back\s+(?:in|to|for|on|at|as|if|when|here|tomorrow) | undergo | proceed | take)
        | discharged | referred | recommend\w* | encouraged | advised | tolerated | follow(?:ed)?[- ]?up
        | transferred | instructed | stable\s+condition | good\s+condition | satisfactory\s+condition
        | most\s+likely\s+related
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
_SECTION = re.compile(r"\b(?:prognosis|rehabilitation\s+potential|rehab\s+potential)\b")
_RATED = re.compile(rf"\b{_QUALITY}\b", re.IGNORECASE)
_SCAFFOLD = re.compile(
    r"\b(?:the|his|her|overall|patient'?s?|prognosis|is|are|that|will|should|expected|likely|to|remains?|and|with|from|of|a|an"
    r"|has|have|be|been|appears|very|most|probably)\b",
    re.IGNORECASE,
)
SUPPORT_SHARE = 0.6
"""Share of a forecast's content words that one forecasting sentence of the chart must hold."""


def is_forecast(sentence: str) -> bool:
    """Whether a sentence says how a condition will go on, and is not a plan, a hope or a condition."""
    rated = _RATED_RISK.search(sentence) is not None
    if _NO_FORECAST.search(_RATED_RISK.sub(" ", sentence)) or not (rated or _FORECAST.search(sentence)):
        return False
    # "will be discharged and is expected to recover": what is left without the plan must still forecast.
    return rated or _FORECAST.search(_PLAN.sub(" _ ", sentence)) is not None


def forecasts_of(chart: str) -> list[tuple[int, int]]:
    """The spans of a chart's forecasting sentences, and of what stands under a heading "prognosis"."""
    found = [(sentence.start, sentence.end) for sentence in outline(chart).sentences if is_forecast(sentence.text)]
    return found + [
        (span.start, min(span.end, span.start + 300))
        for span in outline(chart).section(_SECTION)
        if _RATED.search(span.text[:200]) and not _NO_FORECAST.search(span.text[:60])
    ]


def support_of(statement: str, chart: str) -> tuple[int, int] | None:
    """The forecasting sentence of a chart that says what a statement says, or None."""
    content = " ".join(_SCAFFOLD.sub(" ", statement).split()).strip(" .,;:")
    for start, end in forecasts_of(chart):
        sentence = chart[start:end]
        if locate(statement, sentence) or (content and locate(content, sentence)):
            return start, end
        if content and locate_words(content, sentence, SUPPORT_SHARE):
            return start, end
    return None
