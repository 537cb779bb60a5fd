"""What a chart says of an item, judged by all filters together: doses, words around a mention, other names, values.

All charts are invented. Every kind has its counterpart: the nearest chart that says the opposite.
"""

from __future__ import annotations

import textwrap

import pytest

from chartdistill.clinical.lexica.drugs import is_installed
from chartdistill.clinical.text.forecasts import is_forecast
from chartdistill.clinical.text.order_status import use_of
from chartdistill.config import load_task
from chartdistill.curation.curate import judge
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.schema import Label, Record
from places import ROOT

TASKS = {name: load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "diagnosis", "tests")}
needs_lexicon = pytest.mark.skipif(not is_installed(), reason="the drug lexicon is not installed")


def reasons(chart: str, answer: str, task: str = "medication") -> set[str]:
    """Reason codes of an answer's rejection; empty when it is kept."""
    record = Record(id="r", source="invented", text=chart, cluster="r", split="train", segments=())
    label = Label(
        key="k", record="r", task=task, strategy="direct", completion=answer, finish_reason="stop", prompt_tokens=1
    )
    judged = judge(label, record, TASKS[task], DEFAULT_FILTERS)
    return {one.reason for one in judged.rejections} if judged.items is None else set()


@needs_lexicon
@pytest.mark.parametrize(
    ("chart", "answer", "kept"),
    [
        ("Give heparin 5,000 units now.", "heparin 5000 units | start", True),
        ("Start levothyroxine .05 mg daily.", "levothyroxine 0.05 mg | start", True),
        ("Start amoxicillin 1 g daily.", "amoxicillin 1000 mg | start", True),
        ("Start ibuprofen, two tablets daily.", "ibuprofen 2 tablets | start", True),
        ("Start fentanyl 50 mcg.", "fentanyl 50 mg | start", False),
        ("Start atenolol 25 mg. Start furosemide 40 mg.", "atenolol 40 mg | start", False),
        ("Start furosemide 40 mg. Start atenolol 25 mg.", "furosemide 40 mg | start", True),
        ("Start 90 mL of Isovue-370.", "Isovue-370 | start", True),
        ("Start 90 mL of Isovue-370.", "Isovue-250 | start", False),
        ("Start carboplatin/5-FU.", "5-FU | start", True),
        ("Weight 80 kg. Start atenolol 25 mg.", "atenolol 80 mg | start", False),
    ],
)
def test_a_dose_is_a_number_with_its_unit_at_its_own_drug(chart: str, answer: str, kept: bool) -> None:
    assert (reasons(chart, answer) == set()) == kept


@needs_lexicon
@pytest.mark.parametrize(
    ("chart", "answer", "kept"),
    [
        ("Do not stop warfarin.", "warfarin | continue", True),
        ("Stop warfarin.", "warfarin | continue", False),
        ("MEDICATIONS\n1. Atenolol 25 mg (discontinued)\n2. Aspirin 81 mg", "Atenolol 25 mg | continue", False),
        ("MEDICATIONS\n1. Atenolol 25 mg (discontinued)\n2. Aspirin 81 mg", "Aspirin 81 mg | continue", True),
        ("STOP TAKING:\nmetformin\n\nCONTINUE:\naspirin", "metformin | continue", False),
        ("STOP TAKING:\nmetformin\n\nCONTINUE:\naspirin", "aspirin | continue", True),
    ],
)
def test_status_by_the_words_around_a_drug(chart: str, answer: str, kept: bool) -> None:
    assert (reasons(chart, answer) == set()) == kept


@pytest.mark.parametrize(
    ("chart", "answer", "kept"),
    [
        ("Asthma: no. Gout: yes.", "Asthma", False),
        ("Asthma: no. Gout: yes.", "Gout", True),
        ("She denies chest pain, asthma, gout, or eczema.", "eczema", False),
        ("She denies chest pain but has eczema.", "eczema", True),
        ("Gout in his father.", "Gout", False),
        ("Gout, as the father said.", "Gout", True),
        ("FHx: gout, migraine", "migraine", False),
    ],
)
def test_a_diagnosis_by_the_words_around_it(chart: str, answer: str, kept: bool) -> None:
    assert (reasons(chart, answer, "diagnosis") == set()) == kept


