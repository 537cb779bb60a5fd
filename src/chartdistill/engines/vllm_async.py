"""vLLM, asked by many at once: the engine of `serve`, with the options of `VllmEngine` and the same requests.

In: requests, each from its own asker, at any time. Out: a Generation each, as soon as it is done; vLLM batches what is
there (continuous batching). Must hold: a request is answered as `VllmEngine` answers it; when the engine's processes
die, everyone who waits is told at once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chartdistill.engines.contract import Generation, Request, refuse_constrained_thought, too_long
from chartdistill.engines.vllm_engine import DIED, IF_IT_DIES_AGAIN, VllmEngine
from chartdistill.engines.vllm_requests import generation_of, sampling_params
from chartdistill.errors import EngineError
from chartdistill.runtime.adapter_folder import adapter_rank
from chartdistill.runtime.model_folder import load_tokenizer

_SPEAK_OF_REQUESTS = ("vllm.entrypoints", "vllm.renderers", "vllm.v1.engine.async_llm", "vllm.tool_parsers", "asyncio")
"""Loggers that write an exception's words, which may be the prompt's."""


def _is_never_said(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.CRITICAL


@contextmanager
def open_async(options: VllmEngine, model: Path, adapter: Path, with_spans: bool, name: str) -> Iterator[AsyncVllm]:
    """Start vLLM on a model folder with one adapter. To be called outside of an event loop, and used in one.

    Args:
        name: what the adapter is called in `/v1/models`.

    Raises:
        EngineError: vLLM is not installed, or did not start.
    """

    def make(arguments: dict[str, Any]) -> tuple[Any, Any]:
        from vllm import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        class Engine(AsyncLLM):  # type: ignore[misc]  # vLLM says no types
            def __del__(self) -> None:
                """Nothing: `started` ends it, and vLLM's own fails when the interpreter has put its modules away."""

        for logger in _SPEAK_OF_REQUESTS:
            logging.getLogger(logger).setLevel(logging.CRITICAL)
            logging.getLogger(logger).addFilter(_is_never_said)  # where vLLM configures its loggers again, a level goes
        # As what `LLM` is started with: the defaults of batch sizes go by it.
        engine = Engine.from_engine_args(
            AsyncEngineArgs(model=str(model), use_tqdm_on_load=False, **arguments), usage_context=UsageContext.LLM_CLASS
        )
        return engine, engine.engine_core

    with options.started(model, adapter_rank(adapter), with_spans, make) as (engine, client):
        yield AsyncVllm(engine, client, model, adapter, name)


class AsyncVllm:
    """An open engine whose answers come from the model with one adapter."""

    def __init__(self, engine: Any, client: Any, model: Path, adapter: Path, name: str) -> None:
        from vllm.lora.request import LoRARequest

        self.client: Any = engine
        """vLLM's own `EngineClient`, for what is passed through to it."""
        self.adapter: Any = LoRARequest(name, 1, str(adapter))
        """The adapter, as vLLM's requests name it."""
        self.model = model
        self._core = client
        self._tokenizer = load_tokenizer(model)
        self._longest = int(engine.model_config.max_model_len)
        self._numbers = itertools.count()

    async def answer(self, request: Request) -> Generation:
        """Answer one request; it is taken off the engine when this is cancelled.

        Raises:
            EngineError: the engine is dead.
        """
        from vllm.exceptions import VLLMClientError
        from vllm.inputs.engine import tokens_input
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        refuse_constrained_thought([request])
        if (failed := too_long(request, self._longest)) is not None:
            return failed
        parameters = sampling_params(request)
        parameters.output_kind = RequestOutputKind.FINAL_ONLY
        generated = self.client.generate(
            tokens_input(list(request.prompt_ids)),
            parameters,
            f"chart-{next(self._numbers)}",
            lora_request=self.adapter,
        )
        try:
            outputs = [output async for output in generated]
        except EngineDeadError as error:
            raise EngineError(f"{DIED}. {IF_IT_DIES_AGAIN}") from error
        except (ValueError, VLLMClientError, EngineGenerateError) as error:  # its words may quote the request
            if self.is_dead:
                raise EngineError(f"{DIED}. {IF_IT_DIES_AGAIN}") from error
            return Generation(None, failure=f"refused: {type(error.__cause__ or error).__name__}")
        return generation_of(request, outputs[-1], self._tokenizer)

    @property
    def is_dead(self) -> bool:
        """Whether a process of the engine has ended."""
        return bool(self.client.errored)

    async def replies(self, timeout_s: float) -> bool:
        """Whether the engine's process replies: between two steps it does, however many requests wait."""
        if self.is_dead:
            return False
        with suppress(Exception):  # whatever it is, this was no reply
            async with asyncio.timeout(timeout_s):
                await self.client.is_sleeping()
                return not self.is_dead
        return False

    async def death(self) -> None:
        """Returns when the engine has died, after waking everyone who waits for its answers.

        vLLM does so only where the process could still say that it dies. When it is killed, vLLM's monitor notes it and
        cleans up, and the task that reads answers is left waiting.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        while not self.is_dead:
            await asyncio.sleep(0.1)
        self.client.output_processor.propagate_error(EngineDeadError())
