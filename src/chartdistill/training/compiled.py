"""Decoder layers compiled one by one (torch.compile), for fewer and larger kernels: a card otherwise waits for Python.

A layer is compiled for rows of any length, and once for all layers that are alike: its attention, which follows a
packed row, stays as it is between two compiled parts. Saving and loading see the same parameters as before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chartdistill.errors import TrainingError
from chartdistill.training.attention import ATTENTION, shared_prefix_attention


def compile_layers(model: Any) -> int:
    """Let a model's decoder layers be compiled at their first pass; returns how many there are.

    Raises:
        TrainingError: its layers are not found.
    """
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    layers = getattr(base.get_decoder() if hasattr(base, "get_decoder") else base, "layers", None)
    if layers is None:
        raise TrainingError(
            f"train.compile is true, and {type(base).__name__} does not say which its layers are. Set it to false."
        )
    import torch
    from transformers import AttentionInterface

    # A row's layout is another for each row, and would be compiled for each.
    attention = torch.compiler.disable(shared_prefix_attention)  # type: ignore[no-untyped-call]
    AttentionInterface.register(ATTENTION, attention)
    for layer in layers:
        layer.compile(dynamic=True)
    return len(layers)


@contextmanager
def uncompiled() -> Iterator[None]:
    """In here compiled layers compute as they did: answers grow by a token, which would be compiled again."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and to load it takes seconds
        yield
        return
    import torch

    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def compile_errors() -> Iterator[None]:
    """What torch says where it cannot compile, in a sentence.

    Raises:
        TrainingError: no compiler was found, or it failed.
    """
    from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException
    from torch._inductor.exc import InductorError, InvalidCxxCompiler

    try:
        yield
    except (BackendCompilerFailed, TorchDynamoException, InductorError, InvalidCxxCompiler) as error:
        first = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"train.compile is true, and torch could not compile a layer of the student: {first} It needs a C++ "
            "compiler (on Debian and Ubuntu: apt-get install g++), on a card a C compiler and Python's headers. Set "
            "train.compile to false to train without."
        ) from error
