"""The filters that ask what a chart says about an item: kind, status, abstention. All charts are invented."""

from __future__ import annotations

import pytest

from chartdistill.clinical.text.forecasts import support_of
from chartdistill.clinical.text.order_status import use_of
from chartdistill.curation.filters import Abstention, Kind, LabelStatistics, Status
from chartdistill.schema import Item, Label, Record, Rejection, Task

NAMES = {"medication": "medication", "diagnosis": "diagnosis", "prognosis": "prognosis", "tests": "test"}
TASKS = {
    name: Task(name=name, item=item, gate_question="?", extraction_question="?", question="?")
    for name, item in NAMES.items()
}
STATUSES = ("start", "continue", "change", "stop", "hold", "past", "avoid", "given-once")
DRUGS = TASKS["medication"].model_copy(update={"statuses": STATUSES})


def chart(text: str) -> Record:
    return Record(id="r", source="invented", text=text, cluster="c", split="train", segments=())


def check(
    one: Kind | Status | Abstention, text: str, task: Task, *items: str | Item, run: LabelStatistics | None = None
) -> list[Rejection]:
    listed = tuple(item if isinstance(item, Item) else Item(text=item) for item in items)
    label = Label(key="k", record="r", task=task.name, strategy="direct", completion="-")
    return one.check(label, listed, chart(text), task, run or LabelStatistics())


def only(found: list[Rejection]) -> str | None:
    """The reason code of the one item found, None when nothing was."""
    reasons = {one.reason for one in found}
    assert len(reasons) <= 1
    return reasons.pop() if reasons else None


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("Lisinopril 10 mg daily", None),
        ("antibiotics", None),
        ("beta-blocker", None),
        ("zinc ointment", None),
        ("Quavolex", None),  # in no lexicon, and used like a drug
        ("knee brace", "not_a_drug"),
        ("appendectomy", "not_a_drug"),
        ("low-salt diet", "not_a_drug"),
        ("physical therapy", "not_a_drug"),
        ("arthritis", "not_a_drug"),
        ("chest x-ray", "not_a_drug"),
        ("no rashes", "not_a_drug"),
        ("cardiovascular / pulmonary", "not_a_drug"),
        ("harbour", "not_a_drug"),  # in no lexicon, and not used like a drug
        ("the several options were discussed with her at some length", "not_a_drug"),
    ],
)
def test_kind_of_a_drug(item: str, expected: str | None) -> None:
    text = (
        "Harbour visit. Takes lisinopril 10 mg daily and a beta-blocker. Start Quavolex. Antibiotics were given. "
        "Apply zinc ointment. Knee brace, low-salt diet, physical therapy. Past appendectomy. Arthritis. Chest x-ray."
    )
    assert only(check(Kind(on_item="drop_item"), text, TASKS["medication"], item)) == expected


def test_an_unknown_name_is_kept_or_rejected_as_the_option_says() -> None:
    assert check(Kind(), "Start Quavolex.", TASKS["medication"], "Quavolex") == []
    found = check(Kind(unknown="reject", on_item="drop_item"), "Start Quavolex.", TASKS["medication"], "Quavolex")
    assert only(found) == "unknown_drug"
    assert check(Kind(unknown="reject"), "Start lisinopril.", TASKS["medication"], "lisinopril") == []
    assert only(check(Kind(unknown="reject", lexicon="off"), "Start lisinopril.", TASKS["medication"], "lisinopril"))


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("acute cholecystitis", None),
        ("failure of a liver graft", None),
        ("hip fracture status post fixation", None),
        ("cholecystectomy", "not_a_diagnosis"),
        ("removal of a mole", "not_a_diagnosis"),
        ("CT of the head", "not_a_diagnosis"),
        ("annual examination", "not_a_diagnosis"),
        ("General medicine", "not_a_diagnosis"),
        ("normal colonoscopy", "normal_finding"),
        ("no evidence of fracture", "normal_finding"),
    ],
)
def test_kind_of_a_diagnosis(item: str, expected: str | None) -> None:
    assert only(check(Kind(on_item="drop_item"), "-", TASKS["diagnosis"], item)) == expected


def test_kind_of_a_prognosis_needs_the_charts_own_forecast() -> None:
    task, one = TASKS["prognosis"], Kind(on_item="drop_item")
    text = "Sprained ankle. She should do well with a splint. Return in two weeks."
    assert check(one, text, task, "The patient will do well with a splint.") == []
    assert only(check(one, text, task, "The prognosis is good.")) == "unsupported_forecast"
    assert only(check(one, text, task, "Return in two weeks")) == "not_a_forecast"
    assert support_of("will do well with a splint", text) == (16, 50)
    assert support_of("will do well with a splint", "Splint put on. She feels well.") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We will obtain a chest x-ray.", None),
        ("PLAN: Chest x-ray, then home.", None),
        ("A chest x-ray was ordered.", None),
        ("Chest x-ray showed a nodule. Repeat chest x-ray in a month.", None),
        ("Chest x-ray was normal.", "already_done"),
        ("Chest X-Ray - Two Views\nFINDINGS: Clear lungs.", "already_done"),
        ("If the cough persists, consider a chest x-ray.", "only_considered"),
        ("The option of a chest x-ray was discussed.", "only_considered"),
        ("She brought her chest x-ray along.", "not_ordered"),
        ("Plan: CBC, chest x-ray", None),
        ("Chest x-ray: ordered.", None),
        ("He is due for a chest x-ray.", None),
        ("Doing well.\nChest x-ray to rule out pneumonia.", None),
        ("Chest x-ray to rule out pneumonia was clear and showed no effusion.", "already_done"),
    ],
)
def test_kind_of_a_test_needs_an_order(text: str, expected: str | None) -> None:
    assert only(check(Kind(on_item="drop_item"), text, TASKS["tests"], "chest x-ray")) == expected


