"""By which key a drug is the same drug: by its ingredients, whatever it is sold as."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.clinical.entities import entity_named, entity_of
from chartdistill.clinical.lexica.ingredients import ingredients
from four_drugs import DRUGS


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Metoprolol succinate ER 50 mg daily", "metoprolol tartrate", True),
        ("Augmentin 875 mg b.i.d.", "amoxicillin/clavulanate", True),
        ("lidocaine with epinephrine", "Epinephrine and Lidocaine", True),
        ("hydrocortisone cream", "hydrocortisone", True),
        ("cetirizine (Velodar)", "cetirizine", True),
        ("ASA 81 mg", "aspirin", True),
        ("Aggrenox", "dipyridamole and aspirin", True),
        ("Combivent inhaler", "albuterol/ipratropium", True),
        ("Velodar tablets", "velodar", True),
        ("lisinopril 10", "lisinopril", True),
        ("ASA 81", "aspirin", True),
        ("Norvasc", "amlodipine", True),
        # The lexicon has these under a name of their own with their salt, form or a remark.
        ("levothyroxine sodium 75 mcg", "Synthroid", True),
        ("docusate sodium", "Colace", True),
        ("venlafaxine hydrochloride", "venlafaxine", True),
        ("rosuvastatin calcium", "Crestor", True),
        ("Duragesic", "fentanyl", True),
        ("lidocaine patch", "lidocaine", True),
        ("Xylocaine 1%", "lidocaine", True),
        ("viscous Xylocaine", "Lidocaine viscous", True),
        ("NPH", "insulin NPH", True),
        ("Humulin N 10 units", "NPH insulin", True),
        ("Novolin R", "insulin regular", True),
        ("NPH insulin", "regular insulin", False),
        ("omega-3 fatty acids", "fish oil", True),
        ("Pneumovax", "pneumococcal vaccine", True),
        ("Epogen", "Procrit", True),
        ("NovoLog", "insulin aspart", True),
        ("Tresiba", "insulin degludec", True),
        ("norethisterone acetate", "norethindrone", True),
        ("glycopyrronium bromide", "glycopyrrolate", True),
        ("penicillin V potassium", "penicillin V", True),
        ("adrenaline", "epinephrine", True),
        ("vitamin B12", "cyanocobalamin", True),
        ("Z-Pak", "azithromycin", True),
        ("baby aspirin", "aspirin", True),
        ("enteric-coated aspirin 325 mg", "aspirin", True),
        ("children's Tylenol", "acetaminophen", True),
        ("prednisone taper", "prednisone", True),
        ("albuterol nebs", "albuterol", True),
        ("Bactrim DS", "trimethoprim-sulfamethoxazole", True),
        ("flu shot", "influenza vaccine", True),
        ("tetanus booster", "tetanus toxoid", True),
        ("K-Dur", "potassium chloride", True),
        ("K-Dur", "potassium citrate", False),
        ("baby aspirin", "baby powder", False),
        ("Maalox", "Imodium", False),
        ("Maalox", "aluminum hydroxide/magnesium hydroxide", True),
        ("magnesium citrate", "magnesium oxide", False),
        ("ferrous sulfate", "ferrous gluconate", False),
        ("insulin glargine", "insulin", False),
        ("insulin 70/30", "insulin", False),
        ("calcium carbonate", "calcium gluconate", False),
        ("insulin 70/30", "insulin 50/50", False),
        ("prednisone", "prednisolone", False),
        ("amoxicillin", "amoxicillin/clavulanate", False),
        ("Velodar", "Velodor", False),
    ],
)
def test_drugs_match_by_ingredient_set(one: str, other: str, same: bool) -> None:
    assert (entity_of(DRUGS).match_key(one) == entity_of(DRUGS).match_key(other)) is same
    general = entity_named("finding")
    assert general.match_key(one) != general.match_key(other), "only names of drugs are taken apart"


def test_a_lexicon_resolves_brands_and_their_combinations() -> None:
    known = {"brandex": "velodar", "duozil": "velodar and mirafen"}.get
    assert ingredients("brandex", known) == {"velodar"} == ingredients("velodar", known)
    assert ingredients("duozil", known) == {"velodar", "mirafen"} == ingredients("mirafen/brandex", known)
    assert ingredients("brandex") == {"brandex"}, "without a lexicon a name keeps its own words"


@given(st.text(min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_a_key_is_stable_and_never_empty_where_there_is_a_word(text: str) -> None:
    assert ingredients(text)
    assert (
        entity_of(DRUGS).match_key(text) == entity_of(DRUGS).match_key(f"  {text} ") == entity_of(DRUGS).match_key(text)
    )
