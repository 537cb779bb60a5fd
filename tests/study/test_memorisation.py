"""Exposure: what the paper says it is, and seen where it must be."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path
from statistics import fmean

import pytest

from chartdistill.prompting.answer_format import NONE_FOUND
from chartdistill.schema import Prediction
from chartdistill.study.canaries import Canary, secrets
from chartdistill.study.memorisation import _answered, exposure
from chartdistill.training.logprobs import common_prefix, continuation_logprobs
from demo_charts import TASKS


def test_exposure_is_what_the_paper_says() -> None:
    others = [float(i) for i in range(1023)]
    assert exposure(5000.0, others) == 10, "first of 1,024"
    assert exposure(-1.0, others) == 0, "last of 1,024"
    assert exposure(511.5, others) == pytest.approx(1, abs=0.01), "in the middle"
    assert exposure(0.0, [0.0, 0.0]) == pytest.approx(0.585, abs=0.001), "ties count half: second of three"
    rng = random.Random(1)
    drawn = [exposure(rng.random() * 1023, others) for _ in range(4000)]
    assert fmean(drawn) == pytest.approx(1.44, abs=0.08), "log2(e), where nothing is memorised"


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
