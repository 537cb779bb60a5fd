"""When two names are the same: whatever their order and abbreviations; sides, types and stages stay."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.clinical.entities import entity_named
from chartdistill.clinical.lexica.conditions import CONDITION_NAMES
from chartdistill.clinical.lexica.tests import TEST_NAMES
from chartdistill.clinical.same_as import SameAs

SAME = [
    ("diagnosis", "hypertension (HTN)", "hypertension"),
    ("diagnosis", "CAD (coronary artery disease)", "coronary artery disease"),
    ("diagnosis", "gastroesophageal reflux disease", "GERD"),
    ("diagnosis", "gastro-oesophageal reflux disease", "gastro-esophageal reflux disease"),
    ("diagnosis", "ER+ breast cancer", "breast cancer, ER positive"),
    ("diagnosis", "infection with hepatitis A", "hepatitis A infection"),
    ("diagnosis", "Fx of L femur", "left femoral fracture"),
    ("test", "head CT w/o contrast", "CT of the head without contrast"),
    ("test", "2D echo", "2-D echocardiogram"),
    ("diagnosis", "type 2 diabetes mellitus", "diabetes mellitus type 2"),
    ("diagnosis", "HTN", "Hypertension"),
    ("diagnosis", "T2DM", "type II diabetes"),
    ("diagnosis", "DM II", "Diabetes mellitus, type 2"),
    ("diagnosis", "COPD", "chronic obstructive pulmonary disease"),
    ("diagnosis", "Crohn's disease", "Crohn disease"),
    ("diagnosis", "fracture of the left wrist", "left wrist fracture"),
    ("diagnosis", "Rt. knee osteoarthritis", "right-sided knee OA"),
    ("diagnosis", "L4-5 disc herniation", "herniated disk at L4-L5"),
    ("diagnosis", "Anaemia", "anemia"),
    ("diagnosis", "kidney stones", "renal calculi"),
    ("diagnosis", "stage III CKD", "chronic kidney disease stage 3"),
    ("diagnosis", "non-small cell lung cancer", "lung cancer, non small cell"),
    ("diagnosis", "acid reflux", "GERD"),
    ("diagnosis", "gallstones", "cholelithiasis"),
    ("diagnosis", "PTSD", "post-traumatic stress disorder"),
    ("diagnosis", "posttraumatic stress disorder", "PTSD"),
    ("diagnosis", "pulmonary emboli", "pulmonary embolism"),
    ("diagnosis", "esophageal reflux", "GERD"),
    ("diagnosis", "SVT", "supraventricular tachycardia"),
    ("test", "chest film", "CXR"),
    ("test", "HIDA scan", "hepatobiliary scan"),
    ("test", "FNA of the thyroid", "fine-needle aspiration of the thyroid"),
    ("test", "hepatic function panel", "LFTs"),
    ("test", "DEXA scan", "bone density"),
    ("diagnosis", "end-stage renal disease", "ESRD"),
    ("diagnosis", "pulmonary embolism", "PE"),
    ("diagnosis", "abdominal pain", "pain in the abdomen"),
    ("diagnosis", "stage IIIA lung cancer", "lung cancer stage 3a"),
    ("diagnosis", "urinary tract infections", "UTI"),
    ("diagnosis", "pain due to arthritis", "pain secondary to arthritis"),
    ("test", "CT of the abdomen", "abdominal CT scan"),
    ("test", "CT abdomen and pelvis", "CT scan of abdomen/pelvis"),
    ("test", "CXR", "chest x-ray"),
    ("test", "X-ray of the chest", "chest radiograph"),
    ("test", "EKG", "electrocardiogram"),
    ("test", "CBC", "complete blood count"),
    ("test", "HbA1c", "hemoglobin A1c"),
    ("test", "LFTs", "liver function tests"),
    ("test", "MRI of the brain", "brain MRI"),
    ("test", "PT/INR", "PT and INR"),
    ("test", "vitamin B12 level", "Vitamin B-12"),
    ("test", "ultrasound of left leg", "left leg US"),
    ("test", "lipid panel", "lipids"),
    ("test", "ESR", "sed rate"),
    ("test", "UA", "urinalysis"),
    ("test", "CBC test", "repeat CBC"),
    ("test", "TSH level", "thyroid-stimulating hormone"),
    ("test", "h. pylori breath test", "H pylori breath test"),
    ("diagnosis", "Hypertension, essential", "HTN"),
    ("diagnosis", "tear of the rotator cuff", "rotator cuff tears"),
    ("diagnosis", "Lt hip fx", "left hip fracture"),
    ("diagnosis", "RLL pneumonia", "right lower lobe pneumonia"),
    ("test", "US of the abdomen", "abdominal ultrasound"),
    ("test", "MRI of the left knee", "left knee MRI"),
    ("test", "Chem-7", "basic metabolic panel"),
    ("procedure", "repair of left inguinal hernia", "left inguinal hernia repair"),
]
APART = [
    ("diagnosis", "ER+ breast cancer", "ER- breast cancer"),
    ("diagnosis", "ER+/PR- breast cancer", "ER-/PR- breast cancer"),
    ("diagnosis", "HIV+", "HIV-"),
    ("diagnosis", "bone cancer (metastatic)", "bone cancer"),
    ("test", "CT abdomen with and without contrast", "CT abdomen without contrast"),
    ("test", "CT abdomen w/ and w/o contrast", "CT abdomen with contrast"),
    ("diagnosis", "hepatitis A", "hepatitis"),
    ("diagnosis", "hepatitis A", "hepatitis B"),
    ("diagnosis", "group A strep", "group B strep"),
    ("diagnosis", "no fracture", "fracture"),
    ("diagnosis", "family history of cancer", "cancer"),
    ("test", "CT of the abdomen", "CT of the abdomen and pelvis"),
    ("diagnosis", "left knee pain", "right knee pain"),
    ("diagnosis", "type 1 diabetes", "type 2 diabetes"),
    ("diagnosis", "stage 3 cancer", "type 3 cancer"),
    ("diagnosis", "acute renal failure", "chronic renal failure"),
    ("diagnosis", "right leg pain and left arm weakness", "left leg pain and right arm weakness"),
    ("diagnosis", "hypertension secondary to CKD", "CKD secondary to hypertension"),
    ("diagnosis", "diverticulosis without bleeding", "diverticulosis with bleeding"),
    ("diagnosis", "L4-5 disc herniation", "L5-S1 disc herniation"),
    ("diagnosis", "hypothyroidism", "hyperthyroidism"),
    ("diagnosis", "diabetes insipidus", "diabetes mellitus"),
    ("diagnosis", "small cell lung cancer", "non-small cell lung cancer"),
    ("diagnosis", "hepatitis B", "hepatitis C"),
    ("diagnosis", "grade 1 sprain", "grade 2 sprain"),
    ("diagnosis", "bilateral hearing loss", "left hearing loss"),
    ("diagnosis", "DM1", "DM2"),
    ("diagnosis", "factor V Leiden", "factor VIII deficiency"),
    ("test", "CT of the head", "CT of the neck"),
    ("test", "MRI brain", "CT brain"),
    ("test", "CT with contrast", "CT without contrast"),
    ("test", "thyroid scan", "thyroid panel"),
    ("test", "urine culture", "blood culture"),
    ("test", "basic metabolic panel", "comprehensive metabolic panel"),
    ("test", "left hip x-ray", "right hip x-ray"),
    ("test", "T3", "T4"),
    ("test", "bone density scan", "bone scan"),
    ("diagnosis", "RLL pneumonia", "LLL pneumonia"),
    ("diagnosis", "chronic pancreatitis", "acute pancreatitis"),
    ("diagnosis", "T11 compression fracture", "T12 compression fracture"),
    ("diagnosis", "first degree burn", "second degree burn"),
    ("test", "CT angiogram of the chest", "CT of the chest"),
    ("test", "hemoglobin", "hemoglobin A1c"),
    ("procedure", "left knee arthroscopy", "right knee arthroscopy"),
]


@pytest.mark.parametrize(("kind", "one", "other"), SAME)
def test_other_ways_to_write_the_same_name(kind: str, one: str, other: str) -> None:
    entity = entity_named(kind)
    assert entity.same(one, other)
    assert entity.string_key(one) != entity.string_key(other), "the figures by letters stay what they were"


@pytest.mark.parametrize(("kind", "one", "other"), APART)
def test_names_of_different_things(kind: str, one: str, other: str) -> None:
    assert not entity_named(kind).same(one, other)


def test_no_two_names_of_a_list_fall_together() -> None:
    for kind, names in (("diagnosis", CONDITION_NAMES), ("test", TEST_NAMES)):
        keys = [entity_named(kind).match_key(name) for name in names]
        assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("kind", ["diagnosis", "test", "procedure", "prognosis"])
@given(text=st.text(min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_key_is_stable_and_the_same_in_any_case_and_space(kind: str, text: str) -> None:
    entity = entity_named(kind)
    assert entity.match_key(text) == entity.match_key(f"  {text} ")
    assert bool(entity.match_key(text)) or not entity.key(text)
    assert entity.same(text, text)


@pytest.mark.parametrize("side", ["left", "right", "bilateral"])
@pytest.mark.parametrize("name", ["hip fracture", "Pain in the shoulder", "knee OA", "carpal tunnel syndrome"])
def test_a_side_is_always_part_of_the_name(side: str, name: str) -> None:
    entity = entity_named("diagnosis")
    others = {"left", "right", "bilateral", ""} - {side}
    assert not any(entity.same(f"{side} {name}", f"{other} {name}") for other in others)
    assert entity.same(f"{side} {name}", f"{name}, {side}")


def test_what_is_judged_the_same_carries_over_and_stays_with_its_kind() -> None:
    known = SameAs.of([("diagnosis", "renal insufficiency", "CKD"), ("test", "sed rate", "ESR"),
                       ("diagnosis", "weak kidneys", "Renal insufficiency")])  # fmt: skip
    diagnosis, test = entity_named("diagnosis"), entity_named("test")
    assert diagnosis.same("weak kidneys", "chronic kidney disease", known.keys(diagnosis))
    assert not diagnosis.same("weak kidneys", "chronic kidney disease")
    assert not test.same("weak kidneys", "chronic kidney disease", known.keys(test))
    assert known.pairs == 3
