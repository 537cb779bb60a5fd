"""What `export` can be told: targets, types and limits, without any library that makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Target = Literal["merged", "gguf", "ollama", "vllm-adapter"]
TARGETS: tuple[Target, ...] = ("merged", "gguf", "ollama", "vllm-adapter")
GgufType = Literal["f32", "bf16", "f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
"""What the package gguf writes. 4 and 5 bits are those without super-blocks: the finer ones (Q4_K_M) are made by
llama.cpp's own llama-quantize, from an f16 file."""
GGUF_TYPES: tuple[GgufType, ...] = ("f16", "q8_0", "bf16", "f32", "q5_1", "q5_0", "q4_1", "q4_0")
PROMPTS = 64


@dataclass(frozen=True)
class Limits:
    """Beyond which an export fails; why these: parity.py."""

    max_differing: float = 0.05
    """Share of answers that are other tokens than the training-time forward's."""
    max_loss: float = 0.02
    """How much lower joint F1 may be, of 1."""


@dataclass(frozen=True)
class Wanted:
    """What is to be made of a run."""

    to: Target
    out: Path | None = None
    """None: in the run's own folder, `exports/`."""
    kind: GgufType = "f16"
    """Of a GGUF file's matrices."""
    replace: bool = False
    """An earlier export in the same place goes, once the new one is whole."""
    prompts: int = PROMPTS
    """Of the comparison; 0: none is made."""
    limits: Limits = field(default_factory=Limits)
