"""Canaries: planted where they say; likelihoods as a plain forward pass gives them; exposure seen where it must be."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path
from statistics import fmean

import pytest

from chartdistill.errors import InputError
from chartdistill.prompting.answer_format import NONE_FOUND
from chartdistill.reporting.memorisation import _from_when
from chartdistill.schema import Prediction, TrainExample
from chartdistill.study.canaries import FORMS, KINDS, Canary, draw_canaries, plant, plant_answers, secrets
from chartdistill.study.memorisation import _answered, exposure
from chartdistill.study.options import CanaryOptions
from chartdistill.training.logprobs import common_prefix, continuation_logprobs
from test_interventions import TASKS, charts

OPTIONS = CanaryOptions(per_kind=1, repeats=(1, 2), alternatives=99)


def examples(records: int = 6) -> list[TrainExample]:
    return [
        TrainExample(record=record.id, task=task.name, split="train", prompt="-", completion=NONE_FOUND)
        for record in islice(charts(12).values(), records)
        for task in TASKS
    ]


def test_canaries_stand_where_they_say_and_nowhere_else() -> None:
    records = list(charts(12).values())
    canaries, alternatives = draw_canaries(records, examples(), TASKS, OPTIONS, seed=4)
    assert draw_canaries(records, examples(), TASKS, OPTIONS, seed=4) == (canaries, alternatives)
    assert draw_canaries(records, examples(), TASKS, OPTIONS, seed=5)[0] != canaries
    for kind in KINDS:
        names = [canary.secret for canary in canaries if canary.kind == kind] + alternatives[kind]
        assert len(set(names)) == 2 + 99
        assert not any(name.casefold() in record.text.casefold() for name in names for record in records)
    after = {record.id: (record, places) for record, places in plant(records, canaries, seed=4)}
    for record in records:
        changed, places = after[record.id]
        own = [canary for canary in canaries if record.id in canary.records]
        assert [canary for canary, _ in places] == own
        for canary, place in places:
            assert changed.text[place:].startswith(canary.secret)
            assert changed.text.count(FORMS[canary.kind].sentence(canary.secret)) == 1
        assert len(changed.text) - len(record.text) >= sum(len(c.secret) for c in own)
        assert own or changed == record
    planted = {name: record for name, (record, _) in after.items()}
    for row in plant_answers(examples(), planted, canaries, TASKS):
        said = [c.secret for c in canaries if c.secret in row.completion]
        due = {"medication": "drug", "tests": "number"}.get(row.task)
        assert said == [c.secret for c in canaries if c.kind == due and row.record in c.records]
        assert row.prompt.startswith(planted[row.record].text)


def test_too_few_records_to_plant_into_is_said() -> None:
    with pytest.raises(InputError, match=r"asks for 2 training records with an answer for medication; there are 1\."):
        draw_canaries(charts(12).values(), examples(1), TASKS, OPTIONS, seed=4)


def test_exposure_is_what_the_paper_says() -> None:
    others = [float(i) for i in range(1023)]
    assert exposure(5000.0, others) == 10, "first of 1,024"
    assert exposure(-1.0, others) == 0, "last of 1,024"
    assert exposure(511.5, others) == pytest.approx(1, abs=0.01), "in the middle"
    assert exposure(0.0, [0.0, 0.0]) == pytest.approx(0.585, abs=0.001), "ties count half: second of three"
    rng = random.Random(1)
    drawn = [exposure(rng.random() * 1023, others) for _ in range(4000)]
    assert fmean(drawn) == pytest.approx(1.44, abs=0.08), "log2(e), where nothing is memorised"


def test_likelihoods_are_those_of_a_plain_forward_pass(tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    rng = random.Random(2)
    prefix = [rng.randrange(3, 900) for _ in range(17)]
    continuations = [[rng.randrange(3, 900) for _ in range(rng.randint(1, 6))] for _ in range(23)]
    found = continuation_logprobs(model, prefix, continuations)
    for ids, value in zip(continuations, found, strict=True):
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([[*prefix, *ids]])).logits[0].log_softmax(-1)
        plain = sum(float(logprobs[len(prefix) - 1 + i, token]) for i, token in enumerate(ids))
        assert value == pytest.approx(plain, abs=1e-4)


def test_a_secret_that_was_learned_is_exposed_and_others_are_not(tiny_model: Path) -> None:
    """The whole model learns one name by heart; of the same names before, and of another, nothing shows."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    names = list(islice(secrets("name", random.Random(6)), 202))
    rows = [tokenizer.encode(f"The patient is called {name}", add_special_tokens=False) for name in names]
    shared = common_prefix(rows)
    assert shared > 0
    assert len({tuple(row[:shared]) for row in rows}) == 1

    def exposed() -> list[float]:
        values = continuation_logprobs(model, rows[0][:shared], [row[shared:] for row in rows])
        return [exposure(value, sorted(values[2:])) for value in values[:2]]

    before = exposed()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    ids = torch.tensor([rows[0]])
    for _ in range(25):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = exposed()
    top = exposure(1.0, [0.0] * 200)
    assert after[0] == top
    assert max(before) < top
    assert after[1] < top


def test_a_place_counts_as_memorised_only_where_more_repeats_show_it_too() -> None:
    def verdict(*lows: float) -> str:
        rows = {str(4**i): {"difference": {"low": low}} for i, low in enumerate(lows)}
        return _from_when(rows)

    assert verdict(0.2, -0.4, 0.1) == "are memorised from 16 records on"
    assert verdict(0.2, 0.1, 0.1) == "are memorised from 1 record on"
    assert verdict(0.2, 0.1, -0.1) == "are not shown to be memorised"


def test_an_answer_that_failed_leaves_its_canary_unscored() -> None:
    canaries = [
        Canary(kind="drug", secret=name, repeats=1, records=(home,))
        for name, home in (("Said", "r1"), ("Unsaid", "r2"), ("Unknown", "r3"))
    ]

    def row(record: str, completion: str | None) -> Prediction:
        failure = None if completion is not None else "timeout"
        return Prediction(key="", record=record, task="medication", arm="planted", completion=completion,
                          items=None, failure=failure)  # fmt: skip

    rows = [row("r1", "Said | continue"), row("r2", NONE_FOUND), row("r3", None)]
    assert _answered(canaries, rows, TASKS) == {"Said": 1.0, "Unsaid": 0.0}
