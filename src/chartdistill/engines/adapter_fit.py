"""Whether an engine can be given an adapter that is there already, and an engine that always answers with one.

Said before it starts, which may take minutes. Must hold: an adapter that passes here is one that the engine takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from chartdistill.engines.contract import Generation, Generator, Request, Told
from chartdistill.engines.openai_engine import OpenAIEngine
from chartdistill.engines.transformers_engine import TransformersEngine
from chartdistill.engines.vllm_engine import VllmEngine
from chartdistill.engines.vllm_models import adapter_support
from chartdistill.errors import ConfigError
from chartdistill.runtime.adapter_folder import CONFIG, Adapter
from chartdistill.runtime.model_folder import read_json

NOT_SERVED = (
    "modules_to_save",
    "use_dora",
    "lora_bias",
    "alora_invocation_tokens",
    "layer_replication",
    "use_bdlora",
    "use_qalora",
)
"""Options of PEFT that vLLM refuses (vllm.lora.peft_helper)."""
Engine = VllmEngine | OpenAIEngine | TransformersEngine


def require_served(adapter: Adapter, model: Path, engine: Engine, role: Literal["teacher", "student"]) -> None:
    """Refuse an adapter that the engine of a role could not load.

    Args:
        model: a checked model folder.

    Raises:
        ConfigError: what to change.
    """
    if isinstance(engine, TransformersEngine):
        return
    if isinstance(engine, OpenAIEngine) and engine.urls:
        raise ConfigError(refused_by_endpoint(engine, role))
    other = f"or set {role}.engine.type: transformers"
    if refused := engine.refuses_adapter(adapter.rank, False):
        said = refused.partition(":")[0]  # its remedy is for an adapter that is yet to be made
        raise ConfigError(f"{role}.adapter {adapter.folder}: {said}. Take an adapter of a lower rank, {other}.")
    unfit = [name for name in NOT_SERVED if adapter.config.get(name)]
    unfit += [] if adapter.config.get("bias", "none") == "none" else ["bias"]
    if unfit:
        raise ConfigError(
            f"{role}.adapter {adapter.folder}: {CONFIG} sets {', '.join(unfit)}, which vLLM does not serve. Train an "
            f"adapter without, {other}."
        )
    architecture = str((read_json(model / "config.json").get("architectures") or [""])[0])
    support = adapter_support(architecture)
    if support is None:
        return
    if not support.takes_adapters:
        raise ConfigError(
            f"{role}.engine runs vLLM, which takes no adapters for {architecture} ({model}). Leave out {role}.adapter, "
            f"{other}."
        )
    if refused_too := [name for name in adapter.embeddings if name.rpartition(".")[2] not in support.embeddings]:
        raise ConfigError(
            f"{role}.adapter {adapter.folder} changes {', '.join(refused_too)}, and vLLM takes no adapter on it for "
            f"{architecture}. Train an adapter without, {other}."
        )


def refused_by_endpoint(engine: OpenAIEngine, role: str) -> str:
    """Why a running endpoint gets no adapter, and what to do."""
    return (
        f"{role}.adapter: {role}.engine.urls is {', '.join(engine.urls)}, and a running endpoint cannot be given an "
        "adapter. Leave out `urls` (a server is then started here), use engine vllm or transformers, or serve the "
        f"adapter there, name it in {role}.engine.model_name and leave out {role}.adapter."
    )


@contextmanager
def open_with(engine: Engine, model: Path, adapter: Adapter | None, with_spans: bool = False) -> Iterator[Generator]:
    """Open an engine whose answers all come from the model with this adapter; None: from the model as it is.

    `with_spans`: as of the engine's `open`.
    """
    if adapter is None:
        with engine.open(model, with_spans=with_spans) as generator:
            yield generator
        return
    with engine.open(model, lora_rank=adapter.rank, with_spans=with_spans) as generator:
        yield _Adapted(generator, adapter.folder)


def without_adapter(generator: Generator) -> Generator:
    """The same engine, answering with the model as it is, where `open_with` gave it an adapter."""
    return generator._generator if isinstance(generator, _Adapted) else generator


class _Adapted:
    def __init__(self, generator: Generator, adapter: Path) -> None:
        self._generator, self._adapter = generator, adapter

    @property
    def continues(self) -> bool:
        return self._generator.continues

    @property
    def cache_tokens(self) -> int | None:
        return self._generator.cache_tokens

    def generate(
        self, requests: Sequence[Request], adapter: Path | None = None, told: Told | None = None
    ) -> list[Generation]:
        return self._generator.generate(requests, adapter or self._adapter, told)
