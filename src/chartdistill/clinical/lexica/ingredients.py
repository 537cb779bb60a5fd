"""The key by which an emitted item and a gold item are the same item.

In: an item's text, its task. Out: a key. For tasks about drugs the key is the set of ingredients: case, dose, route,
frequency, dosage form, release mark and salt do not count; a brand is its ingredients where the drug lexicon
(`drugs.py`) or the table below knows it; a combination is the set of its parts, in any order. For all other tasks it
is the plain key. Must hold: pure; a name nobody knows keeps its own words, so made-up names still match themselves.

`lexicon_used` belongs beside every score: with and without the lexicon, the same answers can score differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import permutations

from chartdistill.clinical.lexica.brands import BRANDS
from chartdistill.clinical.lexica.drugs import known_drugs
from chartdistill.clinical.vocabulary import NO_NAMES, KindNames

COMBINATIONS = {
    name: frozenset(parts.split("+"))
    for line in """
    vicodin lortab norco lorcet = hydrocodone+acetaminophen
    percocet roxicet endocet tylox = oxycodone+acetaminophen
    percodan = oxycodone+aspirin
    darvocet = propoxyphene+acetaminophen
    ultracet = tramadol+acetaminophen
    augmentin = amoxicillin+clavulanate
    unasyn = ampicillin+sulbactam
    zosyn = piperacillin+tazobactam
    bactrim septra co-trimoxazole tmp-smx tmp/smx smx-tmp smx/tmp smz-tmp smz/tmp = sulfamethoxazole+trimethoprim
    advair = fluticasone+salmeterol
    symbicort = budesonide+formoterol
    combivent duoneb = albuterol+ipratropium
    hyzaar = losartan+hydrochlorothiazide
    zestoretic prinzide = lisinopril+hydrochlorothiazide
    dyazide maxzide = triamterene+hydrochlorothiazide
    ziac = bisoprolol+hydrochlorothiazide
    tenoretic = atenolol+chlorthalidone
    lotrel = amlodipine+benazepril
    caduet = amlodipine+atorvastatin
    vytorin = ezetimibe+simvastatin
    glucovance = glyburide+metformin
    janumet = sitagliptin+metformin
    avandamet = rosiglitazone+metformin
    sinemet = carbidopa+levodopa
    aggrenox = aspirin+dipyridamole
    suboxone = buprenorphine+naloxone
    entresto = sacubitril+valsartan
    cosopt = dorzolamide+timolol
    maalox = aluminum hydroxide+magnesium hydroxide
    lomotil = diphenoxylate+atropine
    epzicom = abacavir+lamivudine
    tobradex = tobramycin+dexamethasone
    fioricet = butalbital+acetaminophen+caffeine
    """.strip().splitlines()
    for names, parts in [line.strip().split(" = ")]
    for name in names.split()
}
"""Common brands with several ingredients, from general knowledge of United States brand names."""

SHORT_NAMES = {
    "asa": "aspirin", "apap": "acetaminophen", "hctz": "hydrochlorothiazide", "ntg": "nitroglycerin",
    "pcn": "penicillin", "inh": "isoniazid", "mtx": "methotrexate", "clavulanic acid": "clavulanate",
    "z-pak": "azithromycin", "z-pack": "azithromycin", "zpak": "azithromycin", "z pak": "azithromycin",
    "vitamin b12": "cyanocobalamin", "vitamin b-12": "cyanocobalamin", "b-12": "cyanocobalamin",
    "feso4": "ferrous sulfate", "iron sulfate": "ferrous sulfate", "mso4": "morphine",
    "mvi": "multivitamin", "multivitamins": "multivitamin", "peg 3350": "polyethylene glycol",
    "adrenaline": "epinephrine", "aciclovir": "acyclovir", "cefalexin": "cephalexin", "senna": "sennosides",
    "thyroxine": "levothyroxine", "l-thyroxine": "levothyroxine", "norethisterone": "norethindrone",
    "glycopyrronium": "glycopyrrolate", "levosalbutamol": "levalbuterol", "methylthioninium": "methylene blue",
    "flu shot": "influenza vaccine", "flu vaccine": "influenza vaccine", "flu vaccination": "influenza vaccine",
    "influenza vaccination": "influenza vaccine", "influenza immunization": "influenza vaccine",
    "influenza shot": "influenza vaccine", "tetanus shot": "tetanus toxoid", "tetanus booster": "tetanus toxoid",
    "tetanus vaccine": "tetanus toxoid", "pneumonia vaccine": "pneumococcal vaccine", "ecasa": "aspirin",
    "pneumonia shot": "pneumococcal vaccine", "k-dur": "potassium chloride", "slow-k": "potassium chloride",
    "micro-k": "potassium chloride", "epi": "epinephrine", "nitro": "nitroglycerin", "azt": "zidovudine",
    "tpa": "alteplase", "mag sulfate": "magnesium sulfate", "pnv": "prenatal vitamins",
    "xylocaine": "lidocaine", "lidocaine viscous": "lidocaine",
    "nph": "nph insulin", "insulin nph": "nph insulin", "isophane insulin": "nph insulin", "humulin n": "nph insulin",
    "novolin n": "nph insulin", "regular insulin": "insulin regular", "humulin r": "insulin regular",
    "novolin r": "insulin regular", "omega-3": "fish oil", "omega 3": "fish oil", "omega-3 fatty acids": "fish oil",
    "omega-3 fatty acid": "fish oil", "omega 3 fatty acids": "fish oil", "lovaza": "fish oil",
    "pneumovax": "pneumococcal vaccine", "pneumococcal vaccination": "pneumococcal vaccine",
    "pneumococcal polysaccharide vaccine": "pneumococcal vaccine", "botox": "botulinum toxin",
    "multiple vitamin": "multivitamin", "multiple vitamins": "multivitamin", "multi-vitamin": "multivitamin",
    "epogen": "epoetin alfa", "epoetin": "epoetin alfa", "cobalamin": "cyanocobalamin",
    "lactated ringers": "lactated ringer's", "ringer's lactate": "lactated ringer's",
    "oxybate": "sodium oxybate", "tums": "calcium carbonate", "imdur": "isosorbide mononitrate",
}  # fmt: skip
"""What abbreviations mean that charts do not explain, and names that the lexicon has as another drug or not at all."""

_WRITTEN_OUT = frozenset({*SHORT_NAMES.values(), *BRANDS.values()})
_SALTS = re.compile(
    r"\s+(?:hydrochloride|hcl|hydrobromide|sodium|potassium|calcium|magnesium|sulfate|sulphate|succinate|tartrate"
    r"|maleate|mesylate|besylate|fumarate|citrate|acetate|phosphate|nitrate|bromide|chloride|carbonate|gluconate"
    r"|bitartrate|disoproxil|trihydrate|monohydrate|anhydrous|dihydrate|medoxomil|axetil)\b"
)
_ELEMENTS = re.compile(r"(?:sodium|potassium|calcium|magnesium|zinc|iron|ferrous|ferric|aluminum|lithium|silver)\b")
"""Of these the salt is the drug: calcium carbonate is not calcium gluconate."""
_FORMS = re.compile(
    r"\s+(?:tab(?:let)?s?|cap(?:sule)?s?|pills?|cream|ointment|lotion|gel|drops|eye\s?drops|inhaler|nebuli[sz]ers?|patch"
    r"(?:es)?|suppositor(?:y|ies)|syrup|elixir|suspension|spray|lozenges?|drip|solution|injections?|infusion"
    r"|[xsec]r|xl|la|er|ec|cd|odt|extended[\s-]release|sustained[\s-]release|enteric[\s-]coated|chewable|taper|nebs?|mdi|ds)\b"
)
_FORM_BEFORE = re.compile(
    r"^(?:(?:viscous|baby|low[\s-]dose|enteric[\s-]coated|coated|ec|chewable|(?:child(?:ren)?|infant)['\u2019]?s?['\u2019]?|junior)\s+)+(?=\w)"
)
"""Strength, form, coating and age group before a name: "baby aspirin" is aspirin."""
_ITS_FORM = re.compile(
    r"\s+(?:tab(?:let)?s?|cap(?:sule)?s?|cream|ointment|lotion|gel|(?:eye\s?|ear\s?)?drops|patch(?:es)?|suppositor(?:y|ies)|syrup"
    r"|elixir|suspension|spray|lozenges?|drip|injections?|infusion)$"
)
_BARE_NUMBER = re.compile(r"\s+\d[\d.,/-]*$")
_NUMBERED = re.compile(
    r"\b(?:insulin|humulin|novolin|humalog|novolog|vitamin|omega|factor|tylenol|coenzyme|interferon|interleukin)\b"
)
"""Of these the number is part of the name: insulin 70/30 is not insulin."""
_BRACKET = re.compile(r"\s*\([^()]*\)")
_JOINTS = re.compile(r"\s*(?:\+|&|(?<!\d)/(?!\d))\s*|(?<=[a-z]{5})-(?=[a-z]{5})|\s+(?:and|with|plus)\s+")


@lru_cache(maxsize=1 << 16)
def drug_key(key: str, names: KindNames = NO_NAMES) -> str:
    """The key by which two drugs match, from the plain key of a name without its directions.

    `names`: the user's names of drugs, here and below; they win over all tables.
    """
    known = known_drugs("auto", names)
    return " + ".join(sorted(ingredients(key, None if known is None else known.canonical, names)))


@lru_cache(maxsize=64)
def _names_by_ingredients(names: KindNames) -> dict[frozenset[str], list[str]]:
    """What is in a drug -> its names in the tables of this folder, and those of the user."""
    found: dict[frozenset[str], list[str]] = {}
    singles = {**BRANDS, **SHORT_NAMES}
    for name, parts in (*((name, frozenset({one})) for name, one in singles.items()), *COMBINATIONS.items()):
        if name not in names:
            found.setdefault(parts, []).append(name)
        if len(parts) == 1:
            found.setdefault(parts, []).append(next(iter(parts)))
    for group in names.groups:
        for parts in set(_both_ingredients(group[0], names)):
            found.setdefault(parts, []).extend(group)
    return found


@lru_cache(maxsize=1 << 12)
def other_names(key: str, names: KindNames = NO_NAMES) -> tuple[str, ...]:
    """Other names of a drug: those of the lexicon, brands, abbreviations and written-out parts of the tables here, and
    the user's.

    `key`: a plain key without directions.
    """
    known = known_drugs("auto", names)
    parts, plain = _both_ingredients(key, names)
    found = {name for of in (parts, plain) for name in _names_by_ingredients(names).get(of, ())}
    if len(plain) > 1:
        found |= {"-".join(order) for order in permutations(sorted(plain))}
        found |= {"/".join(order) for order in permutations(sorted(plain))}
    found |= {alias for name in (key, *plain) for alias in (known.aliases(name) if known and len(plain) == 1 else ())}
    return tuple(sorted(found - {key} - names.excluded))


def _both_ingredients(key: str, names: KindNames) -> tuple[frozenset[str], frozenset[str]]:
    """The ingredients under the lexicon's own names, and written out by the tables alone."""
    known = known_drugs("auto", names)
    plain = frozenset(_plain_ingredient(part) for part in ingredients(key, names=names))
    return ingredients(key, None if known is None else known.canonical, names), plain


