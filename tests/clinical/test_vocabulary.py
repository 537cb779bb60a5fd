"""A user's vocabulary: what it says wins over the lexica, for every kind of finding. All names are invented but where
the lexicon must be overruled."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from chartdistill.clinical.entities import EntityType, entity_of
from chartdistill.clinical.lexica.drugs import is_installed
from chartdistill.clinical.vocabulary import names_of
from chartdistill.clinical.vocabulary_file import read_vocabulary
from chartdistill.errors import InputError
from chartdistill.evaluation.rule_baseline import read
from chartdistill.schema import Item, Task, Vocabulary, content_hash

needs_lexicon = pytest.mark.skipif(not is_installed(), reason="the drug lexicon is not installed")
NAMES = """
- {name: Quorvane, kind: medication, same-as: [QRV, quorvanium citrate]}
- {name: Pellosil Night, kind: drug, same-as: aspirin}
- {name: Twinfold, kind: medication, same-as: amoxicillin + clavulanate}
- {name: Bayer, kind: medication, same-as: ibuprofen}
- {name: potassium, not-a-drug: yes}
- {name: Brisk panel, kind: test, same-as: BP7, not-a-drug: true}
- {name: Ottering disease, kind: diagnosis, same-as: OD4}
- {name: Lusk manoeuvre, kind: procedure}
- {name: goose feathers, kind: allergy, same-as: down}
- {name: blue wristband, kind: device}
"""


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    path = tmp_path_factory.mktemp("names") / "names.yaml"
    path.write_text(NAMES, encoding="utf-8")
    return read_vocabulary(path, ["device"])


def task(item: str, vocabulary: Vocabulary | None = None, *statuses: str) -> Task:
    return Task(
        name="t", item=item, statuses=statuses, gate_question="?", extraction_question="?", question="?",
        vocabulary=vocabulary,
    )  # fmt: skip


def kind(item: str, vocabulary: Vocabulary | None = None) -> EntityType:
    return entity_of(task(item, vocabulary))


@pytest.mark.parametrize(
    ("item", "one", "other", "same"),
    [
        ("medication", "QRV 5 mg daily", "Quorvane tablets", True),
        ("medication", "quorvanium citrate", "qrv", True),
        ("medication", "Pellosil Night", "ASA 81 mg", True),
        ("drug", "Twinfold", "Augmentin", True),
        ("medication", "Twinfold", "amoxicillin/clavulanate", True),
        ("medication", "Twinfold", "amoxicillin", False),
        ("medication", "Bayer", "Advil", True),
        ("medication", "Bayer", "aspirin", False),
        ("medication", "Pellosil", "aspirin", False),
        ("test", "BP7", "brisk panel", True),
        ("diagnosis", "OD4.", "Ottering disease", True),
        ("diagnosis", "Ottering", "Ottering disease", False),
        ("allergy", "down allergy", "goose feathers", True),
        ("allergy", "QRV", "Quorvane", True),
    ],
)
@needs_lexicon
def test_names_of_one_thing_match(vocabulary: Vocabulary, item: str, one: str, other: str, same: bool) -> None:
    assert entity_of(task(item, vocabulary)).same(one, other) is same
    if same and "Advil" not in other:
        assert not entity_of(task(item)).same(one, other), "else the vocabulary would change nothing"


@pytest.mark.parametrize("lexicon", ["auto", "off"])
@pytest.mark.parametrize(
    ("item", "chart", "is_overlooked"),
    [
        ("medication", "MEDICATIONS: QRV 5 mg daily.", True),
        ("medication", "She takes Pellosil Night.", True),
        ("medication", "She denies QRV.", False),
        ("medication", "She is allergic to Quorvane.", False),
        ("medication", "Her mother takes QRV.", False),
        ("medication", "Brisk panel 12 mg/dL.", False),
        ("test", "Plan: obtain BP7 next week.", True),
        ("test", "BP7 was normal.", False),
        ("diagnosis", "He has a long history of OD4.", True),
        ("diagnosis", "No evidence of OD4.", False),
        ("diagnosis", "Screening for Ottering disease.", False),
        ("procedure", "A Lusk manoeuvre was carried out in 2015.", True),
        ("procedure", "He declined a Lusk manoeuvre.", False),
        ("allergy", "Allergic to down.", True),
        ("allergy", "Not allergic to goose feathers.", False),
        ("device", "He wears a blue wristband.", True),
    ],
)
def test_none_found_is_false_where_the_chart_has_a_name(
    vocabulary: Vocabulary, item: str, chart: str, is_overlooked: bool, lexicon: str
) -> None:
    found = kind(item, vocabulary).overlooked(chart, "auto" if lexicon == "auto" else "off")
    assert (found is not None) == is_overlooked
    if found is not None:
        assert found.reason == "false_none"
    if item not in ("medication", "allergy"):
        assert kind(item).overlooked(chart, "auto") is None, "the program itself knows nothing of it"


@needs_lexicon
def test_a_name_taken_from_the_drugs_is_no_longer_looked_for(tmp_path: Path) -> None:
    chart = "MEDICATIONS: insulin 5 units daily."
    for line, is_drug in (
        ("{name: insulin, kind: test}", False),
        ("{name: insulin, not-a-drug: yes}", False),
        ("{name: insulin, kind: allergy}", True),
        ("{name: insulin, kind: test}\n- {name: insulin, kind: drug}", True),
        ("{name: insulin glargine, not-a-drug: yes}", True),
    ):
        (tmp_path / "v.yaml").write_text(f"- {line}\n")
        drugs = kind("medication", read_vocabulary(tmp_path / "v.yaml"))
        assert (drugs.overlooked(chart, "auto") is not None) == is_drug, line
        assert (drugs.excluded_by_user("insulin 5 units", chart) is None) == is_drug, line


@pytest.mark.parametrize(
    ("item", "text", "reason"),
    [
        ("medication", "potassium", "not_a_drug"),
        ("medication", "Potassium 20 mEq daily", "not_a_drug"),
        ("medication", "Brisk panel", "not_a_drug"),
        ("medication", "OD4", "not_a_drug"),
        ("medication", "potassium chloride", None),
        ("medication", "QRV", None),
        ("diagnosis", "Brisk panel", "not_a_diagnosis"),
        ("diagnosis", "Lusk manoeuvre", "not_a_diagnosis"),
        ("test", "Quorvane", "not_a_test"),
        ("procedure", "Quorvane", "not_a_procedure"),
        ("allergy", "Quorvane", None),
        ("allergy", "Brisk panel", "not_a_substance"),
    ],
)
def test_a_name_of_another_kind_is_none_of_this(
    vocabulary: Vocabulary, item: str, text: str, reason: str | None
) -> None:
    found = kind(item, vocabulary).excluded_by_user(text, f"Start {text}.")
    assert (found.reason if found else None) == reason
    assert kind(item).excluded_by_user(text, text) is None


def test_a_known_name_needs_no_words_that_show_its_kind(vocabulary: Vocabulary) -> None:
    for item, text, chart in (
        ("medication", "QRV", "The word QRV stands alone."),
        ("test", "BP7", "Plan: order BP7."),
        ("test", "BP7", "Plan: order a Brisk panel."),
        ("procedure", "Lusk manoeuvre", "Lusk manoeuvre was done."),
    ):
        assert kind(item, vocabulary).objection(text, chart, "auto", False) is None
        assert kind(item).objection(text, chart, "auto", False) is not None


def test_an_item_is_found_and_judged_under_its_other_names(vocabulary: Vocabulary) -> None:
    for item, text, other in (("medication", "Quorvane", "QRV"), ("diagnosis", "Ottering disease", "OD4")):
        knowing = kind(item, vocabulary)
        place = knowing.evidence(text, f"There is {other}.", 90, "auto", None)
        assert place is not None
        assert (place.start, place.how) == (9, "alias")
        assert kind(item).evidence(text, f"There is {other}.", 90, "auto", None) is None
        found = knowing.contradiction(Item(text=text), f"He denies {other}.", (), "auto")
        assert found is not None
        assert found.reason == "negated"
    stopped = kind("medication", vocabulary).contradiction(
        Item(text="Quorvane", status="continue"), "QRV was discontinued.", ("continue", "stop"), "auto"
    )
    assert stopped is not None
    assert stopped.reason == "contradicted_status"


def test_the_rule_baseline_reads_with_it(vocabulary: Vocabulary) -> None:
    drugs = task("medication", vocabulary)
    assert [one.text for one in read("He is on QRV at night. Potassium 20 mEq was noted.", drugs, ())] == ["QRV"]
    assert [one.text for one in read("He has OD4.", task("diagnosis", vocabulary), ())] == ["OD4"]


def test_a_task_takes_it_to_other_processes_and_into_no_prompt_or_label(vocabulary: Vocabulary) -> None:
    knowing, bare = task("medication", vocabulary), task("medication")
    there = pickle.loads(pickle.dumps(knowing))
    assert entity_of(there).match_key("QRV") == entity_of(knowing).match_key("QRV")
    assert content_hash(knowing.model_dump()) == content_hash(bare.model_dump()), "labels would go stale"
    assert entity_of(bare) is entity_of(task("medication"))
    known = names_of(vocabulary, "diagnosis")
    assert known.canonical("OD4") == known.canonical("ottering  Disease")
    assert names_of(None, "diagnosis").canonical(" OD4 ") == "od4"


def test_all_forms_of_a_file_say_the_same(tmp_path: Path) -> None:
    forms = {
        "names.yaml": "- {name: Vexalor, kind: medication, same-as: [VX, vexa]}\n- {name: NO, not-a-drug: yes}\n",
        "names.csv": "name,kind,same-as,not-a-drug\nVexalor,medication,VX; vexa,\nNO,,,yes\n",
        "names.tsv": "name\tkind\tsame-as\tnot-a-drug\nVexalor\tmedication\tVX; vexa\t\nNO\t\t\tyes\n",
        "names.jsonl": '{"name": "Vexalor", "kind": "drug", "same-as": ["VX", "vexa"]}\n\n'
        '{"name": "NO", "not-a-drug": true}\n',
    }
    found = set()
    for name, text in forms.items():
        (tmp_path / name).write_text("\ufeff" + text if name.endswith("csv") else text, encoding="utf-8")
        found.add(read_vocabulary(tmp_path / name))
    assert len(found) == 1
    assert [(one.name, one.kind, one.same_as, one.not_a) for one in found.pop().entries] == [
        ("Vexalor", "medication", ("VX", "vexa"), ()),
        ("NO", None, (), ("medication",)),
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "v.yaml",
            "- {name: A1, kind: medicaton}\n",
            ":1: unknown kind 'medicaton'; allowed: .*did you mean `medication`",
        ),
        ("v.yaml", "\n- name: A1\n  knd: drug\n", ":2: unknown key 'knd'; did you mean `kind`"),
        ("v.yaml", "- {name: A1}\n", ":1: 'A1' has neither `kind` nor"),
        ("v.yaml", "- {kind: drug}\n", ":1: `name` is ''"),
        ("v.yaml", "- {name: '...', kind: drug}\n", ":1: `name` is '...'"),
        ("v.yaml", "- {name: A1, not-a-drug: maybe}\n", ":1: `not-a-drug` is 'maybe'; allowed: yes or no"),
        ("v.yaml", "- {name: A1, kind: drug, kind: test}\n", ":1: `kind` stands twice"),
        ("v.yaml", "- {name: A1, kind: {a: b}}\n", ":1: `kind` must be a text"),
        ("v.yaml", "- {name: [A1, B2], kind: drug}\n", ":1: `name` holds 2 values"),
        ("v.yaml", "name: A1\nkind: drug\n", ":1: must hold a list"),
        ("v.yaml", "- A1\n", ":1: must be an entry"),
        ("v.yaml", "- {name: A1\n", "not valid YAML"),
        ("v.yaml", "", "has no entries"),
        ("v.csv", "name,kind\nA1,drug\nB2,drug,more\n", ":3: 3 cells, but the header has 2"),
        ("v.csv", 'name,kind\n"A\n1",drug\nB2,dog\n', ":4: unknown kind 'dog'"),
        ("v.csv", "name,sort\nA1,drug\n", ":2: unknown key 'sort'"),
        ("v.jsonl", '{"name": "A1", "kind": "drug"}\n[1]\n', ":2: holds a JSON list"),
        ("v.jsonl", "{\n", ":1: not JSON"),
        ("v.txt", "A1", "ends in .yaml, .csv, .tsv or .jsonl, not '.txt'"),
        # What contradicts itself.
        ("v.yaml", "- {name: A1, kind: drug, not-a-drug: yes}\n", ":1: 'A1' is said to be a medication and not"),
        ("v.yaml", "- {name: A1, kind: drug}\n- {name: a1, not-a-drug: yes}\n", ":2: 'a1' is not a .* in line 1"),
        ("v.yaml", "- {name: A1, kind: drug, same-as: B2}\n- {name: B2, not-a-drug: yes}\n", ":2: 'B2' is not a"),
        (
            "v.yaml",
            "- {name: A1, kind: drug, same-as: B2}\n- {name: A1, kind: drug, same-as: C3}\n",
            ":2: 'A1' is the same as 'C3' here, and as 'B2' in line 1",
        ),
        ("v.yaml", "- {name: A1, same-as: B2, not-a-drug: yes}\n", ":1: 'A1' has `same-as` without `kind`"),
    ],
)
def test_what_cannot_be_meant_is_an_error_with_its_line(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_vocabulary(tmp_path / name)


@needs_lexicon
def test_the_parts_of_a_combination_do_not_become_one_drug(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text("- {name: A1, kind: drug, same-as: [amoxicillin, clavulanate]}\n")
    with pytest.raises(InputError, match=r":1: 'A1': .* different drugs .*amoxicillin \+ clavulanate"):
        read_vocabulary(path)
    path.write_text("- {name: A1, kind: drug, same-as: [Tylenol, acetaminophen]}\n")
    assert read_vocabulary(path).entries


def test_a_file_that_is_no_utf8_or_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_bytes(b"name,kind\nA1,drug\nB\xe9,drug\n")
    with pytest.raises(InputError, match=r"v\.csv:3: byte 0xe9 is not UTF-8"):
        read_vocabulary(tmp_path / "v.csv")
    with pytest.raises(InputError, match=r"gone\.csv cannot be read: No such file"):
        read_vocabulary(tmp_path / "gone.csv")


def test_many_names_are_read_and_found_in_little_time(tmp_path: Path) -> None:
    import time

    path = tmp_path / "v.csv"
    path.write_text("name,kind,same-as\n" + "".join(f"Brandol{n},drug,substance{n}\n" for n in range(20_000)))
    begun = time.process_time()
    drugs = kind("medication", read_vocabulary(path))
    assert drugs.match_key("Brandol777") == drugs.match_key("substance777")
    chart = "She takes Brandol19999. " * 200
    for _ in range(50):
        assert drugs.overlooked(chart, "auto") is not None
    assert time.process_time() - begun < 20
