"""Short names that are a test in one chart and a service or the patient in another: PT, OT, CT, ST, RT, pt.

In: a name and where a chart has it. Out: whether that mention means a service ("consult PT and OT", "CT surgery", "home
PT") or the patient ("pt to return"), and no test ("check PT and PTT", "CT of the chest"). The words beside it decide;
where they say nothing it is a test. Must hold: pure.
"""

from __future__ import annotations

import re

from chartdistill.clinical.text.sections import Mention

_NEAR = 120
_BESIDE = 25
"""Characters on each side within which words decide, and within which a test beside it does."""
_SHORT = re.compile(r"(?:pt|ot|ct|st|rt|slp|sw)", re.IGNORECASE)
_ITSELF = re.compile(
    r"\b(?:pt|ot|st|rt|slp)\b\s*(?:[/&,+]|and)\s*(?:ot|st|slp|speech|rehab\w*|physical|occupational)\b|\bct\s?-?\s?(?:surg\w*|sx)\b"
    r"|\b(?:pt|ot|st|rt|ct|slp)\s+(?:consult\w*|eval\w*|referrals?|sessions?|services?|recs?|therapy|therapists?|visits?|follow\W?up"
    r"|screen\w*|assessments?|treatments?)\b|\b(?:physical|occupational|speech|respiratory)\s+therap\w+",
    re.IGNORECASE,
)
"""Phrases that name a service whatever stands beside them."""
_TEST_BESIDE = re.compile(
    r"\b(?:p?ptt|a?ptt|inr|coags?|coagulation|fibrinogen|cbc|bmp|cmp|lfts?|labs?|prothrombin|blood|bleeding\s+time|d-?dimer"
    r"|type\s+and\s+(?:screen|cross)|angio\w*|scans?|contrast|mri|x-?rays?|cxr|chest|head|abdomen|pelvis|brain|spine|sinus\w*"
    r"|neck)\b",
    re.IGNORECASE,
)
_OTHER_SERVICES = (
    r"(?:ot|pt|st|slp|speech|physical|occupational|rehab\w*|social\s+work\w*|sw|nutrition|dietar\w+|case\s+management"
    r"|home\s+health|nursing|wound\s+care)"
)
_SERVICE_BEFORE = re.compile(
    r"\b(?:consult(?:s|ed|ing|ation)?(?:\s+(?:to|from|for|with|by))?|refer(?:s|red|ral)?(?:\s+(?:her|him|the\s+patient|patient|pt))?"
    r"(?:\s+(?:to|for))?|work(?:s|ed|ing)?\s+with|seen\s+by|eval\w*\s+by|clear(?:ed|ance)\s+(?:by|from|with)|per|participat\w+\s+(?:in|with)"
    r"|(?:home|outpatient|inpatient|acute|daily|continue(?:d|s)?(?:\s+with)?|aggressive|gentle|attend\w*|begin|start(?:ed)?|resume|do(?:ing)?"
    r"|complet\w+|tolerat\w+|through|appreciate|ask(?:ed)?|call(?:ed)?|involve|contact|course\s+of|trial\s+of|sessions?\s+of"
    r"|weeks?\s+of|dispo\w*\s+per|with|from|by|via))\s+(?:the\s+|also\s+|both\s+)?"
    rf"(?:{_OTHER_SERVICES}\s*(?:,\s*(?:and\s+)?|/|&|\+|\s+and\s+|\s+or\s+))*$"
    rf"|\b(?<!pt\W){_OTHER_SERVICES}\s*(?:,\s*(?:and\s+)?|/|&|\+|\s+and\s+|\s+or\s+)$",
    re.IGNORECASE,
)
_SERVICE_AFTER = re.compile(
    rf"^\s*(?:(?:,\s*(?:and\s+|or\s+)?|/|&|\+|and\s+|or\s+)\s*(?:the\s+)?{_OTHER_SERVICES}\b(?!\s*(?:inr|ptt))"
    r"|(?:consult\w*|eval\w*|referrals?|sessions?|services?|recs?|recommend\w*|therap\w+|visits?|surg\w*|team|notes?|gym|goals?|clearance"
    r"|exercises?)\b|(?:to\s+(?:see|evaluate|eval|assess|work|follow|treat|help|clear|continue|start|come|consult)"
    r"|for\s+(?:\w+\s+){0,3}(?:gait|strength\w*|mobil\w*|ambulat\w*|range|rom|balance|back|shoulder|knee|hip|conditioning|deconditioning"
    r"|transfers?|rehab\w*|safety|weakness|falls?|adls?|stretch\w*|exercises?)"
    r"|(?:once|twice|\d+\s?(?:x|times?)|three\s+times)\s*(?:/|per\s|an?\s|weekly|daily)|(?:is\s+)?(?:following|working|evaluated|recommends?|saw|"
    r"feels|notes|helped|worked|will\s+(?:see|evaluate|work|follow|assess))))",
    re.IGNORECASE,
)
_SURGERY = re.compile(r"\s*-?\s*(?:surg\w*|sx)\b", re.IGNORECASE)
"""Cardiothoracic: the one service that is called CT."""
_PATIENT_AFTER = re.compile(
    r"^(?:'s\b|\s+(?:is|was|has|had|will|can|may|should|would|did|does|denies|denied|states?|stated|reports?|reported|presents?|presented"
    r"|seen|comes?|came|returns?|returned|to\s+(?:return|have|get|be|see|call|follow|take|continue|go)|who|with|complains?|tolerated"
    r"|here|today|agree[sd]?|understands?|wants?|needs?|takes?|says|also|in\s+for)\b)",
    re.IGNORECASE,
)
_PATIENT_BEFORE = re.compile(
    r"\b(?:the|this|for|on|our|advised|told|have|has|discussed\s+with|instructed)\s+$", re.IGNORECASE
)


def names_service_itself(name: str) -> bool:
    """Whether a phrase names a service by its own words: "PT evaluation", "PT/OT", "CT surgery consult"."""
    return _ITSELF.search(name) is not None


def means_no_test(name: str, mention: Mention) -> bool:
    """Whether a short name stands for a service or for the patient in this mention."""
    if _SHORT.fullmatch(name.strip()) is None:
        return False
    before, after = mention.told_before[-_NEAR:], mention.told_after[:_NEAR]
    written = mention.sentence.text[mention.start - mention.sentence.start :][:2]
    if written in ("pt", "Pt") and (
        _PATIENT_AFTER.match(after) or (written == "pt" and _PATIENT_BEFORE.search(before))
    ):
        return True
    if _TEST_BESIDE.search(before[-_BESIDE:]) or _TEST_BESIDE.search(after[:_BESIDE]):
        return False
    if name.strip().casefold() == "ct":
        return _SURGERY.match(after) is not None
    return bool(_SERVICE_BEFORE.search(before) or _SERVICE_AFTER.match(after))