@needs_lexicon
@pytest.mark.parametrize(
    ("chart", "answer"),
    [
        ("Takes Norvasc daily.", "amlodipine | continue"),
        ("Takes amlodipine daily.", "Norvasc | continue"),
        ("Takes ASA daily.", "aspirin | continue"),
        ("Takes hydrocodone-acetaminophen daily.", "Vicodin | continue"),
    ],
)
def test_a_drug_is_grounded_by_its_other_names(chart: str, answer: str) -> None:
    assert reasons(chart, answer) == set()
    assert reasons(chart.replace("Takes", "Was told to stop"), answer) == {"contradicted_status"}


@needs_lexicon
@pytest.mark.parametrize(
    ("chart", "answer", "kept"),
    [
        ("LABS: magnesium 1.9 mg/dL, calcium 9.", "magnesium 1.9 | continue", False),
        ("LABS: magnesium 1.9 mg/dL, calcium 9.", "calcium 9 | continue", False),
        ("LABS: magnesium 1.9 mg/dL, calcium 9.", "None found", True),
        ("Takes magnesium 400 mg daily. Magnesium 1.9 mg/dL.", "magnesium 400 mg | continue", True),
        ("Allergies: NKDA.", "NKDA | avoid", False),
        ("Allergies: sulfa.", "sulfa | avoid", True),
    ],
)
def test_values_and_the_absence_of_allergies_are_no_drugs(chart: str, answer: str, kept: bool) -> None:
    assert (reasons(chart, answer) == set()) == kept


@pytest.mark.parametrize(
    ("chart", "answer", "kept"),
    [
        ("History of ____, gout.", "____", False),
        ("XXXXXXX nephritis since [**2011**].", "XXXXXXX nephritis", False),
        ("XXXXXXX nephritis since [**2011**].", "nephritis", True),
        ("Triple X (47,XXX) syndrome.", "47,XXX syndrome", True),
    ],
)
def test_a_blank_of_de_identification_names_nothing(chart: str, answer: str, kept: bool) -> None:
    assert ("placeholder" not in reasons(chart, answer, "diagnosis")) == kept


@pytest.mark.parametrize(
    ("chart", "test", "use"),
    [
        ("She declined a colonoscopy.", "colonoscopy", "considered"),
        ("An MRI is not indicated at this time.", "MRI", "considered"),
        ("I see no indication for a stress test.", "stress test", "considered"),
        ("No CT or MRI today.", "MRI", "considered"),
        ("MRI if no better in two weeks.", "MRI", "considered"),
        ("Instead of CT we will get an ultrasound.", "CT", "considered"),
        ("Instead of CT we will get an ultrasound.", "ultrasound", "ordered"),
        ("No fracture, so order a CT of the neck.", "CT of the neck", "ordered"),
        ("Not improved. Order a CBC.", "CBC", "ordered"),
        ("Schedule the MRI without delay.", "MRI", "ordered"),
        ("PLAN: CT without contrast of the head.", "CT", "ordered"),
    ],
)
def test_what_the_chart_declines_is_not_ordered(chart: str, test: str, use: str) -> None:
    assert use_of(test, chart).what == use