def _known_of(group: tuple[str, ...]) -> str:
    """Of a user's names of one drug the one that the lexicon or a table knows, with or without salt; else the first."""
    forms = [form for bare in (False, True) for name in group for form in [_stripped(name) if bare else name]]
    return next((form for form in forms if is_shipped(form)), group[0])


@lru_cache(maxsize=1 << 16)
def is_shipped(name: str) -> bool:
    """Whether the lexicon or a table of this folder knows a drug by this plain key."""
    known = known_drugs("auto")
    tables = (SHORT_NAMES, BRANDS, COMBINATIONS, _WRITTEN_OUT)
    return any(name in table for table in tables) or (known is not None and known.canonical(name) is not None)


def _plain_ingredient(name: str) -> str:
    return SHORT_NAMES.get(name, BRANDS.get(name, name))


def ingredients(
    key: str, canonical: Callable[[str], str | None] | None = None, names: KindNames = NO_NAMES
) -> frozenset[str]:
    """The ingredients of a drug, from its plain key (see `entities.medication.Medication.key`). Never empty.

    `canonical` gives the lexicon's name of a drug, or None; without it only salts, forms, abbreviations and the
    combinations of this file are resolved.
    """
    bare = _BRACKET.sub("", key).strip() or key
    saltless = _saltless(bare)
    # The lexicon has some drugs under one name alone and under another with a salt or form, which do not count.
    first = saltless if saltless != key and key not in names and is_shipped(saltless) else key
    for name in (first, key, bare, _stripped(bare)):
        found = _known(name, canonical, names)
        if found is not None:
            return frozenset(map(_plainly, found)) if canonical is not None else found
    parts = [part for part in _JOINTS.split(_stripped(bare)) if part.strip()]
    if len(parts) < 2:
        return frozenset({_stripped(bare)})
    return frozenset().union(*(_known(part, canonical, names) or {_stripped(part.strip())} for part in parts))


