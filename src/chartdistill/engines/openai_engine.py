"""Any endpoint that speaks the OpenAI protocol: running ones, or a `vllm serve` that we start and stop."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from chartdistill.engines.contract import Generation, Generator, Request, Told, refuse_constrained_thought, too_long
from chartdistill.engines.endpoint import Endpoint, UnreachableError
from chartdistill.engines.routing import Router
from chartdistill.engines.vllm_engine import VllmEngine
from chartdistill.errors import ConfigError, EngineError
from chartdistill.runtime import privacy
from chartdistill.runtime.model_folder import load_tokenizer

_COMMON_CONTROL = (
    r"<\|[^\s|<>]{1,40}\|>",  # ChatML, Llama 3, Phi, GLM, Granite, harmony
    r"<｜[^｜<>]{1,40}｜>",  # DeepSeek
    r"</?(?:start|end)_of_turn>",  # Gemma
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS)\]",  # Mistral
    r"<</?SYS>>",  # Llama 2
)


_NO_SPANS = "an endpoint takes no `spans`, words of the chart: use engine vllm or transformers."


class OpenAIEngine(BaseModel):
    """Options of an engine that asks OpenAI-compatible endpoints.

    A vLLM server takes token ids, constrains answers and reports raw log-probabilities, as engine `vllm` does. Another
    server gets the standard's own fields only: an answer that breaks `choices` or `pattern` is then a failure, and
    its log-probabilities are whatever that server reports.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["openai"] = "openai"
    urls: tuple[str, ...] = ()
    """Running endpoints, for example http://127.0.0.1:8000/v1. All are used at once and must serve the same model.
    None: `vllm serve` is started on this machine with the options in `serve`, and stopped at the end."""
    model_name: str | None = None
    """As the endpoints call it; None: the only one they have."""
    api: Literal["completions", "chat"] = "completions"
    """completions sends our token ids. chat sends messages, which the endpoint's own template makes a prompt of; a vLLM
    server is told the model's `template_options` with them, which the standard has no field for. A chart that spells
    control tokens is a failure `control_tokens` with chat."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; never the key itself."""
    timeout_s: float = Field(default=600, gt=0)
    """For one answer."""
    max_retries: int = Field(default=5, ge=0)
    """After a lost connection, a timeout, 408, 409, 429, 5xx; after 0.5 s, doubling to 8 s, or as Retry-After says."""
    concurrency: int = Field(default=64, ge=1)
    """Requests in flight per endpoint."""
    is_vllm: bool | None = None
    """Whether the endpoints are vLLM servers; None: ask them."""
    extra_body: dict[str, Any] = {}
    """Added to every request, for example {top_p: 0.9}; replaces what we would send under the same name."""
    serve: VllmEngine = VllmEngine()
    """Options of the server that is started when there are no `urls`."""
    start_timeout_s: float = Field(default=900, gt=0)
    """For that server's start."""
    server_log: Path | None = None
    """File for what that server writes, relative to the current folder; None: shown only if it does not start."""

    @field_validator("urls")
    @classmethod
    def _urls_are_plain(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{url!r} is not a URL such as http://127.0.0.1:8000/v1")
            if parts.username or parts.query:
                raise ValueError("a URL must hold no password or key, it is written to manifests; use api_key_env")
        if len(set(urls)) < len(urls):
            raise ValueError("an endpoint is named twice")
        return tuple(url.rstrip("/") for url in urls)

    takes_spans: ClassVar[bool] = False

    @property
    def makes_prompts(self) -> bool:
        """Whether the endpoint makes the prompt of messages, with its own template."""
        return self.api == "chat"

    @property
    def constrains_from_start(self) -> bool:
        """Whether an answer is held to its constraint from the first token; False where the endpoint must say."""
        return not self.makes_prompts and (not self.urls or bool(self.is_vllm))

    def refuses_adapter(self, rank: int, use_dora: bool) -> str | None:
        """Of the server that is started here."""
        return self.serve.refuses_adapter(rank, use_dora)

    def what_determines_an_answer(self) -> dict[str, Any]:
        """The options on which answers depend. Which host answers does not count, what it serves does."""
        own = self.serve.what_determines_an_answer() if not self.urls else {"model_name": self.model_name}
        return {**own, "api": self.api, "extra_body": self.extra_body}

    @contextmanager
    def open(self, model: Path, lora_rank: int | None = None, with_spans: bool = False) -> Iterator[Generator]:
        """Connect to the endpoints, or start one.

        Args:
            model: a checked model folder. Running endpoints need its tokenizer only.
            lora_rank: the rank of the adapters that `generate` will be given; only a server of ours can load them.

        Raises:
            PrivacyError: a host that `privacy.allowed_hosts` does not name.
            ConfigError: no such key variable, not exactly one model to ask, or spans are wanted.
            EngineError: an endpoint is not up, or the server did not start.
        """
        if with_spans:
            raise ConfigError(_NO_SPANS)
        for url in self.urls:
            privacy.check_host(urlsplit(url).hostname or "")
        if self.urls and lora_rank is not None:
            raise EngineError(
                f"{self.urls[0]} is a running endpoint, and adapters can only be given to a server that is started "
                "here. Leave out `urls`, use engine `vllm`, or serve the adapter there and name it in `model_name`."
            )
        key = self._key()
        with ExitStack() as stack:
            addresses: tuple[str, ...] = self.urls
            if not addresses:
                from chartdistill.engines.vllm_server import serve

                server = stack.enter_context(serve(self.serve, model, lora_rank, self.start_timeout_s, self.server_log))
                addresses, key = (server.url,), server.api_key
            _keep_clients_quiet()
            # One event loop for the life of the engine, so that connections are kept.
            runner = stack.enter_context(asyncio.Runner())
            endpoints = [Endpoint(url, key, self.timeout_s, self.max_retries, self.concurrency) for url in addresses]
            try:
                runner.run(_connect(endpoints, self.model_name, self.is_vllm))
                yield _OpenAIGenerator(runner, endpoints, self, model)
            finally:
                runner.run(_close(endpoints))

    def ask_name(self, timeout_s: float = 10.0) -> str:
        """The name of the one model that the running endpoints serve; they are sent no prompt.

        Raises:
            ConfigError, EngineError: as `open`.
        """
        _keep_clients_quiet()
        endpoints = [Endpoint(url, self._key(), timeout_s, 0, 1) for url in self.urls]
        with asyncio.Runner() as runner:
            try:
                runner.run(_connect(endpoints, self.model_name, self.is_vllm))
            finally:
                runner.run(_close(endpoints))
        return endpoints[0].model_name

    def _key(self) -> str:
        if self.api_key_env is None:
            return "none"
        key = os.environ.get(self.api_key_env)
        if not key:
            raise ConfigError(
                f"api_key_env: the environment variable {self.api_key_env!r} is not set. Export it first."
            )
        return key


def _keep_clients_quiet() -> None:
    """At level DEBUG the client logs whole prompts."""
    import openai  # noqa: F401  (it sets its own level when it is imported)

    for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)


