"""Which models are the embedded ones: they show the flow on charts of `demo.charts`, and know nothing of medicine."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

MODELS = Path(__file__).resolve().parent / "models"
_WEIGHTS = "model.safetensors"


def is_embedded(model: Path) -> bool:
    """Whether a model folder has the weights of an embedded model, wherever it was copied to."""
    weights = model / _WEIGHTS
    return weights.is_file() and _mark(weights) in _own_marks()


@cache
def _own_marks() -> frozenset[str]:
    return frozenset(_mark(weights) for weights in MODELS.glob(f"*/{_WEIGHTS}"))


def _mark(weights: Path) -> str:
    """Of the size and the first MiB, so that no large model is read whole."""
    with weights.open("rb") as stream:
        return hashlib.sha256(b"%d " % weights.stat().st_size + stream.read(1 << 20)).hexdigest()
