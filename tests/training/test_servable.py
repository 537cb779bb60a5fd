"""Adapters that could be trained and not used: refused before any work, with the option and what is allowed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from chartdistill.engines import OpenAIEngine, TransformersEngine, VllmEngine
from chartdistill.engines.vllm_engine import LORA_RANKS
from chartdistill.engines.vllm_models import AdapterSupport, adapter_support
from chartdistill.errors import ConfigError
from chartdistill.training import LoraOptions, check_adapter
from chartdistill.training.adapter import BaseName, adapter_tensors, save_adapter
from chartdistill.training.model import load_model
from chartdistill.training.options import TrainOptions


def test_the_ranks_are_those_of_the_vllm_that_is_installed() -> None:
    from vllm.config.lora import MaxLoRARanks

    assert get_args(MaxLoRARanks) == LORA_RANKS


@pytest.mark.parametrize(
    ("rank", "dora", "refused"),
    [
        (1, False, None),
        (512, False, None),
        (513, False, "rank is 513.*512"),
        (640, False, "640"),
        (8, True, "use_dora"),
    ],
)
def test_vllm_says_what_it_cannot_serve(rank: int, dora: bool, refused: str | None) -> None:
    for engine in (VllmEngine(), OpenAIEngine()):
        found = engine.refuses_adapter(rank, dora)
        assert found is None if refused is None else re.search(refused, found or "")
    assert TransformersEngine().refuses_adapter(rank, dora) is None
    if refused is None:
        assert VllmEngine().arguments(True, rank)["max_lora_rank"] in LORA_RANKS


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            ("q_proj", "v_proi"),
            r"train\.lora\.target_modules: 'v_proi' is no module.*did you mean 'v_proj'\?.*allowed: .*",
        ),
        (("mlp",), "'mlp' is a LlamaMLP, which takes no adapter"),
        (("q_proj", "input_layernorm"), "'input_layernorm' is a LlamaRMSNorm, which takes no adapter"),
        (("layers.9.q_proj",), "is no module of the student"),
    ],
)
@pytest.mark.parametrize("engine", [VllmEngine(), TransformersEngine()], ids=lambda engine: engine.type)
def test_modules_that_take_no_adapter_are_refused(
    tiny_model: Path, engine: Any, targets: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_adapter(tiny_model, LoraOptions(target_modules=targets), engine)


def test_modules_that_take_one_are_not(tiny_model: Path) -> None:
    for targets in ("all-linear", ("q_proj", "down_proj"), ("0.self_attn.q_proj",)):
        for engine in (VllmEngine(), TransformersEngine(), OpenAIEngine()):
            check_adapter(tiny_model, LoraOptions(target_modules=targets), engine)
    check_adapter(tiny_model, LoraOptions(target_modules=("embed_tokens", "lm_head")), TransformersEngine())


def as_model(folder: Path, config: Any, architecture: str) -> Path:
    config.architectures = [architecture]
    config.save_pretrained(folder)
    return folder


def test_embeddings_are_allowed_where_vllm_puts_adapters_on_them(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import Qwen2Config

    both = LoraOptions(target_modules=("q_proj", "embed_tokens", "lm_head"))
    check_adapter(tiny_model, both, VllmEngine())  # a Llama
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    other = as_model(tmp_path, Qwen2Config(vocab_size=97, num_key_value_heads=1, **shape), "Qwen2ForCausalLM")
    with pytest.raises(ConfigError, match=r"names embed_tokens, lm_head, and vLLM takes no adapter.*Qwen2ForCausalLM"):
        check_adapter(other, both, VllmEngine())
    check_adapter(other, both, TransformersEngine())
    check_adapter(other, LoraOptions(), VllmEngine())


def test_an_architecture_for_which_vllm_takes_no_adapters_is_refused(tmp_path: Path) -> None:
    from transformers import GPT2Config

    folder = as_model(tmp_path, GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=97), "GPT2LMHeadModel")
    with pytest.raises(ConfigError, match=r"no adapters for GPT2LMHeadModel.*student\.engine\.type: transformers"):
        check_adapter(folder, LoraOptions(), OpenAIEngine())
    check_adapter(folder, LoraOptions(), TransformersEngine())


@pytest.mark.slow
def test_what_is_read_of_vllms_models_is_what_they_say() -> None:
    from vllm.model_executor.models.registry import ModelRegistry

    for name in ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Gemma2ForCausalLM",
                 "Phi3ForCausalLM", "GraniteForCausalLM", "GPT2LMHeadModel", "MambaForCausalLM"):  # fmt: skip
        model = ModelRegistry.models[name].load_model_cls()
        told = AdapterSupport(bool(getattr(model, "supports_lora", False)),
                              tuple(sorted(getattr(model, "embedding_modules", None) or ())))  # fmt: skip
        assert adapter_support(name) == told, name
    assert adapter_support("NoSuchForCausalLM") is None


def test_a_running_endpoint_takes_no_adapter(tiny_model: Path) -> None:
    served = OpenAIEngine(urls=("http://127.0.0.1:9/v1",))
    with pytest.raises(ConfigError, match=r"student\.engine\.urls is http://127\.0\.0\.1:9/v1"):
        check_adapter(tiny_model, LoraOptions(), served)


@pytest.mark.parametrize("base", [BaseName("Qwen/Qwen3-1.7B", "abc"), BaseName("student"), None], ids=str)
def test_the_config_of_an_adapter_is_the_same_everywhere(
    tiny_model: Path, tmp_path: Path, base: BaseName | None
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    names = ["up_proj", "q_proj", "v_proj", "down_proj", "k_proj"]
    model = load_model(tiny_model, TrainOptions(dtype="float32", lora=LoraOptions(rank=2, target_modules=tuple(names))))
    save_adapter(model, adapter_tensors(model), tmp_path, base)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert written["target_modules"] == sorted(names)
    assert written["base_model_name_or_path"] == (tiny_model.name if base is None else base.name)
    assert written["revision"] == (None if base is None else base.revision)
    assert str(tiny_model.parent) not in (tmp_path / "adapter_config.json").read_text()
    assert model.peft_config["default"].inference_mode is False, "training can go on"
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), tmp_path)
    assert set(adapter_tensors(again)) == set(adapter_tensors(model))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["no/such/file.yaml"], ["{broken}"], ["{good}", "a", "b"]], ids=str)
def test_training_by_hand_fails_with_a_sentence(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump({"name": "x"}))
    given = [word.format(broken=tmp_path / "broken.yaml", good=tmp_path / "good.yaml") for word in arguments]
    command = [sys.executable, "-m", "chartdistill.training.train", *given]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and done.stderr.strip()