@needs_lexicon
@pytest.mark.parametrize(
    ("chart", "answer", "kept"),
    [
        ("Gave 1 g of cefazolin and 250 mg of azithromycin.", "cefazolin 250 mg | given-once", False),
        ("Gave 1 g of cefazolin and 250 mg of azithromycin.", "cefazolin 1 g | given-once", True),
        ("Lisinopril 10 mg atorvastatin 40 mg amlodipine 5 mg", "atorvastatin 40 mg | continue", True),
        ("Takes one and a half tablets of warfarin.", "warfarin 1.5 tablets | continue", True),
        ("Penicillin 2.4 million units once.", "penicillin 2,400,000 units | given-once", True),
        ("Penicillin 2.4 million units once.", "penicillin 2.4 units | given-once", False),
        ("Heparin 5 000 units daily.", "heparin 5000 units | continue", True),
    ],
)
def test_spelled_and_shared_doses(chart: str, answer: str, kept: bool) -> None:
    assert (reasons(chart, answer) == set()) == kept


@needs_lexicon
@pytest.mark.parametrize(
    ("chart", "answer", "kept"),
    [
        ("There is no reason to stop atenolol.", "atenolol | continue", True),
        ("There is no reason to stop atenolol.", "atenolol | stop", False),
        ("He was warned against stopping atenolol.", "atenolol | continue", True),
        ("Hold atenolol if the pulse is below 50.", "atenolol | continue", True),
        ("Hold atenolol for a week.", "atenolol | continue", False),
        ("Atenolol was held for HR 40.", "atenolol | hold", True),
        ("Atenolol was stopped. Do not resume atenolol.", "atenolol | continue", False),
        ("Atenolol was stopped. Do not resume atenolol.", "atenolol | stop", True),
        ("Do not resume atenolol.", "atenolol | avoid", True),
        ("MEDICATIONS\natenolol 25 mg (patient not taking)\naspirin 81 mg", "atenolol 25 mg | continue", False),
        ("MEDICATIONS\natenolol 25 mg (hold for SBP < 90)\naspirin 81 mg", "atenolol 25 mg | continue", True),
        ("MEDICATIONS\nclindamycin - treatment finished\naspirin 81 mg", "clindamycin | continue", False),
        ("MEDICINES TO STOP:\n- atenolol\nMEDICINES TO TAKE:\n- aspirin", "atenolol | continue", False),
        ("MEDICINES TO STOP:\n- atenolol\nMEDICINES TO TAKE:\n- aspirin", "aspirin | continue", True),
        ("Past medications (none now):\natenolol\nCurrent medications:\naspirin", "atenolol | continue", False),
        ("Medications prior to admission:\natenolol", "atenolol | continue", True),
        (
            "Allergies\nLatex (hives, needed two days in hospital)\nCodeine (itch)\nMeds\nAspirin",
            "Codeine | start",
            False,
        ),
        (
            "Allergies\nLatex (hives, needed two days in hospital)\nCodeine (itch)\nMeds\nAspirin",
            "Aspirin | start",
            True,
        ),
        ("ALLERGIES: Latex gave her a rash. Codeine - vomiting.", "Codeine | continue", False),
        ("Allergies: latex gave a rash. Metformin 500 mg - twice a day.", "metformin 500 mg | continue", True),
        ("Atenolol belongs to his wife.", "atenolol | continue", False),
        ("Insulin - his daughter injects it.", "insulin | continue", True),
    ],
)
def test_endings_that_are_denied_wait_or_stand_in_a_heading(chart: str, answer: str, kept: bool) -> None:
    assert (reasons(chart, answer) == set()) == kept