def test_kind_of_a_test_needs_a_test() -> None:
    text = "We will obtain a note from her school."
    assert only(check(Kind(on_item="drop_item"), text, TASKS["tests"], "note from her school")) == "not_a_test"
    assert use_of("repeat bladder scan", "She will have the bladder seen again.").what == "ordered"
    assert use_of("bone scan", "Bone pain will be treated.").what == "absent"


def test_a_run_of_search_keywords_is_a_dump() -> None:
    run = LabelStatistics(removed={"r": "urology, kidney stone, flank pain, stent, ureter, hydronephrosis"})
    items = ("kidney stone", "flank pain", "stent", "ureter")
    assert only(check(Kind(), "Kidney stone.", TASKS["diagnosis"], *items, run=run)) == "keyword_dump"
    assert check(Kind(), "Kidney stone.", TASKS["diagnosis"], "kidney stone", "flank pain", run=run) == []


def test_items_of_other_tasks_pass() -> None:
    task = Task(name="devices", item="device", gate_question="?", extraction_question="?", question="?")
    assert check(Kind(), "Knee brace.", task, "knee brace") == []


@pytest.mark.parametrize(
    ("text", "status", "wrong"),
    [
        ("Discontinue Quavolex.", "continue", True),
        ("Discontinue Quavolex.", "stop", False),
        ("Discontinue Zelotine and try Quavolex.", "stop", True),
        ("Discontinue Zelotine and try Quavolex.", "start", False),
        ("Hold Quavolex until Friday.", "continue", True),
        ("He is allergic to Quavolex.", "start", True),
        ("Allergies: Quavolex.", "continue", True),
        ("Allergies: none. Quavolex daily.", "continue", False),
        ("Takes Quavolex. Stop Quavolex.", "continue", False),  # one mention speaks for it
        ("MEDICATIONS: Quavolex.\nPLAN: Stop Quavolex.", "continue", False),  # and here one is neutral
        ("Continue Quavolex.", "stop", True),
        ("Increase Quavolex to 20 mg.", "change", False),
        ("Increase Quavolex to 20 mg.", "given-once", True),
        ("There is no change to Quavolex.", "continue", False),
    ],
)
def test_a_status_the_chart_contradicts(text: str, status: str, wrong: bool) -> None:
    found = check(Status(on_item="drop_item"), text, DRUGS, Item(text="Quavolex", status=status))
    assert only(found) == ("contradicted_status" if wrong else None)


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("Hold Quavolex until Friday.", "its one mention: held; listed as continue"),
        ("Stop Quavolex. Allergies: Quavolex.", "all of its 2 mentions: stopped or allergy; listed as continue"),
    ],
)
def test_the_evidence_against_a_status_is_a_sentence(text: str, evidence: str) -> None:
    found = check(Status(on_item="drop_item"), text, DRUGS, Item(text="Quavolex", status="continue"))
    assert [rejection.evidence for rejection in found] == [evidence]


@pytest.mark.parametrize(
    ("text", "task", "expected"),
    [
        ("His father takes Quavolex.", "medication", "family_member"),
        ("She denies use of Quavolex.", "medication", "negated"),
        ("If pain persists, consider Quavolex.", "medication", "only_considered"),
        ("She declined Quavolex.", "medication", "declined"),
        ("ALLERGIES:\n1. Sulfa.\n2. Quavolex.", "medication", "allergy"),
        ("Quavolex was stopped.", "medication", "stopped"),
        ("Quavolex is on hold.", "medication", "held"),
        ("Start Quavolex.", "medication", None),
        ("Her mother brought her in. Quavolex 5 mg daily.", "medication", None),
        ("No evidence of Quavolex.", "diagnosis", "negated"),
        ("Quavolex was ruled out.", "diagnosis", "negated"),
        ("Family history of Quavolex.", "diagnosis", "family_member"),
        ("No fever. Quavolex is stable.", "diagnosis", None),
        ("No evidence of Quavolex then; now she has Quavolex.", "diagnosis", None),
    ],
)
def test_an_item_every_mention_speaks_against(text: str, task: str, expected: str | None) -> None:
    assert only(check(Status(on_item="drop_item"), text, TASKS[task], "Quavolex")) == expected


def test_a_stopped_ingredient_contradicts_its_brand() -> None:
    text = "Acetaminophen was stopped."
    assert only(check(Status(on_item="drop_item"), text, TASKS["medication"], "Tylenol")) == "stopped"
    assert check(Status(lexicon="off"), text, TASKS["medication"], "Tylenol") == []


@pytest.mark.parametrize(
    ("text", "task", "false"),
    [
        ("MEDICATIONS: Lisinopril 10 mg.", "medication", True),
        ("MEDICATIONS: None.\nALLERGIES: Penicillin.", "medication", False),
        ("Check a vitamin D level.", "medication", False),
        ("FINAL DIAGNOSIS: Asthma.", "diagnosis", True),
        ("POSTOPERATIVE DIAGNOSIS: None.", "diagnosis", False),
        ("Her prognosis is excellent.", "prognosis", True),
        ("The prognosis was not discussed.", "prognosis", False),
        ("We will check a TSH.", "tests", True),
        ("TSH was normal.", "tests", False),
        ("We will schedule a CT surgery appointment.", "tests", False),
    ],
)
def test_none_found_where_there_plainly_is(text: str, task: str, false: bool) -> None:
    found = check(Abstention(), text, TASKS[task])
    assert only(found) == ("false_none" if false else None)
    assert all(one.span is not None and one.item is None for one in found)
    assert check(Abstention(), text, TASKS[task], "anything") == []