async def _connect(endpoints: Sequence[Endpoint], model_name: str | None, is_vllm: bool | None) -> None:
    await asyncio.gather(*(endpoint.connect(model_name, is_vllm) for endpoint in endpoints))
    names = {endpoint.model_name for endpoint in endpoints}
    if len(names) > 1:
        raise ConfigError(f"the endpoints serve different models: {', '.join(sorted(names))}. Set engine.model_name.")


async def _close(endpoints: Sequence[Endpoint]) -> None:
    await asyncio.gather(*(endpoint.close() for endpoint in endpoints))


class _OpenAIGenerator:
    def __init__(self, runner: asyncio.Runner, endpoints: list[Endpoint], options: OpenAIEngine, folder: Path) -> None:
        self._runner, self._options, self._folder = runner, options, folder
        self._endpoints = {endpoint.url: endpoint for endpoint in endpoints}
        self._router = Router(list(self._endpoints))
        self._last_words = ""
        known = [endpoint.longest for endpoint in endpoints if endpoint.longest is not None]
        self._longest = min(known, default=None)
        sizes = [endpoint.cache_tokens for endpoint in endpoints]
        self.cache_tokens: int | None = sum(s for s in sizes if s is not None) if None not in sizes else None

    @property
    def continues(self) -> bool:
        """With token ids, of vLLM servers only: others take no constraint, and chat ends each turn."""
        return not self._chat and all(endpoint.is_vllm for endpoint in self._endpoints.values())

    def generate(
        self, requests: Sequence[Request], adapter: Path | None = None, told: Told | None = None
    ) -> list[Generation]:
        for request in requests:
            self._check(request)
        answers = [self._unsafe(request) for request in requests]
        if self._longest is not None:
            answers = [answer or too_long(r, self._longest) for answer, r in zip(answers, requests, strict=True)]
        asked = [number for number, answer in enumerate(answers) if answer is None]
        given = self._runner.run(self._ask_all([requests[i] for i in asked], adapter, told))
        for i, answer in zip(asked, given, strict=True):
            answers[i] = answer
        return [answer for answer in answers if answer is not None]

    def _check(self, request: Request) -> None:
        if request.spans is not None:
            raise ConfigError(_NO_SPANS)
        if self._options.api == "chat" and request.messages is None:
            raise ConfigError("engine.api is `chat`, but this request has no messages. Use `api: completions`.")
        for endpoint in self._endpoints.values():
            if request.top_logprobs and not endpoint.is_vllm:
                raise ConfigError(
                    f"top_logprobs needs token ids, which {endpoint.url} does not give: it is not a vLLM server. Ask "
                    "for none, or set engine.is_vllm: true if it is one behind a proxy."
                )
            if endpoint.is_vllm and not self._chat:
                refuse_constrained_thought([request])

    def _unsafe(self, request: Request) -> Generation | None:
        """The failure of a chat request whose text spells control tokens: the endpoint's tokenizer would make them so,
        and a chart could end its turn and begin another. As token ids they stay text."""
        if not self._chat:
            return None
        texts = [content for role, content in request.messages or () if role == "user"]
        spelled = sorted({token for text in texts for token in self._control_spellings.findall(text)})
        if not spelled:
            return None
        failure = (
            f"control_tokens: the chart spells {', '.join(spelled[:5])}, which a chat endpoint would take for "
            "control tokens; use engine.api: completions, which sends token ids, or take it out of the chart"
        )
        return Generation(None, failure=failure, prompt_tokens=len(request.prompt_ids))

    async def _ask_all(self, requests: list[Request], adapter: Path | None, told: Told | None) -> list[Generation]:
        name = None
        if adapter is not None:
            [endpoint] = self._endpoints.values()
            name = await endpoint.load_adapter(adapter)
        self._router.learn_shared([request.prompt_ids for request in requests])
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(r, self._place(r), name)) for r in requests]
                if told is not None:
                    for count, one in enumerate(asyncio.as_completed(tasks), 1):
                        await one
                        told(count)
        except* EngineError as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    def _place(self, request: Request) -> Endpoint:
        if not self._router.alive:
            raise EngineError(
                f"no endpoint answers any more: {', '.join(self._endpoints)} ({self._last_words}). Work that was "
                "finished before is kept. Start the server again (its own log, or the file engine.server_log, "
                "says why it stopped) and run the same command again."
            )
        return self._endpoints[self._router.route(request.prompt_ids)]

    async def _ask(self, request: Request, endpoint: Endpoint, model_name: str | None) -> Generation:
        while True:
            async with endpoint.free:
                if endpoint.url in self._router.alive:
                    try:
                        body = self._body(request, endpoint)
                        return await endpoint.ask(request, body, self._chat, model_name, lambda: self._tokenizer)
                    except UnreachableError as error:
                        if await endpoint.is_up():
                            return Generation(None, failure=str(error), prompt_tokens=len(request.prompt_ids))
                        self._last_words = str(error)
                        self._router.drop(endpoint.url)
            endpoint = self._place(request)

    @property
    def _chat(self) -> bool:
        return self._options.api == "chat"

    def _body(self, request: Request, endpoint: Endpoint) -> dict[str, Any]:
        """The JSON of a request, but for the model's name."""
        body: dict[str, Any] = {"max_tokens": request.max_tokens, "temperature": request.temperature}
        if request.seed is not None:
            body["seed"] = request.seed
        if self._chat:
            body["messages"] = [{"role": role, "content": content} for role, content in request.messages or ()]
        else:
            body["prompt"] = list(request.prompt_ids)
        if request.logprobs or request.top_logprobs or request.choices:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs} if self._chat else {}
            body |= {} if self._chat else {"logprobs": request.top_logprobs}
        if endpoint.is_vllm:
            body |= {
                "stop_token_ids": [request.stop_id, *request.also_stop_ids],
                "return_token_ids": True,
                "return_tokens_as_token_ids": True,
            }
            if request.constraint is not None:
                body["structured_outputs"] = {"regex": request.constraint}
            if self._chat and request.template_options:
                body["chat_template_kwargs"] = dict(request.template_options)
        elif not self._chat:
            body["stop"] = self._spelling(request.stop_id)
        return body | self._options.extra_body

    def _spelling(self, token_id: int) -> str:
        return str(self._tokenizer.decode([token_id]))

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self._folder)

    @cached_property
    def _control_spellings(self) -> re.Pattern[str]:
        """Of this model's control tokens, and of the forms that others have, should the endpoint serve another."""
        tokenizer = self._tokenizer
        special = {str(t.content) for t in tokenizer.added_tokens_decoder.values() if t.special}
        own = {token for token in special.union(tokenizer.all_special_tokens) if len(token.strip()) > 1}
        return re.compile("|".join([*map(re.escape, sorted(own, key=len, reverse=True)), *_COMMON_CONTROL]))
