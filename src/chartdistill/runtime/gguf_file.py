"""What a GGUF file says of itself, and whether a model folder can be made of it: said before anything is converted.

In: one file. Out: its facts. Must hold: what is refused is refused with a reason; what passes is whole, describes a
model that can be talked to, and says how to cut text as the model learned it.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chartdistill.errors import InputError, ModelError
from chartdistill.runtime.gguf_head import VERSIONS, UnknownVersionError, check_head

_MAGIC = b"GGUF"
_OTHERWISE = "Use the model's safetensors instead."
DIGITS_APART = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})
"""`tokenizer.ggml.pre` of tokenizers that cut like GPT-2's, after every digit was cut off by itself (llama.cpp,
src/llama-vocab.cpp). transformers does not know them, and would take them for GPT-2's own."""
_AS_GPT2 = frozenset({"gpt-2", "phi-2", "mpt", "olmo", "jais"})
"""Those that are GPT-2's own, which is what transformers makes of a name that it does not know."""

_KINDS = {
    "general.type": str, "general.architecture": str, "general.name": str, "general.license": str,
    "tokenizer.chat_template": str, "tokenizer.ggml.model": str, "tokenizer.ggml.pre": str, "split.count": int,
}  # fmt: skip
"""What is read of the metadata -> its kind."""
_NO_ARCHITECTURES = frozenset({"general", "tokenizer"})
"""Parts of every file that transformers keeps in its table of architectures."""


@dataclass(frozen=True)
class GgufFile:
    """The facts of a file that can be converted."""

    path: Path
    architecture: str
    name: str | None
    licence: str | None
    """As the file names it, e.g. apache-2.0."""
    split: str | None
    """How its tokenizer cuts text into words (`tokenizer.ggml.pre`)."""
    values: int
    """Numbers in all tensors."""


def read_gguf(path: Path) -> GgufFile:
    """Read the head of a file.

    Raises:
        InputError: it cannot be read, is not GGUF, is not whole, or is one of several parts.
        ModelError: transformers does not know its architecture or tokenizer, it has no chat template, or is no model.
    """
    size = _require_magic(path)
    _require_whole_head(path, size)
    fields, tensors = _read(path, size)
    _require_kinds(path, fields)
    kind = fields.get("general.type", "model")
    if kind != "model":
        raise ModelError(f"{path} is a GGUF file of type {kind!r}, not of a model. Name the file with the weights.")
    if fields.get("split.count", 1) > 1:
        raise InputError(
            f"{path} is one of {fields['split.count']} parts. Put them together first: llama-gguf-split --merge "
            f"{shlex.quote(str(path))} WHOLE.gguf"
        )
    architecture = fields.get("general.architecture", "")
    _require_known_architecture(path, architecture)
    if not fields.get("tokenizer.chat_template"):
        raise ModelError(
            f"{path} has no chat template (tokenizer.chat_template), so it is a base model, which was not taught to "
            "answer. Take the file of an instruct (chat) model."
        )
    split = fields.get("tokenizer.ggml.pre")
    _require_known_split(path, fields.get("tokenizer.ggml.model", ""), split)
    return GgufFile(
        path,
        architecture,
        name=fields.get("general.name"),
        licence=fields.get("general.license"),
        split=split,
        values=sum(math.prod(int(n) for n in tensor.shape) for tensor in tensors),
    )


def _require_magic(path: Path) -> int:
    """The size of the file, once it begins as it must."""
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe would be waited for
        raise InputError(f"{path} is no file that can be read twice. Name a .gguf file.")
    try:
        with path.open("rb") as stream:
            begins = stream.read(len(_MAGIC))
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Name a .gguf file.") from error
    if begins != _MAGIC:
        raise InputError(
            f"{path} is not a GGUF file: it begins with {begins!r}, not with {_MAGIC!r}. Check the download (a page or "
            "a Git LFS pointer may have been saved in its place)."
        )
    return size


def _require_whole_head(path: Path, size: int) -> None:
    """What the package gguf would run into, for ever or without a word of what it means."""
    try:
        check_head(path, size)
    except UnknownVersionError as error:
        raise InputError(
            f"{path} is GGUF of version {error}; versions {' and '.join(map(str, VERSIONS))} are read. Take a file of "
            "the model that today's llama.cpp wrote."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} ({size:,} bytes) ends early or is damaged: {error}. Copy or download it again."
        ) from None


def _require_kinds(path: Path, fields: dict[str, Any]) -> None:
    """That what is read as text is text, and a count a number."""
    for name, kind in _KINDS.items():
        if name in fields and not isinstance(fields[name], kind):
            what = "a text" if kind is str else "a whole number"
            raise InputError(
                f"{path} is damaged or was changed: its {name} is of type {type(fields[name]).__name__}, not {what}. "
                "Copy or download it again."
            )


def _read(path: Path, size: int) -> tuple[dict[str, Any], list[Any]]:
    """The single-valued metadata and the tensors of a file."""
    try:
        from gguf import GGUFReader
        from gguf.constants import GGUFValueType
    except ImportError as error:
        raise ModelError(f"the package gguf is not installed here ({error}). Run `make setup`.") from error
    try:
        reader = GGUFReader(path)
        fields = {
            name: field.contents() for name, field in reader.fields.items() if field.types[:1] != [GGUFValueType.ARRAY]
        }
        tensors = list(reader.tensors)
    except Exception as error:  # whatever a reader stumbles over in bytes that are not there, or are others
        if unknown := re.search(r"(\d+)\)? is not a valid GGMLQuantizationType", str(error)):
            raise ModelError(
                f"{path} has weights of type {unknown[1]}, which the package gguf here does not know: the file is "
                "newer, or damaged. Take a file of the model in another quantisation (Q8_0, F16), or copy it again."
            ) from error
        raise InputError(
            f"{path} ({size:,} bytes) ends early or is damaged: {type(error).__name__}: {error}. Copy or download it "
            "again."
        ) from error
    end = max((int(tensor.data_offset + tensor.n_bytes) for tensor in tensors), default=0)
    if end > size:
        raise InputError(
            f"{path} has {size:,} bytes, its head says {end:,}: it was cut off. Copy or download it again."
        )
    if not tensors:
        raise ModelError(f"{path} holds no weights. Name the file with the weights.")
    return fields, tensors


def _require_known_architecture(path: Path, architecture: str) -> None:
    from transformers.integrations.gguf.gguf_conversion_mapping import GGUF_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    known = sorted({*GGUF_ARCHS, *GGUF_SUPPORTED_ARCHITECTURES} - _NO_ARCHITECTURES)
    # transformers spells some of them otherwise than the files do.
    if architecture not in known and architecture.replace("-", "_") not in known:
        raise ModelError(
            f"{path}: transformers reads no GGUF file of architecture {architecture!r}; allowed: {', '.join(known)}. "
            f"{_OTHERWISE}"
        )


def _require_known_split(path: Path, model: str, split: str | None) -> None:
    """A name that transformers does not know it takes for GPT-2's, and would cut text otherwise than was learned."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    if model != "gpt2":  # only byte-level BPE cuts into words first
        return
    known = {*GGUF_PRE_TOKENIZER_SPLITS, *DIGITS_APART, *_AS_GPT2}
    if split not in known:
        said = "does not say how" if split is None else f"says {split!r}, which is not known here, of how"
        raise ModelError(
            f"{path} {said} its tokenizer cuts text into words (tokenizer.ggml.pre); allowed: "
            f"{', '.join(sorted(known))}. With a wrong one the model would read other tokens than it learned. "
            + ("Take a newer file of the model, or use" if split is None else "Use")
            + " the model's safetensors instead."
        )
