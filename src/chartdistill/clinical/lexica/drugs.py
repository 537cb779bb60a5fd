"""Drug names, from a lexicon on this machine: is a name a drug, and which other names mean the same drug.

In: names. Out: ingredients and aliases. Source: the data file of the PyPI package `drug-named-entity-recognition`
(MIT), a pickle of plain dictionaries: variant (lower case) -> list of canonical names; what it lacks comes from
`brands.py` and `products.py`. The package itself is never imported: its import reads another pickle from the home
folder, and it can call web services.

Must hold: unpickling can build nothing but built-in containers; the file is read once, at the first question; a
missing package is an InputError here, never an empty lexicon. A lexicon is never complete: a name it lacks is unknown,
not "no drug".
"""

from __future__ import annotations

import bz2
import importlib.util
import pickle
import re
from collections import defaultdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, NoReturn

from chartdistill.clinical.lexica.brands import BRANDS
from chartdistill.clinical.lexica.products import PRODUCTS, SHORT_PRODUCTS
from chartdistill.clinical.text.names import find_names, from_word_to_word, starts_of, words_in
from chartdistill.clinical.vocabulary import NO_NAMES, KindNames
from chartdistill.errors import InputError

LexiconUse = Literal["auto", "require", "off"]
"""auto: the lexicon where it is installed, else no name is known; require: an error where it is not; off: none."""

PACKAGE = "drug_named_entity_recognition"
DATA_FILE = "drug_ner_dictionary.pkl.bz2"
MAX_NAME_WORDS = 4
"""Longest name looked up inside a text, in words."""
NO_DRUGS = frozenset({"diagnosis", "test", "procedure"})
"""Kinds of findings that are never drugs: a name that a user gives to one of them is taken out of the lexicon."""
_SHORTEST = 4
"""Shortest name of the lexicon that is looked up inside a text, in characters; a user's names can be shorter."""

_NO_DRUG = re.compile(
    r"luminal|guaiac|sulfate|aldosterone|methemoglobin|metanephrine|cocaine|marijuana|allis|ferritin|(?:uric|lactic)\s+acid"
    r"|troponin.*|.*\b(?:phosphatase|receptor|antibod(?:y|ies)|factor|gland|coli|nose|cholesterol|cells|dioxide|sealant|pump)"
    r"|table\s+salt|[a-z]{1,2}\s+\d+"
)
"""Names in the lexicon that charts use for something else: a lumen, an organ, a substance measured or abused."""

_MEASURED = re.compile(r"\s+(?:levels?|deficiency|toxicity|abuse)\b", re.IGNORECASE)
_CLASSES = re.compile(
    r"""\b(?:
        anti\W?(?:bacterial|biotic|coagulant|convulsant|depressant|diabetic|emetic|epileptic|fungal|histamine
            |hypertensive|inflammator(?:y|ie)|malarial|platelet|psychotic|pyretic|retroviral|spasmodic|tussive|viral)s?
        | (?:alpha|beta|calcium(?:\s+channel)?|h2|proton\s+pump)\W?(?:blocker|inhibitor|agonist|antagonist)s?
        | (?:ace|mao|cox-2|ssri)\W{1,3}inhibitors? | nsaids? | ssris? | statins? | ppis?
        | analgesics? | an(?:a)?esthetics? | benzodiazepines? | bronchodilators? | (?:cortico)?steroids?
        | diuretics? | laxatives? | narcotics? | opio?ids? | opiates? | nitrates? | sedatives? | vasodilators?
        | vasopressors? | pressors? | decongestants? | expectorants? | stool\s+softeners? | supplements?
        | vaccin(?:es?|ations?)
        | (?:re)?immuni[sz]ations? | toxoids? | booster(?:\s+shots?)?
        | (?:flu|pneumonia|tetanus|shingles|hpv|allergy|rabies|hepatitis\s+[ab]|covid|meningitis|polio)
            \s+(?:shots?|jabs?|injections?|series)
        | (?:contrast|imaging)\s+(?:agents?|medi(?:um|a)|dyes?)
        | [\w.]+\s+(?:cocktail|mouth\W?wash) | viscosupplement(?:s|ation)? | radio(?:tracers?|pharmaceuticals?)
        | chemotherapy | insulins? | hormones? | immunosuppressants? | immunoglobulins? | probiotics? | eyedrops?
        | (?:multi\W?)?vitamins? | iron | calcium | potassium | magnesium | zinc | oxygen | saline | dextrose
        | lactulose
        | (?:pain|sleeping|water|birth\s+control)\s+(?:pills?|medications?|medicines?) | contraceptives?
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
_FORMS = re.compile(
    r"\b(?:cream|ointment|lotion|gel|drops?|eye\s?drops|inhaler|nebulizers?|nebs?|patch(?:es)?|suppositor(?:y|ies)"
    r"|tab(?:let)?s?|cap(?:sule)?s?|syrup|elixir|suspension|spray|lozenges?|drip|solution|enema|pills?)\b",
    re.IGNORECASE,
)
_DOSE = re.compile(
    r"\d[\d.,/-]*\s?(?:mg|mcg|µg|ug|gm?|grams?|meq|ml|cc|units?|iu|%|puffs?)(?![a-z])"
    r"|\b(?:[qbt]\.?i\.?d|q\.?d|q\.?h\.?s|p\.?r\.?n|q\.?\s?\d+\s?h|p\.?o|twice daily|once daily)\b",
    re.IGNORECASE,
)


class _Containers(pickle.Unpickler):
    """Reads a pickle of dictionaries, lists, strings and numbers; those need no class to be looked up."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise InputError(
            f"the drug lexicon asks for {module}.{name}; it must hold plain containers only. Reinstall it."
        )