def _known(name: str, canonical: Callable[[str], str | None] | None, names: KindNames) -> frozenset[str] | None:
    """The ingredients of a name that the user, a table or the lexicon has, each under the lexicon's own name."""
    if group := names.group(name):
        name = _known_of(group)
        several = [part for part in _JOINTS.split(name) if part.strip()]
        if len(several) > 1 and not is_shipped(name):
            return frozenset().union(*(_known(part, canonical, NO_NAMES) or {_stripped(part)} for part in several))
    name = SHORT_NAMES.get(name, BRANDS.get(name, name))
    drug = None if canonical is None else canonical(name)
    if name in COMBINATIONS:
        parts = COMBINATIONS[name]
    elif drug is not None:
        parts = frozenset(part for part in _JOINTS.split(drug.casefold()) if part)
    elif name in _WRITTEN_OUT or group:
        parts = frozenset({name})
    else:
        return None
    parts = frozenset(SHORT_NAMES.get(part, part) for part in parts)
    return parts if canonical is None else frozenset((canonical(part) or part).casefold() for part in parts)


def _stripped(name: str) -> str:
    """Without dosage form, release mark, salt and a dose that lacks its unit, as long as something is left."""
    bare = _FORMS.sub("", _FORM_BEFORE.sub("", name))
    bare = bare if _NUMBERED.search(bare) else _BARE_NUMBER.sub("", bare)
    return bare if _ELEMENTS.match(bare) else _SALTS.sub("", bare)


def _saltless(name: str) -> str:
    """Without dosage form and salt, which make no other drug of a name; a number can ("Prevnar 13")."""
    bare = _ITS_FORM.sub("", name)
    return bare if _ELEMENTS.match(bare) else _SALTS.sub("", bare)


def _plainly(drug: str) -> str:
    """The lexicon's name of a drug, where that is one with salt, form or a remark in brackets, without them."""
    bare = _saltless(_BRACKET.sub("", drug).strip(" ,"))
    known = known_drugs("auto")
    return drug if known is None or bare == drug else (known.canonical(bare) or drug).casefold()


def lexicon_used() -> str:
    """Which drug lexicon the keys go by, with its version; `none` where it is not installed."""
    if known_drugs("auto") is None:
        return "none"
    try:
        return f"drug-named-entity-recognition {version('drug-named-entity-recognition')}"
    except PackageNotFoundError:
        return "drug-named-entity-recognition, version unknown"
