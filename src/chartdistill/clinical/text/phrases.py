"""What kind of thing a phrase names, by its words alone: a procedure, a test, a device, a diet, a body part ...

In: a noun phrase from an answer. Out: yes or no. Word endings do most of the work (-ectomy, -plasty, -gram, -itis):
medicine builds its words from few parts, and endings hold for words no list has. Must hold: pure; a question is
answered by the head of the phrase ("failure of a liver graft" is a failure), not by any word in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from chartdistill.clinical.text.test_names import is_listed_test

_CUT = re.compile(
    r"\s+(?:of|in|on|at|for|with|without|from|to|by|due|secondary|status\s+post|s/p|causing|involving|following|after"
    r"|per|vs\.?|versus|within|under|via|using|as|resulting|requiring|that|which|who|and|or|as\s+well\s+as)\b.*$"
    r"|\s*[,;(:].*$|\s+-+\s.*$",
    re.IGNORECASE | re.DOTALL,
)
_VERB_LIKE = re.compile(
    r"^(?:\w+\s+)?(?:repair|release|excision|removal|resection)\s+(?!site|failure|bed|margin)", re.IGNORECASE
)
_SIDE = re.compile(r"\s+(?:x\s?\d+|\d+|today|left|right|bilaterally|times\s+\w+|levels?)$", re.IGNORECASE)

_PROCEDURE = re.compile(
    r"""(?: [\w-]*(?:ectom(?:y|ies)|(?<!ana)(?<!dicho)tom(?:y|ies)|stom(?:y|ies)|plast(?:y|ies)|scop(?:y|ies)|pexy
        |rrhaphy|centesis
            |desis|tripsy|(?:ter|bol|thet|lyt|mobil|port)i[sz]ation|punctures?)
        | biops(?:y|ies) | repairs? | removals? | excisions? | incisions? | resections? | insertions?
        | (?:re)?placements?
        | injections? | surger(?:y|ies) | operations? | procedures? | fusions? | transplant(?:s|ation)? | bypass
        | ligations? | ablations? | debridement | extractions? | implant(?:s|ation)? | transpositions? | closure
        | decompression | reconstruction | circumcision | an(?:a)?esthesia | lavage | irrigation | exploration
        | harvest(?:ing)? | graft(?:s|ing)? | augmentation | advancement | instillation | cauteri[sz]ation | fixation
        | deliver(?:y|ies) | intubation | extubation | evacuation | c-section | cesarean | section
        | exam(?:ination)?s? | evaluations? | consult(?:ation)?s? | visits? | follow-?\s?ups? | re-?checks?
        | check-?ups?
        | therap(?:y|ies) | treatments? | management | assessments? | screenings? | monitoring | transfusions?
        | dialysis | radiotherapy | chemotherapy | prophylaxis | rehabilitation | counsel(?:l)?ing | physicals?
        | admission | revision | osteosynthesis | orif | turp | cabg | lavh | tah | bso | i&d | d&c | egd
        | (?:phaco)?emulsification | release | reduction | dilat(?:at)?ion | curettage | exchange | sedation | sampling
        | instrumentation | application | induction | access | manipulation | nailing | pinning | mobili[sz]ation
        | cast(?:ing)? | arthrogram
    )$""",
    re.VERBOSE | re.IGNORECASE,
)
_TEST = re.compile(
    r"""\b(?: \w+(?:gram|grams|graph(?:y|ies)|graphs?|scop(?:y|ies)|metry|assay|assays)
        | [ct][ct]a?s?(?:\s?-?\s?scans?)? | c\.t\. | mr[ia]s? | pet(?:/ct)? | x-?\s?rays? | xr | cxr | kub | films?
        | dexa
        | scans? | imaging | ultra-?\s?sounds? | sonos? | doppler | dopplers? | duplex | echos? | e[ckm]gs? | eegs?
        | emg(?:/ncs)?
        | holter | telemetry | stress | treadmill | spect | perfusion | angio | venous\s+study | stud(?:y|ies) | tests?
        | testing | panels? | profiles? | labs? | laborator(?:y|ies)
        | blood\s+(?:work|count|counts|gas|gases|sugars?|cultures?)
        | cbc | cmp | bmp | bun | creatinine | electrolytes | chem-?\s?\d+ | lfts? | tsh | t[34] | psa | cea | ca\W?\d+
        | inr | pt/inr | ptt | pt | esr | sed(?:imentation)?\s+rate | crp | ana | rf | bnp | troponins? | cpk | ck | a1c
        | h(?:a)?emoglobin | h(?:a)?ematocrit | h&h | platelets? | lipids? | cholesterol | ferritin | b12 | folate
        | glucose
        | levels? | titers? | antibod(?:y|ies) | serolog(?:y|ies) | cultures? | gram\s+stain | stains? | smears?
        | cytolog(?:y|ies)
        | patholog(?:y|ies) | histolog(?:y|ies) | biops(?:y|ies) | urinalysis | u/?a | stool | guaiac | screens?
        | toxins? | ppd | pap | hiv | hepatitis\s+panel | audiolog(?:y|ical) | spirometry | pfts?
        | pulmonary\s+function | sleep
        | polysomno\w+ | video\s?strobo\w+ | swallow(?:ing)? | esophagram | enema | aspirations?
        | lumbar\s+puncture | lp | nst
        | biophysical | amniocentesis | catheteri[sz]ation | cath | visual\s+fields? | oct | tonometry
        | pregnancy\s+test | hcg | d-?\s?dimer
        | markers? | factors? | alpha-feto\w+ | afp | count | gases | ejection\s+fraction | oximetry
        | calcium\s+score | genetic | karyotype
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
_DEVICE = re.compile(
    r"\b(?:stents?|catheters?|braces?|walkers?|canes?|crutch(?:es)?|splints?|dressings?|casts?|pacemakers?|implants?"
    r"|prosthes[ie]s|grafts?|sutures?|drains?|tubes?|wheelchairs?|cpap|bipap|ventilator|monitors?|hearing aids?|glasses"
    r"|lens(?:es)?|screws?|plates?|mesh|bandages?|stockings|boot|collar|sling|needles?|tourniquet|sealant|foley|trocars?"
    r"|vicryl|prolene|nylon|monocryl|dermabond|steri-strips|gauze|pump(?! inhibitor)|devices?|instruments?)\b",
    re.IGNORECASE,
)
_CARE = re.compile(
    r"\b(?:diets?|exercises?|weight loss|rest|elevation|hydration|fluids?(?! pill)|nutrition|smoking cessation"
    r"|counsel\w*"
    r"|massage|heat|ice|home program|activity|precautions?|education|physical therapy|occupational therapy"
    r"|speech therapy|rehab\w*|lifestyle|observation|supportive care|wound care|referral|appointment)\b",
    re.IGNORECASE,
)
_DISEASE = re.compile(
    r"(?:itis|(?<!^d)osis|(?<!^d)oses|emia|uria|pathy|oma|omas|algia|iasis|plegia|paresis|megaly|penia|pnea|rrhea|ectasis|stenosis"
    r"|disease|disorder|syndrome|pain|ache|fever|cough|nausea|vomiting|weakness|failure|infection|fracture|tear|cancer"
    r"|bleeding|swelling|sweats|infarction|lesions?|mass(?:es)?|tumors?|injury|wound|ulcers?)$",
    re.IGNORECASE,
)
_COMPLAINT = re.compile(
    r"(?:(?:hyper|hypo)tension|asthma|copd|chf|cad|cva|tia|gerd|depression|anxiety|diabetes(?:\s+mellitus)?|dementia|insomnia|[a-z]{3,}phagia|[a-z]{3,}cardia"
    r"|[a-z]{3,}phasia|[a-z]{3,}thymia|spasms?|nodules?|attacks?|allergies|burns?|dizziness|lightheaded(?:ness)?|abuse|dependence|addiction|seizures?|strokes?"
    r"|epilepsy|palpitations?|syncope|edema|rash(?:es)?|constipation|diarrhea|headaches?|fatigue|obesity|cramp(?:s|ing)|numbness|tingling|hernias?|gout|bleed"
    r"|insufficiency|deficiency|abscess(?:es)?|cysts?|polyps?|effusions?|thrombus|embolism|thromboembolism|hemorrhages?|hematomas?|contusions?|lacerations?"
    r"|sprains?|strains?|dislocations?|deformity|defects?|dysfunction|obstruction|retention|incontinence|infertility|menopause|pregnancy|prematurity|arrest"
    r"|distress|sepsis|shock|trauma|intoxication|overdose|withdrawal|psychosis|schizophrenia|autism|retardation|palsy|dystonia|tremors?|vertigo|tinnitus)",
    re.IGNORECASE,
)
_SPECIALTY = re.compile(
    r"""(?:\W*(?:general|medicine|cardiovascular|cardiology|pulmonary|respiratory|gastrointestinal|gastroenterology
    |integumentary|neurologic(?:al)?|neurology|urology|oncology|h(?:a)?ematology|h(?:a)?ematopoietic|radiology|surgery
    |orthopedics?|neurosurgery|obstetrics|gyn(?:a)?ecology|ophthalmology|dermatology|podiatry|psychiatry|pediatrics
    |nephrology|otolaryngology|throat|lymphatic|musculoskeletal|endocrinology|rheumatology|ent|neonatal|soap|chart|and
    |progress|notes|consult|history|phy|discharge|summary|emergency|room|reports?|sleep)\b)+\W*""",
    re.VERBOSE | re.IGNORECASE,
)
_NORMAL = re.compile(
    r"^(?:an?\s+|the\s+)?(?:(?:essentially|grossly|otherwise|completely|within)\s+)?(?!(?:normal|negative)[\s-]+(?:pressure|tension|weight"
    r"|anion[\s-]gap)[\s-]+(?:\w+[\s-]+){0,2}\w*(?:cephalus|oma|osis|emia|obesity|edema)\b)(?:normal|negative|unremarkable|healthy"
    r"|no\b|not\b|none\b|absence\s+of|within\s+normal\s+limits|nondiagnostic|nk[dfm]?a\b)",
    re.IGNORECASE,
)
_WENT_WRONG = re.compile(
    r"^(?:(?:acute|chronic|partially|completely|status\s+post)\s+)?(?:fail(?:ed|ing)|infected|clotted|thrombosed|occluded|obstructed|blocked|ruptured|leaking|painful|exposed"
    r"|extruded|loose(?:ned)?|broken|fractured|migrated|displaced|dislodged|dislocated|malfunctioning|malpositioned|retained|eroded|stenosed|stenotic|unstable"
    r"|incomplete|poor|difficult|inadequate|limited|premature|preterm|precipitous|malunited|nonunited)\s+(?:[\w/.-]+\s+){0,5}?(?:\w*plasty|(?:re)?placement|grafts?|implants?|fusions?"
    r"|bypass|fixation|orif|access|induction|deliver(?:y|ies)|transplant(?:ation)?|repairs?|intubation|extubation|closure|reconstruction|surgery"
    r"|circumcision|sterili[sz]ation|anesthesia|\w*ostomy|fundoplication|ablation)(?:\s+(?:of|at|in|on|with|after)\b.*)?$",
    re.IGNORECASE,
)
_CONDITION = re.compile(
    r"^(?!.*\b(?:balloon|endoscopic|esophageal|urethral|pneumatic)\b).*\b(?:aort\w*|atri\w*|ventric\w*|biliary|bile|duct\w*|root|bowel|colon\w*|gastric|caly\w*"
    r"|calic\w*|pelvo?\w*|cardiac|chamber|annul\w*)\s+(?:\w+\s+)?dilat(?:at)?ion$"
    r"|\b(?:poor|disturbed|disrupted|fragmented|restless|interrupted|nonrestorative|unrefreshing)\s+sleep$"
    r"|^(?:(?:psychosocial|emotional|mental|life|work|job|family|marital|situational|financial|social|caregiver|acute|chronic|severe|post-?\s?traumatic)\s+){0,3}stress$"
    r"|\b(?:recurrent|chronic|meconium|silent|food|gastric|repeated|witnessed|massive)\s+(?:\w+\s+)?aspirations?$"
    r"|\b(?:bloody|black|tarry|loose|hard|frequent|impacted|watery|maroon)\s+stools?$|\b(?:poor|decreased|reduced)\s+(?:\w+\s+)?(?:perfusion|swallow(?:ing)?)$",
    re.IGNORECASE,
)
_CURE = re.compile(r"\b(?:therap(?:y|ies)|treatments?|regimen|medical management|protocol)$", re.IGNORECASE)


def first_of(judges: Sequence[tuple[Callable[[str], bool], str]], text: str) -> str | None:
    """What the first judge that says yes calls the text."""
    return next((what for says, what in judges if says(text)), None)


def head_of(phrase: str) -> str:
    """The head noun of a noun phrase: the last word before its first preposition, comma or bracket."""
    bare = _CUT.sub("", phrase.strip(" .,;:\"'"), count=1) or phrase
    while (shorter := _SIDE.sub("", bare)) != bare and shorter.strip():
        bare = shorter
    words = bare.split()
    return words[-1].split("/")[-1].strip(".,;:\"'()") if words else ""


def names_bad_outcome(phrase: str) -> bool:
    """Whether what is named like a procedure, a device or a test is a condition: one that failed or went wrong ("failed
    hip replacement", "clotted graft"), a widened vessel or duct, bad sleep, stress, aspiration, stools."""
    return _WENT_WRONG.search(phrase) is not None or _CONDITION.search(phrase) is not None


def names_procedure(phrase: str) -> bool:
    """Whether the phrase is something done to a patient: an operation, an examination, a therapy."""
    return _PROCEDURE.fullmatch(head_of(phrase)) is not None or _VERB_LIKE.search(phrase) is not None


def names_test(phrase: str) -> bool:
    """Whether the phrase has a word for a test, an image or a laboratory value."""
    return _TEST.search(phrase) is not None or is_listed_test(phrase)


def names_imaging_or_study(phrase: str) -> bool:
    """Whether the head of the phrase is a test: "CT scan of the chest", "exercise stress test"."""
    return _TEST.fullmatch(head_of(phrase)) is not None


def names_device(phrase: str) -> bool:
    """Whether the phrase has a word for a device or a surgical material."""
    return _DEVICE.search(phrase) is not None


def names_care(phrase: str) -> bool:
    """Whether the phrase is a diet, an exercise, rest, or another measure that is no drug."""
    return _CARE.search(phrase) is not None or _CURE.search(phrase.strip(" .")) is not None


def names_disease(phrase: str) -> bool:
    """Whether the head of the phrase has an ending of diseases and complaints."""
    return _DISEASE.search(head_of(phrase)) is not None


def names_complaint(phrase: str) -> bool:
    """Whether the head of the phrase is a common disease or complaint whose ending does not show it."""
    return _COMPLAINT.fullmatch(head_of(phrase)) is not None


def names_specialty(phrase: str) -> bool:
    """Whether the phrase is a specialty or an organ system, as search keywords and exam headings are."""
    return _SPECIALTY.fullmatch(phrase) is not None


def is_normal_finding(phrase: str) -> bool:
    """Whether the phrase says that nothing was found: "normal ...", "negative ...", "no ...", "NKDA"."""
    return _NORMAL.search(phrase.strip(" \"'")) is not None