def lexicon_path() -> Path:
    """The lexicon's data file.

    Raises:
        InputError: the package is not installed, or has no such file.
    """
    found = importlib.util.find_spec(PACKAGE)
    for folder in (found.submodule_search_locations if found else None) or ():
        path = Path(folder) / DATA_FILE
        if path.is_file():
            return path
    raise InputError(
        f"the drug lexicon {DATA_FILE} is not installed. Install it with `pip install drug-named-entity-recognition`, "
        "or set `lexicon: auto` under the config's filters: names are then judged by the chart alone."
    )


def read_lexicon(path: Path) -> dict[str, str]:
    """Variant -> canonical name, both in lower case.

    Raises:
        InputError: the file is not the package's dictionary, or asks for anything but plain containers.
    """
    try:
        with bz2.open(path) as stream:
            values: Any = _Containers(stream).load()
        variants = values["drug_variant_to_canonical"]
        return {str(name): str(canonical[0]) for name, canonical in variants.items() if canonical}
    except (OSError, EOFError, pickle.UnpicklingError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"{path} is not the drug lexicon of {PACKAGE} 2.0 ({type(error).__name__}: {error}). Reinstall the package."
        ) from error


class Drugs:
    """The lexicon, ready for questions. Names are compared in lower case."""

    def __init__(self, variants: dict[str, str], most_words: int = MAX_NAME_WORDS) -> None:
        """`variants`: name -> the name it goes by. `most_words`: longest name looked up inside a text."""
        self._canonical = variants
        self._starts = starts_of(variants)
        self._most_words = most_words
        self._short: frozenset[str] = frozenset()
        self._variants: dict[str, list[str]] = defaultdict(list)
        for name, drug in self._canonical.items():
            self._variants[drug].append(name)

    def with_names(self, names: KindNames) -> Drugs:
        """This lexicon with a user's names, which win over its own.

        A group of names goes by the first that the lexicon knows.
        """
        of_user: dict[str, str] = {}
        for group in names.groups:
            known = next((drug for name in group if (drug := self.canonical(name)) is not None), group[0])
            of_user.update({form: known for name in group for form in (name, from_word_to_word(name)) if form})
        no_drugs = {*names.excluded, *(name for name, kind in names.others.items() if kind in NO_DRUGS)}
        kept = {name: drug for name, drug in self._canonical.items() if name not in no_drugs}
        drugs = Drugs({**kept, **of_user}, max(self._most_words, *map(words_in, of_user), 1))
        drugs._short = self._short | frozenset(name for name in of_user if len(name) < _SHORTEST)
        return drugs

    def canonical(self, name: str) -> str | None:
        """The lexicon's own name of a drug; None for a name it does not have."""
        key = " ".join(name.casefold().split())
        return self._canonical.get(key) or (self._canonical.get(key[:-1]) if key.endswith("s") else None)

    def aliases(self, name: str) -> tuple[str, ...]:
        """Other names of the same drug, brands and ingredients; () for an unknown name."""
        drug = self.canonical(name)
        if drug is None:
            return ()
        return tuple(sorted({drug, *self._variants[drug]} - {" ".join(name.casefold().split())}))

    def find(self, text: str) -> list[tuple[int, int]]:
        """Character spans of the lexicon's drugs in a text, longest first at each place, none overlapping.

        A name that is only measured or abused ("digoxin level", "vitamin D deficiency") is left out. The last texts
        are remembered: a chart is asked about for every item.
        """
        return list(_found(self, text))

    def _find(self, text: str) -> list[tuple[int, int]]:

        def is_drug(start: int, end: int) -> bool:
            name = text[start:end]
            if end - start < _SHORTEST and name.casefold() not in self._short:
                return False
            return _MEASURED.match(text, end) is None and self.canonical(name) is not None

        return find_names(text, is_drug, self._starts, self._most_words)


