"""Labels as charts are worded in practice: good ones pass the filters, and ones like them that are wrong do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from chartdistill.config import load_task
from chartdistill.curation.filters import DEFAULT_FILTERS, NO_STATISTICS
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.schema import Label, Record

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "tasks"
TASKS = {name: load_task(CONFIGS / f"{name}.yaml") for name in ("medication", "diagnosis", "tests", "prognosis")}


def objections(task: str, chart: str, answer: str) -> set[str]:
    """The reasons of all default filters against one answer; empty: kept."""
    record = Record(id="r", source="s", text=chart, cluster="c", split="train", segments=((0, 0, len(chart)),))
    label = Label(key="k", record="r", task=task, strategy="direct", completion=answer, finish_reason="stop")
    items = parse_answer(answer, TASKS[task])
    return {
        found.reason for one in DEFAULT_FILTERS for found in one.check(label, items, record, TASKS[task], NO_STATISTICS)
    }


GOOD = [
    ("tests", "Send fecal calprotectin, tryptase and JAK2.", "fecal calprotectin\ntryptase\nJAK2"),
    ("tests", "Check carnitine, urine ketones and PHQ-9.", "carnitine\nurine ketones\nPHQ-9"),
    ("tests", "I ordered free light chains and a methacholine challenge.", "free light chains\nmethacholine challenge"),
    ("tests", "Obtain a KOH prep, fetal fibronectin and a pulse ox.", "KOH prep\nfetal fibronectin\npulse ox"),
    ("diagnosis", "IMPRESSION: Stable angina.", "Stable angina"),
    ("diagnosis", "IMPRESSION: Asymptomatic bacteriuria.", "Asymptomatic bacteriuria"),
    ("diagnosis", "ASSESSMENT: NPH, with a shunt.", "NPH"),
    ("medication", "Please do not resume the Eliquis until the drain is out.", "Eliquis | hold"),
    ("medication", "Aspirin should not be restarted until his platelets recover.", "Aspirin | hold"),
    ("medication", "He is being cross-tapered to Latuda over two weeks.", "Latuda | start"),
    ("tests", "We are sending the patient for a HIDA scan.", "HIDA scan"),
    ("tests", "Plan: six-minute walk and an echo in March.", "six-minute walk\necho"),
    ("tests", "Order the one-hour Glucola at her next visit.", "one-hour Glucola"),
    ("tests", "Obtain an MRI of the left knee.", "left knee MRI"),
    ("tests", "Get a CT scan of the abdomen and pelvis.", "CT abdomen and pelvis"),
    ("tests", "Send urine for culture.", "urine culture"),
    ("tests", "Obtain a biopsy of the liver.", "liver biopsy"),
    ("diagnosis", "IMPRESSION: Fracture of the left hip.", "left hip fracture"),
    ("prognosis", "The chance of regaining sight is remote.", "The chance of regaining sight is remote"),
    ("prognosis", "Odds of surviving the year are slim.", "Odds of surviving the year are slim"),
    ("medication", "Before he leaves he gets the Tdap and a Pneumovax.", "Tdap | start\nPneumovax | start"),
    ("medication", "Polio and tetanus boosters were given.", "tetanus boosters | given-once"),
    ("medication", "CT was done utilizing 80 mL of Omnipaque 350.", "Omnipaque 350 | given-once"),
    ("medication", "The antibiotic was Zymar, the steroid was Pred Forte.", "Pred Forte | given-once"),
    ("medication", "She comes four days after her second Hyalgan injection.", "Hyalgan | past"),
    ("medication", "A rally pack was hung.", "rally pack | given-once"),
    ("medication", "MEDICATIONS:\n1. Metoprolol.\n2. Zenvalta.\n3. Xanax.", "Zenvalta | continue"),
    ("medication", "Then 40 units of Dorvexil were instilled.", "Dorvexil | given-once"),
    ("medication", "A 3-week-old girl. Mom has tried simethicone drops.", "simethicone drops | past"),
    ("medication", "A neighbor gave her Aleve on Sunday.", "Aleve | past"),
    ("medication", "First he was started on Biaxin, but had hives and got doxycycline.", "Biaxin | avoid"),
    ("medication", "He could not really tolerate penicillin due to an allergy.", "penicillin | avoid"),
    ("medication", "She is unable to continue with her metformin therapy.", "metformin | stop"),
    ("medication", "We will discontinue the nitrates, starting with the Isordil.", "Isordil | stop"),
    ("medication", "He was asked to restart his omeprazole.", "omeprazole | start"),
    ("medication", "Pradaxa was stopped two days ago, restart tomorrow.", "Pradaxa | hold"),
    ("medication", "INSTRUCTIONS: No aspirin or ibuprofen for two weeks.", "aspirin | avoid\nibuprofen | avoid"),
    ("medication", "PLAN: Continue current antibiotics.", "None found"),
    ("tests", "PLAN: Send fecal leukocytes, O&P and C. difficile.", "fecal leukocytes\nO&P\nC. difficile"),
    ("tests", "I ordered a CH50 and C4, and if the smear shows cells I will call.", "CH50\nC4"),
    ("tests", "I recommend HbA1c, RPR and serum protein electrophoresis.", "RPR\nserum protein electrophoresis"),
    ("tests", "GC and chlamydia were sent.", "GC\nchlamydia"),
    ("tests", "Ordered blood type. Ordered Rh.", "blood type\nRh"),
    ("tests", "An event recorder should be obtained.", "event recorder"),
    ("tests", "A postcontrast MRI is required for the mass.", "postcontrast MRI"),
    ("tests", "We talked of both, discussed cost and elected to obtain a stress test.", "stress test"),
    ("tests", "We will do a renal scan and if it is abnormal call urology.", "renal scan"),
    ("tests", "PATHOLOGY: Pending.", "pathology"),
    ("tests", "Weight is steady. CBC and ferritin in eight weeks.", "CBC\nferritin"),
    ("tests", "An audiogram is set for the ninth.", "audiogram"),
    ("diagnosis", "IMPRESSION:\n1. Elevated PSA.\n2. Abnormal EEG.", "Elevated PSA\nAbnormal EEG"),
    ("diagnosis", "PAST MEDICAL HISTORY: HIV and MRSA.", "HIV\nMRSA"),
    ("diagnosis", "He had flutter and was ruled out for PE.", "flutter"),
    ("diagnosis", "The cognitive decline is due to Alzheimer disease.", "Alzheimer disease"),
    ("diagnosis", "HISTORY: Diabetes without complications, gout, and sciatica.", "gout\nsciatica"),
    ("diagnosis", "PREOPERATIVE DIAGNOSIS: Requests sterilization.\nPROCEDURE: Vasectomy.", "None found"),
    ("diagnosis", "PREOPERATIVE DIAGNOSIS: Dysphagia.\nPOSTOPERATIVE DIAGNOSIS: Normal upper endoscopy.", "None found"),
    ("prognosis", "I anticipate no long-term problems.", "I anticipate no long-term problems"),
    ("prognosis", "It was explained to him that the scar may improve.", "the scar may improve"),
    ("medication", "He has allergic rhinitis treated with Flonase.", "Flonase | continue"),
    ("medication", "For her seasonal allergies, Zyrtec daily.", "Zyrtec | continue"),
    ("medication", "MEDICATIONS AND ALLERGIES: Lipitor 20 mg daily.", "Lipitor | continue"),
    ("medication", "Avoid alcohol with Flagyl.", "Flagyl | start"),
    ("medication", "Do not drive while taking Percocet.", "Percocet | start"),
    ("medication", "He may have a possible allergy to penicillin.", "penicillin | avoid"),
    ("medication", "Keflex until the drains are removed.", "Keflex | start"),
    ("medication", "Bactrim DS one b.i.d. x 1 week.", "Bactrim DS | start"),
    ("medication", "Naprosyn 500 mg b.i.d., x1 refill.", "Naprosyn | start"),
    ("medication", "Coumadin for a DVT two years ago.", "Coumadin | continue"),
    ("medication", "Stop aspirin seven days before surgery.", "aspirin | hold"),
    ("medication", "Stop aspirin seven days before surgery.", "aspirin | stop"),
    ("medication", "The course of Levaquin was completed yesterday.", "Levaquin | past"),
    ("medication", "I discussed her Coumadin with the cardiologist.", "Coumadin | continue"),
    ("medication", "Parents were instructed to give Motrin for fever.", "Motrin | start"),
    ("medication", "His wife has to remind him to take his Lasix.", "Lasix | continue"),
    ("diagnosis", "The mother was informed that the child has asthma.", "asthma"),
    ("diagnosis", "Her husband died last year and she has had depression since.", "depression"),
    ("diagnosis", "No doubt she has lupus.", "lupus"),
    ("tests", "Check a TSH and consider Synthroid if elevated.", "TSH"),
    ("tests", "MRI of the knee is ordered to help us consider arthroscopy.", "MRI of the knee"),
    ("tests", "She refuses surgery at this time, so obtain a CT in 6 weeks.", "CT"),
    ("tests", "CBC and CMP today.", "CBC\nCMP"),
    ("tests", "Serial EKGs and cardiac enzymes.", "Serial EKGs\ncardiac enzymes"),
    ("tests", "Return in 6 months with a PSA.", "PSA"),
    ("tests", "LABS PRIOR TO NEXT VISIT: ferritin and folate.", "ferritin\nfolate"),
    ("tests", "Colonoscopy is up to date. Mammogram overdue.", "Mammogram"),
    ("tests", "She has an appointment for a mammogram.", "mammogram"),
    ("diagnosis", "DIAGNOSIS: Failed left total knee arthroplasty.", "Failed left total knee arthroplasty"),
    ("diagnosis", "POSTOPERATIVE DIAGNOSIS: Clotted left arm AV graft.", "Clotted left arm AV graft"),
    ("diagnosis", "PREOPERATIVE DIAGNOSIS: Poor venous access.", "Poor venous access"),
    ("diagnosis", "IMPRESSION: Ascending aortic dilatation.", "Ascending aortic dilatation"),
    ("diagnosis", "DIAGNOSIS: Normal pressure hydrocephalus.", "Normal pressure hydrocephalus"),
    ("diagnosis", "DIAGNOSIS: Normal-tension glaucoma, both eyes.", "Normal-tension glaucoma"),
    ("diagnosis", "DIAGNOSIS: Negative pressure pulmonary edema.", "Negative pressure pulmonary edema"),
    ("diagnosis", "ASSESSMENT: Psychosocial stress, poor sleep.", "Psychosocial stress\npoor sleep"),
    ("diagnosis", "ASSESSMENT: Meconium aspiration. Bloody stool.", "Meconium aspiration\nBloody stool"),
    ("prognosis", "He has less than six months to live.", "He has less than six months to live"),
    ("prognosis", "There is a high risk of recurrence.", "There is a high risk of recurrence"),
    ("prognosis", "The risk of recurrence is about 30%.", "The risk of recurrence is about 30%"),
    ("prognosis", "Her condition is terminal.", "Her condition is terminal"),
    ("prognosis", "Death is imminent.", "Death is imminent"),
    ("prognosis", "Recovery will be slow.", "Recovery will be slow"),
    ("prognosis", "He should be back to work in two weeks.", "He should be back to work in two weeks"),
    ("prognosis", "The swelling should go down in a few days.", "The swelling should go down in a few days"),
    ("prognosis", "She will likely need a new knee.", "She will likely need a new knee"),
    ("prognosis", "I do not expect any long-term sequelae.", "I do not expect any long-term sequelae"),
    ("prognosis", "Tooth #19 has a hopeless prognosis.", "Tooth #19 has a hopeless prognosis"),
    ("prognosis", "I expect a gradual return of function.", "I expect a gradual return of function"),
]  # fmt: skip

WRONG = [
    ("diagnosis", "IMPRESSION: Stable.", "Stable", "not_a_diagnosis"),
    ("diagnosis", "PROGNOSIS AND COURSE: Guarded.", "Guarded", "not_a_diagnosis"),
    ("diagnosis", "ASSESSMENT: Postoperative day 2, doing well.", "Doing well", "not_a_diagnosis"),
    ("diagnosis", "IMPRESSION: Full code.", "Full code", "not_a_diagnosis"),
    ("tests", "PLAN: Obtain crutches.", "crutches", "not_a_test"),
    ("medication", "Do not restart Coumadin.", "Coumadin | hold", "contradicted_status"),
    ("tests", "The MRI of the left knee showed a tear.", "left knee MRI", "already_done"),
    ("tests", "Order an MRI of the right knee and an x-ray of the left hip.", "left knee MRI", "invented"),
    ("diagnosis", "No fracture of the left hip.", "left hip fracture", "negated"),
    ("diagnosis", "FAMILY HISTORY: Cancer of the colon.", "colon cancer", "family_member"),
    ("prognosis", "The chance of a leak is small, as she was told.", "The chance of a leak is small", "not_a_forecast"),
    ("medication", "The fascia was closed with 2-0 Quillon.", "Quillon | given-once", "not_a_drug"),
    ("medication", "The fascia was closed and the skin with Monocryl.", "Monocryl | given-once", "not_a_drug"),
    ("medication", "A Thornquist retractor was used.", "Thornquist | given-once", "not_a_drug"),
    ("medication", "Bipolar cautery was used and Surgicel was placed.", "Bipolar | given-once", "not_a_drug"),
    ("medication", "He was treated by Dr. Vellano.", "Vellano | given-once", "not_a_drug"),
    ("medication", "ALLERGIES: Latex, peanuts and bee stings.", "peanuts | avoid", "not_a_drug"),
    ("medication", "She is on 2 liters of oxygen.", "oxygen | continue", "not_a_drug"),
    ("medication", "He takes marijuana and drinks beer.", "marijuana | continue", "not_a_drug"),
    ("medication", "She was treated for hypertension.", "hypertension | continue", "not_a_drug"),
    ("medication", "DATA: WBC 7.2. Potassium 4.1.", "Potassium 4.1 | continue", "not_a_drug"),
    ("medication", "A 4-month-old boy. Mom takes Zoloft.", "Zoloft | continue", "family_member"),
    ("medication", "Aspirin was stopped; do not restart aspirin.", "aspirin | hold", "contradicted_status"),
    ("medication", "He was started on Zoloft.", "Zoloft | stop", "contradicted_status"),
    ("medication", "She denies aspirin use. No aspirin use.", "aspirin | avoid", "negated"),
    ("tests", "He has had hepatitis C since 1999.", "hepatitis C", "not_a_test"),
    ("tests", "PLAN: Start sodium bicarbonate tablets.", "sodium bicarbonate tablets", "not_a_test"),
    ("tests", "LABORATORY DATA: HbA1c was 7.2 and the RPR was negative.", "HbA1c\nRPR", "already_done"),
    ("tests", "Blood type is O positive.", "blood type", "already_done"),
    ("tests", "Obtain an MRI should symptoms recur.", "MRI", "only_considered"),
    ("diagnosis", "IMPRESSION: Gout. An HIV test was done.", "HIV", "not_a_diagnosis"),
    ("diagnosis", "ASSESSMENT: Lisinopril was refilled.", "Lisinopril", "not_a_diagnosis"),
    ("diagnosis", "IMPRESSION: High resolution CT of the chest.", "High resolution CT", "not_a_diagnosis"),
    ("diagnosis", "She came without fever, chills or cough.", "cough", "negated"),
    ("diagnosis", "MI was ruled out.", "MI", "negated"),
    ("diagnosis", "POSTOPERATIVE DIAGNOSIS: Acute appendicitis.\nPROCEDURE: Appendectomy.", "None found", "false_none"),
    ("medication", "She was started on Zoloft.", "None found", "false_none"),
    ("prognosis", "The risks include that the scar may recur.", "the scar may recur", "unsupported_forecast"),
    ("medication", "She had a rash and is allergic to Keflex and Ceclor.", "Ceclor | continue", "contradicted_status"),
    ("medication", "MEDICATION ALLERGIES: Penicillin.", "Penicillin | continue", "contradicted_status"),
    ("medication", "Diflucan 150 mg x1.", "Diflucan | continue", "contradicted_status"),
    ("medication", "He took Zantac years ago.", "Zantac | continue", "contradicted_status"),
    ("medication", "Stop aspirin seven days before surgery.", "aspirin | continue", "contradicted_status"),
    ("medication", "Amoxicillin for 10 days was finished on Friday.", "Amoxicillin | start", "contradicted_status"),
    ("medication", "He should avoid Motrin with his ulcer.", "Motrin | continue", "contradicted_status"),
    ("diagnosis", "His mother was diagnosed with colon cancer at 50.", "colon cancer", "family_member"),
    ("diagnosis", "I doubt pulmonary embolism.", "pulmonary embolism", "negated"),
    ("diagnosis", "Pulmonary embolism is felt to be very unlikely.", "Pulmonary embolism", "negated"),
    ("diagnosis", "The swelling is not consistent with gout.", "gout", "negated"),
    ("diagnosis", "She was tested for celiac disease, which was negative.", "celiac disease", "negated"),
    ("tests", "We will treat her and MRI was considered.", "MRI", "only_considered"),
    ("tests", "The patient declined colonoscopy.", "colonoscopy", "only_considered"),
    ("tests", "EKG today: normal sinus rhythm.", "EKG", "already_done"),
    ("medication", "Epidural with 0.125% bupivacaine.", "Epidural | given-once", "not_a_drug"),
    ("diagnosis", "DIAGNOSIS: Infected graft excision.", "Infected graft excision", "not_a_diagnosis"),
    ("diagnosis", "PROCEDURE: Balloon dilatation.", "Balloon dilatation", "not_a_diagnosis"),
    ("diagnosis", "ASSESSMENT: Normal pressure.", "Normal pressure", "normal_finding"),
    ("prognosis", "She will be back to see me in a month.", "She will be back to see me", "not_a_forecast"),
    ("prognosis", "The risks include a high risk of recurrence.", "high risk of recurrence", "unsupported_forecast"),
    ("prognosis", "He is at high risk for falls.", "high risk for falls", "not_a_forecast"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "chart", "answer"), GOOD, ids=lambda text: text[:40])
def test_a_good_label_of_plain_wording_is_kept(task: str, chart: str, answer: str) -> None:
    assert objections(task, chart, answer) == set()


@pytest.mark.parametrize(("task", "chart", "answer", "reason"), WRONG, ids=lambda text: text[:40])
def test_a_wrong_label_of_the_same_wording_is_rejected(task: str, chart: str, answer: str, reason: str) -> None:
    assert reason in objections(task, chart, answer)
