"""Does a chart use a name as it uses a drug, or as it uses a device, a person or a place?

In: one mention of a name that no list has. Out: yes or no to either; silence is no to both. What stands beside the name
decides: a dose, a route, "given", "allergic to" and a medication list speak for a drug; a suture's size, "Dr.",
"clamp", "was deployed" for something else. Must hold: pure.
"""

from __future__ import annotations

import re

from chartdistill.clinical.text.sections import Mention

_DRUG_VERB = (
    r"tak(?:e|es|en|ing)|took|on|off|start(?:ed|ing)?|begin|began|begun|initiat(?:e|ed)|continu(?:e|ed|es)|resum(?:e|ed)"
    r"|restart(?:ed)?|discontinu(?:e|ed|ing)|d/?c(?:'?e?d)?|stop(?:ped|ping)?|hold|held|holding|prescri(?:be|bed|ption)|rx|refill"
    r"|give|gave|given|receiv(?:e|ed|ing)|us(?:e|es|ed|ing)|doses?|trial|course|add(?:ed)?|increas(?:e|ed)|decreas(?:e|ed)"
    r"|reduc(?:e|ed)|taper(?:ed)?|titrat(?:e|ed)|switch(?:ed)?|change[d]?|fail(?:ed)?|tr(?:y|ied)|appl(?:y|ied)|inject(?:ed)?"
    r"|administer(?:ed)?|infus(?:e|ed)|treat(?:ed)?|therapy|avoid|allerg(?:ic|y)|intoleran(?:t|ce)|reaction|keep|iv|oral|topical"
    r"|medications?|meds|drugs?|consider|declined|discussed|placed|replaced|anesthetized|sedat(?:ed|ion)|irrigat(?:ed|ion)"
    r"|utili[sz](?:e|ed|ing)|employ(?:ed|ing)|instill(?:ed|ation|ations|ing)?|infiltrat(?:ed|ing|ion)|inoculat\w+|(?:pre)?medicated|bolus(?:ed)?"
    r"|hung|vaccin\w+|(?:re)?immuni[sz]\w+|shots?|boosters?|contrast|antibiotics?|steroids?|an(?:a)?esthetic|vitamins?|supplements?"
)
_USED_BEFORE = re.compile(rf"\b(?:{_DRUG_VERB})\b[^;]{{0,120}}$", re.IGNORECASE)
_USED_AFTER = re.compile(
    r"^\W*(?:[\w.%/-]+\W+){0,2}?(?:\d[\d.,]*\s?(?:mg|mcg|g|ml|cc|units?|%|tab\w*|puffs?)"
    r"|p\.?o|p\.?r\.?n|q\.?d|q\.?h\.?s|[bt]\.?i\.?d|daily|nightly|cream|ointment|drops?|inhaler|tablets?|capsules?|patch|iv"
    r"|injections?|instillations?|infusions?|immuni[sz]ations?|vaccin\w+|shots?|boosters?|toxoid|series|eye\W?drops|gel|lotion|spray"
    r"|mouth\W?wash|rinse|solution|suspension|dye|contrast|powder|syrup|samples?|refills?|prescription|dos(?:e|es|age)"
    r"|therapy|allergy|causes|gives?\s+(?:him|her)|makes?\s+(?:him|her)|upset\w*|kept\s+(?:him|her)|raised|caused|helped|must\s+not|may\s+be|is\s+working|is\s+on\s+hold"
    r"|(?:is|was|were|has\s+been|will\s+be|be|being)\s+(?:\w+ly\s+)?(?:started|stopped|discontinued|given|added|held|continued"
    r"|increased|decreased|reduced|tapered|replaced|prescribed|administered|used|applied|instilled|injected|infused|placed|switched|changed|doubled|on\s+hold))\b",
    re.IGNORECASE,
)
_DRUG_HEADING = re.compile(
    r"\b(?:medications?|meds|medicines?|drugs?|allerg\w+|prescriptions?|an(?:a)?esthe\w+|treatments?|rx|(?:re)?immuni[sz]ations?|vaccin\w+|premedication|contrast|sedation|supplements?|antibiotics?)\b"
)
_DOSE_BEFORE = re.compile(
    r"\b\d[\d.,]*\s?(?:m?c?g|grams?|mls?|milliliters?|cc|m?eq|units?|puffs?|drops?|tab\w*|cap\w*|vials?|ampu?le?s?|%)\s+(?:of\s+)?"
    r"(?:\w+\s+)?$",
    re.IGNORECASE,
)
_THINGS = (
    r"retractors?|clamps?|forceps|scissors|hemostats?|needles?|drivers?|holders?|blades?|knife|scalpels?|specul\w+|dilators?|sounds?"
    r"|curett?e?s?|elevators?|rongeurs?|osteotomes?|chisels?|rasps?|reamers?|drills?|burrs?|saws?|scopes?|endoscopes?|laparoscopes?"
    r"|cameras?|lens(?:es)?|trocars?|ports?|cannulas?|catheters?|sheaths?|(?:guide)?wires?|balloons?|stents?|coils?|filters?|grafts?"
    r"|mesh|clips?|staplers?|staples?|rings?|bands?|tubes?|drains?|pumps?|valves?|pacemakers?|leads?|generators?|defibrillators?"
    r"|electrodes?|monitors?|probes?|cautery|coagulators?|lasers?|sutures?|stitch(?:es)?|ties?|knots?|dressings?|gauze|sponges?"
    r"|wraps?|tape|strips?|packing|splints?|casts?|boots?|braces?|collars?|slings?|tables?|frames?|headrests?|pins?|screws?|plates?"
    r"|rods?|nails?|cages?|anchors?|cement|prosthes[ie]s|implants?|components?|liners?|stems?|inserts?|systems?|devices?|machines?"
    r"|hooks?|snares?|baskets?|brush(?:es)?|applicators?|manipulators?|tenacul\w+|tourniquets?|stirrups?|shields?|goggles|masks?"
    r"|hospital|clinic|cent(?:er|re)|medical\s+center|university|rehab\w*|nursing\s+home|pharmacy|road|street"
)
_EPONYM = (
    r"disease|syndrome|signs?|tests?|maneuver|procedure|operation|repair|position|scores?|scale|class(?:ification)?|criteria|fracture"
    r"|deformity|stage|grade|method|technique|approach|incision|lines?|view|cells?|tumou?rs?|point|triangle|ligament|fascia|space|pouch"
    r"|duct|angle|index|phenomenon|reflex|nodes?|contracture|nodules?|palsy|lesion|stain"
)
_THING_AFTER = re.compile(
    r"^(?:['\u2019]s)?[\s-]+(?:(?!(?:and|or|was|is|were|with|to|in|on|for|via|through|by|per)\b)[\w-]+\s+)?"
    rf"(?:{_THINGS}|{_EPONYM})\b"
    r"|^\s+(?:was|were|is|are|has\s+been)\s+(?:(?:then|also|\w+ly)\s+)?(?:deployed|inflated|deflated|withdrawn|advanced|inserted"
    r"|sutured|sewn|tied|clamped|cross-clamped|secured|fixed|anchored|implanted|trimmed|excised|resected|identified|palpated|palpable"
    r"|visuali[sz]ed|dissected|divided|ligated|transected|retracted|mobili[sz]ed|opened|entered|incised|folded|threaded|passed"
    r"|downgoing|upgoing|negative|positive|normal|intact|soft|clear|supple|nontender)\b",
    re.IGNORECASE,
)
_THING_BEFORE = re.compile(
    r"(?:#\s?)?\b\d{1,2}-0\s+(?:\w+\s+)?$|\b(?:Drs?|Mr|Mrs|Ms|Miss|Prof(?:essor)?)\.?\s+(?:[A-Z][\w.'-]*\s+)?$"
    r"|\b(?i:clos(?:ed|ure)|(?:re)?approximated|sutured|ligated|tied|oversewn|retracted|grasped|clamped|dressed|wrapped|draped|secured"
    r"|fixed|stapled|anastomosed|repaired|reinforced|seen|admitted|transferred|referred|located|lives?|works?|born)"
    r"\s+(?i:with|using|to|at|in|by)\s+(?i:an?\s+|the\s+|some\s+)?(?i:(?:interrupted|running|continuous|absorbable)\s+)*(?:[\d.#-]+\s+)?$"
)
_STEM = re.compile(
    r"[a-z]{2,}(?:olol|pril|sartan|statin|n?azole|mycin|micin|cillin|floxacin|cycline|[tlzx]umab|[xz]imab|tinib|v[iu]dine|navir"
    r"|ciclovir|parin|xaban|gliptin|gliflozin|glutide|glitazone|formin|triptan|setron|prazole|tidine|caine|curonium|curium|barbital"
    r"|azepam|zolam|oxetine|pramine|triptyline|thiazide|semide|dipine|azosin|terol|asone|isone|olone|onide|lukast|dronate|fibrate"
    r"|profen|oxicam|coxib|codone|morphone|fentan[iy]l|platin|rubicin|taxel|tecan|trexate|mustine|phylline|tropium|stigmine|azepine"
    r"|peridol|peridone|penem|dazole|gabalin|racetam|lamide|grel)",
    re.IGNORECASE,
)
"""Endings that the makers of drug names keep for one class each: stems of the USAN and INN lists."""


def used_like_a_drug(mention: Mention) -> bool:
    """Whether the words around a name are those around a drug: a dose, "start", "allergic to", a medication list."""
    return bool(
        _DRUG_HEADING.search(mention.heading)
        or _USED_BEFORE.search(mention.before)
        or _USED_AFTER.search(mention.after)
        or _DOSE_BEFORE.search(mention.before)
    )


def used_like_another_thing(mention: Mention) -> bool:
    """Whether the words right beside a name make it a device, a material, a person, a place or an eponym."""
    return bool(_THING_AFTER.search(mention.told_after) or _THING_BEFORE.search(mention.told_before))


def has_a_drug_stem(name: str) -> bool:
    """Whether an unknown name ends as only names of drugs do."""
    return _STEM.fullmatch(name.strip()) is not None
