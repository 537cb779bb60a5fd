"""Adapters that are there already: refused before an engine starts, or in every answer of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from adapters import make_adapter
from chartdistill.engines import OpenAIEngine, Request, TransformersEngine, VllmEngine, open_with, require_served
from chartdistill.engines.adapter_fit import NOT_SERVED
from chartdistill.errors import ConfigError
from chartdistill.runtime.adapter_folder import read_adapter
from chartdistill.runtime.model_folder import load_tokenizer

SERVED = VllmEngine(dtype="float32", max_model_len_tokens=128, max_num_seqs=8)
ENGINES = {"vllm": SERVED, "openai": OpenAIEngine(serve=SERVED), "transformers": TransformersEngine(dtype="float32")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_modules": ["embed_tokens", "q_proj"]}, None),  # a Llama
        ({"rank_pattern": {"q_proj": 520}}, "rank is 520, and vLLM serves adapters of a rank up to 512"),
        ({"use_dora": True}, "sets use_dora, which vLLM does not serve"),
        ({"modules_to_save": ["norm"]}, "sets modules_to_save"),
        ({"lora_bias": True}, "sets lora_bias"),
        ({"bias": "lora_only", "target_modules": ["q_proj"]}, "sets bias"),
        ({}, None),
    ],
    ids=str,
)
def test_what_vllm_does_not_serve_is_refused(
    tiny_model: Path, tmp_path: Path, options: dict[str, Any], message: str | None
) -> None:
    adapter = read_adapter(make_adapter(tiny_model, tmp_path / "a", **options))
    require_served(adapter, tiny_model, TransformersEngine(), "teacher")
    for engine in (VllmEngine(), OpenAIEngine()):
        if message is None:
            require_served(adapter, tiny_model, engine, "teacher")
            continue
        with pytest.raises(ConfigError, match=message) as refused:
            require_served(adapter, tiny_model, engine, "teacher")
        assert re.search(r"teacher\.adapter .*teacher\.engine\.type: transformers", str(refused.value))


def test_a_running_endpoint_gets_no_adapter(tiny_model: Path, tmp_path: Path) -> None:
    adapter = read_adapter(make_adapter(tiny_model, tmp_path / "a"))
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:9/v1, and a running endpoint cannot be given"):
        require_served(adapter, tiny_model, OpenAIEngine(urls=("http://127.0.0.1:9/v1",)), "teacher")


@pytest.mark.slow
def test_what_is_refused_is_what_vllm_refuses() -> None:
    from vllm.lora.peft_helper import PEFTHelper

    plain = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    assert PEFTHelper(**plain)._validate_features() == []
    for name in NOT_SERVED:
        assert PEFTHelper(**plain, **{name: ["norm"]})._validate_features(), name


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ENGINES))
def test_all_answers_come_with_the_adapter(name: str, served_model: Path, tmp_path: Path) -> None:
    """Of a rank that vLLM rounds up."""
    folder = make_adapter(served_model, tmp_path / "a", rank=12)
    tokenizer = load_tokenizer(served_model)
    charts = ("Start lisinopril.", "Stopped warfarin in May.", "Blood count ordered.")
    requests = [
        Request(tokenizer.encode(chart, add_special_tokens=False), 10, tokenizer.eos_token_id) for chart in charts
    ]
    with TransformersEngine(dtype="float32", batch_size=1).open(served_model) as reference:
        plain = [answer.token_ids for answer in reference.generate(requests)]
        changed = [answer.token_ids for answer in reference.generate(requests, folder)]
    assert plain != changed
    with open_with(ENGINES[name], served_model, read_adapter(folder)) as generator:
        assert [answer.token_ids for answer in generator.generate(requests)] == changed
    if name == "transformers":
        with open_with(ENGINES[name], served_model, None) as generator:
            assert [answer.token_ids for answer in generator.generate(requests)] == plain
