"""The models that come with the package."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from chartdistill.demo.charts import write_chart
from places import ROOT

MODELS = ROOT / "src/chartdistill/demo/models"


def test_embedded_models_are_small_safetensors() -> None:
    weights = list(MODELS.rglob("*.safetensors"))
    assert {path.parent.name for path in weights} == {"teacher", "student"}
    assert sum(path.stat().st_size for path in weights) <= 20e6
    assert not [path for path in MODELS.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    assert (MODELS / "teacher/tokenizer.json").read_bytes() == (MODELS / "student/tokenizer.json").read_bytes()


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_transformers_loads_the_tokenizer_that_is_in_the_file(name: str) -> None:
    """For some model types transformers builds a tokenizer of its own around the vocabulary."""
    loaded = AutoTokenizer.from_pretrained(MODELS / name)
    written = Tokenizer.from_file(str(MODELS / name / "tokenizer.json"))
    for seed in range(20):
        text = write_chart(random.Random(seed), "heldout").text
        assert loaded.encode(text) == written.encode(text, add_special_tokens=False).ids
        assert loaded.decode(loaded.encode(text)) == text
