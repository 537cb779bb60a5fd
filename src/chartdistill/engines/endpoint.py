"""One OpenAI-compatible endpoint: what it serves, one question to it, and what its errors mean."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from chartdistill.engines.contract import Generation, Request
from chartdistill.engines.replies import read_reply
from chartdistill.errors import ConfigError, EngineError

_TOO_LONG = re.compile(r"maximum context length|context_length_exceeded|context window|longer than the maximum", re.I)
_PROBE_S = 10.0


class UnreachableError(Exception):
    """No reply after all retries. The endpoint may be dead, or this one request too slow."""


class _Card(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str
    owned_by: str | None = None
    max_model_len: int | None = None
    parent: str | None = None


class _Models(BaseModel):
    data: list[_Card]


class Endpoint:
    """A connection to one endpoint. `connect` comes first; everything runs in one event loop."""

    def __init__(self, url: str, api_key: str, timeout_s: float, max_retries: int, concurrency: int) -> None:
        import openai

        self.url = url
        self.free = asyncio.Semaphore(concurrency)
        """Held while asking."""
        self.model_name = ""
        self.is_vllm = False
        self.longest: int | None = None
        """Tokens of a prompt with its answer, if the endpoint says."""
        self.cache_tokens: int | None = None
        """Tokens its KV cache holds, if it says."""
        self._probe_s = min(_PROBE_S, timeout_s)
        self._adapters: dict[Path, str] = {}
        # Proxies of the environment are not used and redirects not followed: prompts go to this host or nowhere.
        connection = openai.DefaultAsyncHttpxClient(trust_env=False, follow_redirects=False)
        self._client: Any = openai.AsyncOpenAI(
            base_url=url, api_key=api_key, timeout=timeout_s, max_retries=max_retries, http_client=connection
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def connect(self, model_name: str | None, is_vllm: bool | None) -> None:
        """Find out what is served. See `OpenAIEngine` for the arguments.

        Raises:
            EngineError: it does not answer.
            ConfigError: it has no such model, or several and none was named.
        """
        cards = [card for card in await self._models() if card.parent is None or card.id == model_name]
        names = [card.id for card in cards]
        wanted = model_name if model_name is not None else (names[0] if len(names) == 1 else None)
        if wanted is None or (names and wanted not in names):
            named = f"no model {model_name!r}" if model_name is not None else f"{len(names)} models"
            raise ConfigError(f"{self.url} serves {named}; set engine.model_name to one of: {', '.join(names) or '?'}.")
        card = next((card for card in cards if card.id == wanted), _Card(id=wanted))
        self.model_name, self.longest = wanted, card.max_model_len
        self.is_vllm = card.owned_by == "vllm" if is_vllm is None else is_vllm
        if self.is_vllm:
            self.cache_tokens = await self._cache_size()

    async def _models(self) -> list[_Card]:
        import openai

        try:
            reply = await self._client.models.with_raw_response.list()
            return _Models.model_validate_json(reply.content).data
        except openai.NotFoundError:  # optional in the protocol; then the config must name the model
            return []
        except (openai.OpenAIError, ValidationError) as error:
            raise EngineError(
                f"{self.url}/models does not answer as an OpenAI-compatible endpoint should ({_what(error)}). Check "
                "that the server is up, that engine.urls ends as it should (usually /v1), and the key."
            ) from None

    async def _cache_size(self) -> int | None:
        """From vLLM's `vllm:cache_config_info` metric; None if it is switched off."""
        import openai

        try:
            text = str(await self._client.get(self.url.removesuffix("/v1") + "/metrics", cast_to=str))
        except openai.OpenAIError:
            return None
        line = next((line for line in text.splitlines() if line.startswith("vllm:cache_config_info{")), "")
        labels = dict(re.findall(r'(\w+)="(\d+)"', line))
        if "num_gpu_blocks" not in labels or "block_size" not in labels:
            return None
        return int(labels["num_gpu_blocks"]) * int(labels["block_size"])

    async def is_up(self) -> bool:
        """Whether it answers anything at all, soon."""
        import openai

        try:
            await self._client.with_options(timeout=self._probe_s, max_retries=0).models.with_raw_response.list()
        except openai.APIStatusError:
            return True
        except openai.OpenAIError:
            return False
        return True

    async def load_adapter(self, adapter: Path) -> str:
        """Load an adapter folder into a vLLM server, unless it is loaded, and return its name there.

        Raises:
            EngineError: the server refused.
        """
        import openai

        if adapter not in self._adapters:
            # vLLM tells adapters apart by name, and the folders of two runs may have the same one.
            name = f"adapter-{len(self._adapters) + 1}"
            try:
                body = {"lora_name": name, "lora_path": str(adapter)}
                await self._client.post("/load_lora_adapter", body=body, cast_to=str)
            except openai.OpenAIError as error:
                raise EngineError(
                    f"the server did not load the adapter {adapter} ({_what(error)}). Check that it is a PEFT folder "
                    "made for this model, and that its rank is at most the one the engine was opened with."
                ) from None
            self._adapters[adapter] = name
        return self._adapters[adapter]

    async def ask(
        self,
        request: Request,
        body: dict[str, Any],
        chat: bool,
        model_name: str | None,
        tokenizer: Callable[[], Any] | None = None,
    ) -> Generation:
        """One request. A reply that is an error, or is not as it should be, is a failure.

        Raises:
            UnreachableError: no reply at all, after all retries.
        """
        import openai

        body = {"model": model_name or self.model_name, **body}
        try:
            reply = await self._client.post("/chat/completions" if chat else "/completions", body=body, cast_to=str)
        except openai.APITimeoutError:
            raise UnreachableError("timeout: no answer within engine.timeout_s, after all retries") from None
        except openai.APIConnectionError as error:
            raise UnreachableError(f"connection_lost: {_what(error)}, after all retries") from None
        except openai.APIStatusError as error:
            return Generation(None, failure=_failure(error, request), prompt_tokens=len(request.prompt_ids))
        except (openai.OpenAIError, ValueError) as error:
            failure = f"bad_reply: {type(error).__name__}"
            return Generation(None, failure=failure, prompt_tokens=len(request.prompt_ids))
        return read_reply(reply.encode(), request, chat, self.is_vllm, tokenizer)


def _what(error: Exception) -> str:
    """An error without the server's own words, which may quote the record."""
    status = getattr(error, "status_code", None)
    if status is not None:
        return f"HTTP {status}"
    return type(error.__cause__ or error).__name__


def _failure(error: Any, request: Request) -> str:
    if error.status_code in (400, 413, 422) and _TOO_LONG.search(error.response.text):
        needed = len(request.prompt_ids) + request.max_tokens
        return f"prompt_too_long: {needed} tokens with the answer are more than the endpoint takes"
    return f"http_{error.status_code}: the endpoint refused, see its own log"
