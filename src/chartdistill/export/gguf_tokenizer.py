"""A model folder's tokenizer -> the fields that llama.cpp reads it from.

In: a fast tokenizer. Out: values for a GGUF writer. Must hold: only byte-level BPE whose way of cutting text into words
llama.cpp knows, told by its parts and never guessed; any other is refused by name, since a model would read other
tokens than it learned.

llama.cpp has its ways of cutting by name (`tokenizer.ggml.pre`): src/llama-vocab.cpp, `llm_tokenizer_bpe`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chartdistill.errors import ModelError
from chartdistill.export.prompt_form import PromptForm

_OTHERWISE = "Export it as --to merged (transformers, vLLM) or --to vllm-adapter instead."
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
"""gguf.TokenType."""


@dataclass(frozen=True)
class GgufTokenizer:
    """What is written of a tokenizer."""

    split: str
    """`tokenizer.ggml.pre`."""
    tokens: Sequence[str]
    kinds: Sequence[int]
    merges: Sequence[str]
    template: str
    special: dict[str, int]
    """Name of a field (bos, eos, eot, pad, unk) -> id."""
    adds_bos: bool

    def write(self, writer: Any) -> None:
        """Add it to a gguf.GGUFWriter."""
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.split)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.kinds)
        writer.add_token_merges(self.merges)
        for name, number in self.special.items():
            getattr(writer, f"add_{name}_token_id")(number)
        writer.add_add_bos_token(self.adds_bos)
        writer.add_chat_template(self.template)


def read_tokenizer(tokenizer: Any, folder: Path, vocabulary: int, form: PromptForm) -> GgufTokenizer:
    """The tokenizer of a model folder.

    Args:
        vocabulary: rows of the embeddings, which may be more than there are tokens.

    Raises:
        ModelError: llama.cpp has no such tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"{folder} has no tokenizer.json, from which a GGUF file is made. {_OTHERWISE}")
    parts = json.loads(backend.to_str())
    model = parts["model"]
    split = _split_of(parts, folder)
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    if max(by_id) >= vocabulary:
        raise ModelError(f"{folder}: its tokenizer has ids up to {max(by_id)}, its embeddings {vocabulary} rows.")
    added = tokenizer.added_tokens_decoder
    tokens = [str(added[i].content) if i in added else by_id.get(i, f"[PAD{i}]") for i in range(vocabulary)]
    kinds = [
        (_CONTROL if added[i].special else _USER_DEFINED) if i in added else _NORMAL if i in by_id else _UNUSED
        for i in range(vocabulary)
    ]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    own = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "pad", "unk")}
    special = {name: int(number) for name, number in own.items() if number is not None}
    special |= {"eos": form.end_id, "eot": form.end_id}
    return GgufTokenizer(split, tokens, kinds, merges, _template(tokenizer, form), special, form.bos is not None)


def _template(tokenizer: Any, form: PromptForm) -> str:
    """The model's own template, with the options of training set in it: programs that ask by messages know none."""
    settings = "".join(f"{{%- set {name} = {_jinja(value)} -%}}" for name, value in form.template_options.items())
    return settings + str(tokenizer.chat_template)


def _jinja(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _split_of(parts: dict[str, Any], folder: Path) -> str:
    """llama.cpp's name of how a tokenizer cuts text into words.

    Raises:
        ModelError: it has none.
    """
    model, normaliser, before = parts["model"], parts.get("normalizer"), parts.get("pre_tokenizer")
    whole = model.get("type") == "BPE" and not model.get("byte_fallback") and not model.get("dropout")
    name = _name_of(_steps(before)) if whole and _leaves_text(normaliser) else None
    if name is not None and bool(model.get("ignore_merges")) == (name == "llama-bpe"):
        return name
    kind = f"{model.get('type')}, normalizer {_kind(normaliser)}, pre_tokenizer {_kind(before)}"
    raise ModelError(
        f"the tokenizer of {folder.name} ({kind}) is none that llama.cpp is known here to cut text with as the model "
        "learned it: byte-level BPE with the words of GPT-2, SmolLM, Qwen 2 and 3, or Llama 3, and no normalizer but "
        f"NFC. {_OTHERWISE}"
    )


def _leaves_text(normaliser: Any) -> bool:
    """NFC changes no text that was typed on this century's keyboards; llama.cpp leaves it out."""
    return normaliser is None or normaliser.get("type") == "NFC"


def _kind(part: Any) -> str:
    if part is None:
        return "none"
    inner = part.get("normalizers") or part.get("pretokenizers") or ()
    return f"{part['type']}({', '.join(one['type'] for one in inner)})" if inner else str(part["type"])


def _steps(before: Any) -> list[dict[str, Any]]:
    if before is None:
        return []
    return list(before["pretokenizers"]) if before["type"] == "Sequence" else [before]


def _name_of(steps: Sequence[dict[str, Any]]) -> str | None:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    if not steps or steps[-1]["type"] != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    words_by_gpt2, earlier = steps[-1].get("use_regex", True), steps[:-1]
    if words_by_gpt2:
        if not earlier:
            return "gpt-2"
        digits = earlier[0]["type"] == "Digits" and earlier[0].get("individual_digits")
        apart = _pattern(earlier[0]) == r"\p{N}" or digits
        return "smollm" if len(earlier) == 1 and apart else None
    if len(earlier) != 1:
        return None
    pattern = _pattern(earlier[0])
    return next((name for name in ("qwen2", "llama-bpe") if GGUF_PRE_TOKENIZER_SPLITS.get(name) == pattern), None)


def _pattern(step: dict[str, Any]) -> str | None:
    """The expression of a step that cuts out what matches it."""
    plain = step["type"] == "Split" and step.get("behavior") == "Isolated" and not step.get("invert")
    return step["pattern"].get("Regex") if plain else None
