"""The filters that ask what a chart says about an item: kind, status, abstention. All charts are invented."""

from __future__ import annotations

import pytest

from chartdistill.clinical.lexica.drugs import drugs, is_installed, lexicon_path, read_lexicon
from chartdistill.clinical.text.context import cues, used_like_a_drug
from chartdistill.clinical.text.forecasts import is_forecast, support_of
from chartdistill.clinical.text.order_status import use_of
from chartdistill.clinical.text.sections import Outline
from chartdistill.curation.filters import Abstention, Kind, LabelStatistics, Status
from chartdistill.errors import InputError
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


@pytest.mark.parametrize(
    ("sentence", "forecast"),
    [
        ("Prognosis is guarded.", True),
        ("The patient should do well with the operation.", True),
        ("She is expected to recover within six weeks.", True),
        ("Life expectancy is about two years.", True),
        ("He will likely need dialysis.", True),
        ("The patient will be followed in the clinic.", False),
        ("She tolerated the procedure well.", False),
        ("Discharged in good condition.", False),
        ("He hopes to return to work.", False),
        ("If it does not improve, call us.", False),
        ("The risks include infection and failure to recover.", False),
        ("The prognosis was not discussed.", False),
        ("She will return in two weeks.", False),
        ("She has asthma.", False),
    ],
)
def test_what_a_forecast_is(sentence: str, forecast: bool) -> None:
    assert is_forecast(sentence) is forecast


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


def test_outline_gives_each_mention_its_own_clause_and_heading() -> None:
    text = "Note\nPLAN:\n1. Stop Aab.\n2. Begin Bbc; hold Ccd, but keep Dde.\nALLERGIES: Eef. The skin is dry."
    outline = Outline(text)
    clauses = [outline.mentions([name])[0].clause.strip(" .\n") for name in ("Aab", "Bbc", "Ccd", "Dde")]
    assert clauses == ["1. Stop _", "2. Begin _", "hold _", "keep _"]
    assert [outline.mentions([name])[0].heading for name in ("Bbc", "Eef", "skin")] == [
        "plan",
        "allergies",
        "allergies",
    ]
    assert cues(outline.mentions(["Eef"])[0]) == {"allergy"}
    assert cues(outline.mentions(["skin"])[0]) == frozenset()  # past the heading's own sentence
    assert all(text[one.start : one.end] == one.text for one in outline.sentences)
    assert not used_like_a_drug(outline.mentions(["Note"])[0])


@pytest.mark.skipif(not is_installed(), reason="the drug lexicon is not installed")
def test_the_lexicon_knows_brands_and_their_ingredients() -> None:
    known = drugs()
    assert known.canonical("Tylenol") == known.canonical("acetaminophen") == "acetaminophen"
    assert "tylenol" in known.aliases("Acetaminophen")
    assert known.aliases("Quavolex") == ()
    text = "Start Tylenol and normal saline; digoxin level 2."
    assert [text[start:end] for start, end in known.find(text)] == ["Tylenol", "normal saline"]


def test_a_missing_or_foreign_lexicon_says_what_to_do(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import bz2
    import pickle

    monkeypatch.setattr("chartdistill.clinical.lexica.drugs.PACKAGE", "no_such_package_here")
    with pytest.raises(InputError, match="pip install drug-named-entity-recognition"):
        lexicon_path()
    path = tmp_path / "lexicon.pkl.bz2"
    path.write_bytes(bz2.compress(pickle.dumps({"drug_variant_to_canonical": {"a": ["b"]}})))
    assert read_lexicon(path) == {"a": "b"}
    path.write_bytes(bz2.compress(pickle.dumps(print)))
    with pytest.raises(InputError, match="plain containers only"):
        read_lexicon(path)
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="is not the drug lexicon"):
        read_lexicon(path)
