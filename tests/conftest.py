"""Shared by all tests: nothing leaves the machine, and a tiny model made on the spot."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from chartdistill.runtime import privacy
from places import ROOT

privacy.enforce()
if "PYTEST_XDIST_WORKER" in os.environ:  # one core for each worker: more threads than cores wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example may take says how busy the machine is; tests that must be fast measure it themselves.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@functools.cache
def share_of(file: str) -> str:
    """Tests of one share run on one worker of pytest-xdist, one after another.

    All files with tests that are marked vllm are one share, so that no two of them want all cores at once. Of the
    others each is its own, so that what its tests share is made once.
    """
    return "vllm" if "mark.vllm" in (ROOT / file).read_text(encoding="utf-8") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Workers get share after share; pytest-xdist's own groups have no effect with the node ids of pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Shares(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share_of(nodeid.partition("::")[0])

    config.option.loadscopereorder = False
    return Shares(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In parallel those that start vLLM begin first, for together they take longest."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: share_of(item.path.relative_to(ROOT).as_posix()) != "vllm")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def users_environment() -> dict[str, str]:
    """Without what this test process has set: a command must switch everything off by itself."""
    names = ("HF_", "VLLM_", "TRANSFORMERS_", "CHARTDISTILL_", "DISABLE_", "DO_NOT_", "GLOO_", "FLASHINFER_", "OTEL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return kept | {"PYTHONPATH": str(ROOT / "src")}


@pytest.fixture(scope="session")
def tokenizer_folder() -> Path:
    """The demo's tokenizer: a real one, with a chat template."""
    return ROOT / "src/chartdistill/demo/models/student"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A randomly initialised Llama of 60,000 parameters with the demo's tokenizer, saved as a model folder."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.2,  # large, so that a wrong mask shows in the logits
    )
    folder = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def served_model(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    """A random model whose attention heads are wide enough for vLLM's CPU kernels (32; `tiny_model` has 8)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from chartdistill.runtime.model_folder import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_folder)
    tokenizer.chat_template += "{% if brief %}In brief: {% endif %}"
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.2,  # large, so that likely and unlikely tokens lie far apart
    )
    folder = tmp_path_factory.mktemp("served")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
