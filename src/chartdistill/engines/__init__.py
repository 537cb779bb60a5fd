"""Engines: who turns token ids into answers. One class per file; the class's fields are its options in YAML.

An engine is opened for one model and lives until the `with` block ends; GPU memory is free after that.
To add one: write `engines/<name>.py` with such a class, and name it in `AnyEngine`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chartdistill.engines.adapter_fit import open_with, refused_by_endpoint, require_served, without_adapter
from chartdistill.engines.contract import Generation, Generator, Request, Told
from chartdistill.engines.openai_engine import OpenAIEngine
from chartdistill.engines.process_variables import DEEP_GEMM
from chartdistill.engines.prompt_fit import require_answer_place, require_fit
from chartdistill.engines.replicas import Replica, divide_cards, num_cards, num_cards_each, replicas_of
from chartdistill.engines.side_by_side import SideBySide
from chartdistill.engines.transformers_engine import TransformersEngine
from chartdistill.engines.vllm_async import AsyncVllm, open_async
from chartdistill.engines.vllm_chat import ChatCompletions, ChatRefused, num_choices
from chartdistill.engines.vllm_engine import VllmEngine

AnyEngine = Annotated[VllmEngine | OpenAIEngine | TransformersEngine, Field(discriminator="type")]

__all__ = [
    "DEEP_GEMM",
    "AnyEngine",
    "AsyncVllm",
    "ChatCompletions",
    "ChatRefused",
    "Generation",
    "Generator",
    "OpenAIEngine",
    "Replica",
    "Request",
    "SideBySide",
    "Told",
    "TransformersEngine",
    "VllmEngine",
    "divide_cards",
    "num_cards",
    "num_cards_each",
    "num_choices",
    "open_async",
    "open_with",
    "refused_by_endpoint",
    "replicas_of",
    "require_answer_place",
    "require_fit",
    "require_served",
    "without_adapter",
]