@lru_cache(maxsize=512)
def _found(drugs: Drugs, text: str) -> tuple[tuple[int, int], ...]:
    return tuple(drugs._find(text))


@cache
def drugs() -> Drugs:
    """The installed lexicon, read at the first call (0.4 s, about 30 MB).

    Raises:
        InputError: as `lexicon_path` and `read_lexicon`.
    """
    variants = read_lexicon(lexicon_path())
    ours = {name: variants.get(drug, drug) for brand, drug in BRANDS.items() for name in (brand, drug)}
    ours |= {name: variants.get(drug, drug) for name, drug in PRODUCTS.items()}
    found = Drugs({name: drug for name, drug in {**ours, **variants}.items() if _NO_DRUG.fullmatch(name) is None})
    found._short = SHORT_PRODUCTS
    return found


def known_drugs(use: LexiconUse, names: KindNames = NO_NAMES) -> Drugs | None:
    """The lexicon as an option asks for it, with a user's names of drugs, which no option turns off.

    Returns:
        None where the lexicon is off, or `auto` and not installed, and the user names no drug.

    Raises:
        InputError: `require` and not installed; or installed and not readable.
    """
    shipped = drugs() if use == "require" or (use == "auto" and is_installed()) else None
    return shipped if not names or (shipped is None and not names.groups) else _with_names(shipped, names)


@lru_cache(maxsize=64)
def _with_names(shipped: Drugs | None, names: KindNames) -> Drugs:
    return (shipped or Drugs({})).with_names(names)


@cache
def is_installed() -> bool:
    """Whether the lexicon is on this machine."""
    try:
        lexicon_path()
    except InputError:
        return False
    return True


def names_class(text: str) -> bool:
    """Whether a text names a class of drugs, a vitamin, a mineral or a fluid: "antibiotics", "beta-blocker"."""
    return _CLASSES.search(text) is not None


_UNNAMED = re.compile(
    r"(?:(?:iv|oral|topical|broad-spectrum|intravenous|home|pain|current|prophylactic|local|general|other)\s+)*(?:anti\W?(?:bacterial|biotic"
    r"|coagulant|convulsant|depressant|diabetic|emetic|epileptic|fungal|histamine|hypertensive|inflammator(?:y|ie)|microbial|platelet|psychotic"
    r"|pyretic|retroviral|spasmodic|viral)s?(?:\s+agents?)?|an(?:a)?esthetics?|analgesics?|(?:cortico)?steroids?|narcotics?|opio?ids?|opiates?"
    r"|diuretics?|laxatives?|nsaids?|statins?|sedatives?|supplements?|vaccines?|vitamins?|minerals?|hormones?|\w+\W?(?:blockers?|inhibitors?"
    r"|agonists?)|bronchodilators?|(?:vaso)?pressors?|decongestants?|stool\s+softeners?|medications?|chemotherapy"
    r"|contrast(?:\s+(?:agents?|medium|media))?)",
    re.IGNORECASE,
)


def is_unnamed(text: str) -> bool:
    """Whether a text is a class of drugs and nothing more: "antibiotics", "local anesthetic"; "insulin" is a name."""
    return _UNNAMED.fullmatch(" ".join(text.split())) is not None


def names_form(text: str) -> bool:
    """Whether a text names a dosage form or a dose: "ointment", "20 mg", "b.i.d."."""
    return _FORMS.search(text) is not None or _DOSE.search(text) is not None
