"""A GGUF file holds the merged model: read back by the format's own reader, by transformers, and by llama.cpp."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chartdistill.errors import ModelError
from chartdistill.export import runtimes
from chartdistill.export.export import export
from chartdistill.export.gguf_tokenizer import read_tokenizer
from chartdistill.export.gguf_weights import require_known
from chartdistill.export.modelfile import write_modelfile
from chartdistill.export.options import Limits, Wanted
from chartdistill.export.prompt_form import PromptForm
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.run_file import read_run
from chartdistill.runtime.model_folder import load_tokenizer
from export_run import CHARTS, SYSTEM, make_base, make_run

gguf = pytest.importorskip("gguf")
QUESTION = "List each drug as: drug | status."


def made(run_dir: Path, out: Path, to: Any = "gguf", **options: Any) -> Path:
    """The file; nothing is compared, unless asked for."""
    folder = export(read_run(run_dir), Wanted(to, out, **{"prompts": 0, **options}))
    return next(folder.glob("*.gguf"))


def form_of(folder: Path, system: str = SYSTEM) -> tuple[PromptForm, PromptBuilder]:
    builder = PromptBuilder.from_tokenizer(load_tokenizer(folder), system)
    return PromptForm.of(builder, {}), builder


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_transformers_reads_the_same_model_back(tmp_path: Path, architecture: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    changes: dict[str, Any] = {
        "llama": {"attention_bias": False},  # transformers reads no biases of a llama's
        "qwen2": {},
        "qwen3": {"tie_word_embeddings": False, "head_dim": 128},  # it takes 128 whatever the file says
    }[architecture]
    base = make_base(tmp_path / "base", architecture=architecture, **changes)
    run_dir = make_run(tmp_path, base)
    file = made(run_dir, tmp_path / "out", kind="f32")
    merged = export(read_run(run_dir), Wanted("merged", tmp_path / "merged", prompts=0))
    ids = torch.tensor([load_tokenizer(base).encode(CHARTS[1])])
    with torch.inference_mode():
        expected = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)(ids).logits
        found = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )(ids).logits
    assert torch.allclose(found, expected, atol=1e-4), (found - expected).abs().max()


def test_import_model_takes_it_back(tmp_path: Path) -> None:
    from chartdistill.runtime.gguf_model import import_gguf

    base = make_base(tmp_path / "base", attention_bias=False)
    file = made(make_run(tmp_path, base), tmp_path / "out", kind="bf16")
    import_gguf(file, tmp_path / "again", any_answers=True)
    builder = form_of(base)[1]
    again = PromptBuilder.from_tokenizer(load_tokenizer(tmp_path / "again"), SYSTEM)
    for chart in CHARTS:
        assert again.prompt(chart, QUESTION) == builder.prompt(chart, QUESTION)
    assert again.end_id == builder.end_id


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_0", "q5_1"])
def test_each_type_is_near_what_it_holds(tmp_path: Path, kind: Any) -> None:
    from safetensors.numpy import load_file

    run_dir = make_run(tmp_path)
    file = made(run_dir, tmp_path / "out", kind=kind)
    merged = export(read_run(run_dir), Wanted("merged", tmp_path / "merged", prompts=0))
    stored = load_file(merged / "model.safetensors")
    tensors = {one.name: one for one in gguf.GGUFReader(file).tensors}
    assert len(tensors) == len(stored)
    names = {"ffn_down.weight": "mlp.down_proj.weight", "attn_v.bias": "self_attn.v_proj.bias"}
    for layer in range(2):
        for theirs, ours in names.items():
            one, value = tensors[f"blk.{layer}.{theirs}"], stored[f"model.layers.{layer}.{ours}"]
            found = gguf.dequantize(one.data, one.tensor_type).reshape(value.shape)
            step = {"f16": 2**-10, "q8_0": 1 / 127, "q5_1": 1 / 15, "q4_0": 1 / 7}[kind] * np.abs(value).max()
            assert np.abs(found - value).max() <= step
            assert one.tensor_type.name == ("F32" if value.ndim == 1 else kind.upper())
    coarse = kind in ("q4_0", "q5_1")
    assert tensors["token_embd.weight"].tensor_type.name == ("Q8_0" if coarse else kind.upper())


def test_the_file_says_what_the_config_and_the_prompt_say(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    fields = gguf.GGUFReader(made(run_dir, tmp_path / "out")).fields
    said = {name: field.contents() for name, field in fields.items()}
    assert (said["llama.attention.head_count"], said["llama.attention.head_count_kv"]) == (2, 1)
    assert (said["llama.context_length"], said["llama.rope.freq_base"], said["llama.block_count"]) == (512, 10000.0, 2)
    assert said["tokenizer.ggml.pre"] == "smollm" and said["tokenizer.ggml.add_bos_token"] is False
    assert said["tokenizer.ggml.eos_token_id"] == said["tokenizer.ggml.eot_token_id"] == 2
    assert len(said["tokenizer.ggml.tokens"]) == 416 and said["tokenizer.ggml.tokens"][-1] == "[PAD415]"
    assert said["general.license"] == "apache-2.0" and said["general.base_model.0.name"] == "base"
    assert said["tokenizer.chat_template"].startswith("{% for m in messages")


def test_options_of_the_template_are_set_in_the_file(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    form, _ = form_of(base)
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = "{% if not enable_thinking %}quick{% endif %}{{ style }}"
    options = PromptForm(**{**form.__dict__, "template_options": {"enable_thinking": False, "style": 'a "b"'}})
    template = read_tokenizer(tokenizer, base, 416, options).template
    from jinja2 import Template

    assert Template(template).render(enable_thinking=True) == 'quicka "b"'


def with_words(folder: Path, how: str) -> Any:
    """A tokenizer that cuts text into the words of others."""
    from tokenizers import Regex, normalizers, pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    tokenizer = load_tokenizer(folder)
    backend = tokenizer.backend_tokenizer
    name = how.partition(" ")[0]
    if name in ("qwen2", "llama-bpe"):
        split = pre_tokenizers.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[name]), behavior="isolated")
        steps = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
        backend.model.ignore_merges = name == "llama-bpe"
    elif name == "gpt-2":
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space="prefixed" in how)
    elif name == "words":
        backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if "NFC" in how:
        backend.normalizer = normalizers.NFC()
    if "lower" in how:
        backend.normalizer = normalizers.Lowercase()
    return tokenizer


@pytest.mark.parametrize("how", ["qwen2 NFC", "llama-bpe", "gpt-2", "smollm"])
def test_words_that_llama_cpp_knows_are_told_by_their_parts(tmp_path: Path, how: str) -> None:
    base = make_base(tmp_path / "base")
    assert read_tokenizer(with_words(base, how), base, 416, form_of(base)[0]).split == how.partition(" ")[0]


@pytest.mark.parametrize("how", ["words", "gpt-2 prefixed", "smollm lower", "qwen2 lower"])
def test_any_other_tokenizer_is_refused_by_its_parts(tmp_path: Path, how: str) -> None:
    base = make_base(tmp_path / "base")
    with pytest.raises(ModelError, match=r"the tokenizer of base \(BPE, normalizer .*GPT-2, SmolLM, Qwen 2"):
        read_tokenizer(with_words(base, how), base, 416, form_of(base)[0])


def test_the_demos_tokenizer_is_refused_before_any_work(tiny_model: Path, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, tiny_model, target_modules=["q_proj"])
    with pytest.raises(ModelError, match=r"normalizer Sequence\(Replace, Replace, Prepend\).*--to merged"):
        made(run_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel, which is not written"),
        ({}, "unknown, which is not written"),
        ({"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True}, "use_sliding_window True"),
        ({"architectures": ["LlamaForCausalLM"], "hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"architectures": ["Qwen3ForCausalLM"], "rope_parameters": {"rope_type": "yarn"}}, "yarn"),
        ({"architectures": ["LlamaForCausalLM"], "rope_scaling": {"type": "dynamic"}}, "rope_parameters"),
        ({"architectures": ["LlamaForCausalLM"], "layer_types": ["sliding_attention"]}, "layer_types"),
    ],
)
def test_what_is_not_written_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=re.escape(said)):
        require_known(changes, Path("model"))


def test_the_frequencies_of_llama_3_are_those_of_transformers(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 256}  # fmt: skip
    base = make_base(tmp_path / "base", rope_parameters=rope)
    file = made(make_run(tmp_path, base), tmp_path / "out")
    factors = next(one.data for one in gguf.GGUFReader(file).tensors if one.name == "rope_freqs.weight")
    theirs = AutoModelForCausalLM.from_pretrained(base).model.rotary_emb.inv_freq
    plain = 1 / 500000.0 ** (torch.arange(0, 32, 2) / 32)
    assert torch.allclose(plain / torch.tensor(factors), theirs, rtol=1e-5)
    assert set(factors[:2]) == {1.0} and factors[-1] == 8.0


def test_values_beyond_sixteen_bits_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    base = make_base(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    run_dir = make_run(tmp_path, base)
    with pytest.raises(ModelError, match=r"blk\.0\.ffn_up\.weight holds values beyond.*bf16"):
        made(run_dir, tmp_path / "out")
    made(run_dir, tmp_path / "out", kind="bf16")


@pytest.mark.parametrize("system", [SYSTEM, 'Say "yes" {{ .System }} or {{no}}.\nSecond line.'])
def test_ollamas_template_is_the_training_prompt(tmp_path: Path, system: str) -> None:
    base = make_base(tmp_path / "base")
    form, builder = form_of(base, system)
    written = write_modelfile(form, "m.gguf", 99999, 160, "Terms.", {"drugs": QUESTION})
    found = re.search(r'^TEMPLATE """(.*?)"""$', written, re.DOTALL | re.MULTILINE)
    assert found is not None
    head, _, tail = found[1].rpartition("{{ .Prompt }}")
    said = [text.replace('{{ "{{" }}', "{{") for text in (head, tail)]
    for chart in CHARTS:
        text = said[0] + chart + "\n\n" + QUESTION + said[1]
        assert load_tokenizer(base).encode(text) == builder.prompt(chart, QUESTION)
    lines = written.splitlines()
    assert {"PARAMETER temperature 0", "PARAMETER repeat_penalty 1.0", "PARAMETER num_ctx 8192",
            'PARAMETER stop """<|im_end|>"""', "FROM ./m.gguf", 'LICENSE """Terms."""'} <= set(lines)  # fmt: skip


def test_a_text_that_no_modelfile_can_hold_is_refused(tmp_path: Path) -> None:
    form, _ = form_of(make_base(tmp_path / "base"), 'Quote """so""".')
    with pytest.raises(ModelError, match="the prompt holds"):
        write_modelfile(form, "m.gguf", 512, 16, None, {})


def test_without_llama_cpp_the_card_says_how_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(runtimes, "versions_of", lambda *_: {})  # nor vLLM
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    file = made(make_run(tmp_path), tmp_path / "out", "ollama", kind="f32", prompts=6)
    card = (file.parent / "README.md").read_text()
    assert "Not compared: GGUF f32, llama.cpp. llama-cpp-python is not installed here: pip install" in card
    assert "**Not compared in any program that this is for**" in card and "Exported, since" not in card
    assert json.loads((file.parent / "export.json").read_text())["compared"] is False
    assert (file.parent / "Modelfile").read_text().count("FROM ./tiny-f32.gguf") == 1
    assert not (file.parent / ".merged").exists()


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_llama_cpp_answers_as_in_training(tmp_path: Path, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    # Its cache of keys and values has 16 bits unless told, which turns one of 12 answers of these random weights; the
    # file itself must hold them exactly.
    monkeypatch.setattr(library, "Llama", functools.partial(library.Llama, type_k=0, type_v=0))
    monkeypatch.setattr(runtimes, "versions_of", lambda *_: {})
    run_dir = make_run(tmp_path, make_base(tmp_path / "base", architecture=architecture))
    file = made(run_dir, tmp_path / "out", kind="f32", prompts=12, limits=Limits(0.0, 0.0))
    rows = {row["name"]: row for row in json.loads((file.parent / "parity.json").read_text())["rows"]}
    assert (rows["gguf-ids"]["differing"], rows["gguf"]["differing"], rows["gguf"]["cut_otherwise"]) == (0, 0, 0)