@pytest.mark.parametrize(
    ("chart", "answer", "kept"),
    [
        ("Gout in two brothers. He has lupus.", "gout", False),
        ("Gout in two brothers. He has lupus.", "lupus", True),
        ("Gout runs in the family.", "gout", False),
        ("Gout: father, paternal aunt.", "gout", False),
        ("Gout: wife gives him his diet.", "gout", True),
        ("Gout, seen in family practice.", "gout", True),
        ("Gout: N. Lupus: Y.", "gout", False),
        ("Gout? No. Lupus? Yes.", "gout", False),
        ("Gout? No. Lupus? Yes.", "lupus", True),
        ("Gout is denied.", "gout", False),
        ("Gout (-), lupus (+)", "gout", False),
        ("Gout (-), lupus (+)", "lupus", True),
        ("Two uncles have gout.", "gout", False),
        ("No clinical evidence of gout or lupus.", "lupus", False),
        ("[ ] gout [x] lupus", "gout", False),
        ("[ ] gout [x] lupus", "lupus", True),
        ("PMH: [x] gout [ ] lupus", "lupus", False),
        ("gout [x] lupus [ ] rosacea [x]", "lupus", False),
        ("gout [x] lupus [ ] rosacea [x]", "rosacea", True),
        ("He does not have gout, lupus, or rosacea.", "rosacea", False),
        ("He does not have a job and lives with rosacea.", "rosacea", True),
        ("Negative for gout, with rosacea of the cheeks.", "rosacea", True),
        ("Chronic systolic heart failure, compensated.", "chronic diastolic heart failure, compensated", False),
        ("Non-Hodgkin lymphoma.", "Hodgkin lymphoma", False),
        ("Non-Hodgkin lymphoma.", "non-Hodgkin lymphoma", True),
        ("Fracture of right femur", "fracture of the right femur", True),
    ],
)
def test_relatives_denials_and_opposites(chart: str, answer: str, kept: bool) -> None:
    assert (reasons(chart, answer, "diagnosis") == set()) == kept


@needs_lexicon
@pytest.mark.parametrize(
    ("chart", "answer", "kept"),
    [
        ("Started on Quexolan 20 mg daily.", "None found", False),
        ("Stopped Quexolan 20 mg.", "None found", True),
        ("Continue oral fluids 500 mL.", "None found", True),
        ("Serum glucose 90, magnesium 2.1.", "magnesium | continue", False),
        ("On potassium chloride 8 mEq, bumetanide 0.5 mg a day.", "bumetanide 0.5 mg | continue", True),
        ("On sodium 1 g, iron 2 a day.", "iron | continue", True),
        ("Takes TMP/SMX daily.", "trimethoprim-sulfamethoxazole | continue", True),
        ("Takes [MEDICATION] 5 mg.", "[MEDICATION] 5 mg | continue", False),
        ("Takes *** 5 mg.", "*** 5 mg | continue", False),
    ],
)
def test_names_that_no_list_has(chart: str, answer: str, kept: bool) -> None:
    assert (reasons(chart, answer) == set()) == kept


@pytest.mark.parametrize(
    ("chart", "test", "use"),
    [
        ("If the rash spreads, get a biopsy.", "biopsy", "considered"),
        ("He may need an EEG.", "EEG", "considered"),
        ("An EEG might be needed later.", "EEG", "considered"),
        ("Obtain an EEG if not already done.", "EEG", "ordered"),
        ("Not only an EEG but also an MRI was ordered.", "EEG", "ordered"),
    ],
)
def test_what_waits_for_something_is_not_ordered(chart: str, test: str, use: str) -> None:
    assert use_of(test, chart).what == use


def test_a_recovery_that_is_expected_is_a_forecast() -> None:
    assert is_forecast("Full recovery is expected within a month.")
    assert not is_forecast("Recovery room stay was short.")


@pytest.mark.parametrize("width", [56, 72])
def test_a_chart_whose_lines_were_wrapped_is_read_as_it_was(width: int) -> None:
    ordered = (
        "She has had four cycles and feels well. I have put in the order for a CT of the chest at the end of December "
        "and for a colonoscopy in March, her one-year date. The numbness of her feet may take months to go."
    )
    assert reasons(textwrap.fill(ordered, width), "colonoscopy", "tests") == reasons(ordered, "colonoscopy", "tests")
    denied = (
        "He was seen by his cardiologist last week, who found him well and told him that he could go on as he did. He "
        "denies chest pain, palpitations, swelling of the legs, loss of appetite, asthma, or gout."
    )
    for name in ("asthma", "gout"):
        assert reasons(textwrap.fill(denied, width), name, "diagnosis") == {"negated"}
