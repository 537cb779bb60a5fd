"""Chat completions of an open engine, as vLLM's own server gives them: `/v1/chat/completions` and `/v1/models`.

In: the JSON of a request. Out: JSON, or server-sent events. Must hold: only fields of the standard are taken, since
some of vLLM's own let one asker stop the engine for all or make it open an address; an error never quotes what was
asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from chartdistill.engines.vllm_async import AsyncVllm
from chartdistill.engines.vllm_engine import DIED
from chartdistill.errors import EngineError

FIELDS = frozenset(
    "model messages temperature top_p max_tokens max_completion_tokens n stop seed stream stream_options "
    "presence_penalty frequency_penalty logprobs top_logprobs user".split()
)
"""Of the standard's fields, those that are served."""
MOST_CHOICES = 8
_ROLES = ("system", "developer", "user", "assistant")


class ChatRefused(Exception):  # noqa: N818  # it says what the answer is
    """A request that is not as it should be. `status`: of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class ChatCompletions:
    """vLLM's chat endpoint over an engine that is open already. To be made and used in one event loop."""

    def __init__(self, engine: AsyncVllm, base_name: str, template_options: Mapping[str, Any]) -> None:
        from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
        from vllm.entrypoints.openai.models.protocol import BaseModelPath
        from vllm.entrypoints.openai.models.serving import OpenAIServingModels
        from vllm.renderers.online_renderer import OnlineRenderer

        self._engine, self._base_name = engine, base_name
        self._name: str = engine.adapter.lora_name
        client = engine.client
        # `base_name` is its path too: that of the folder says something of the machine.
        self._models = OpenAIServingModels(client, [BaseModelPath(name=base_name, model_path=base_name)])
        self._models.lora_requests[self._name] = engine.adapter
        renderer = OnlineRenderer(
            model_config=client.model_config,
            renderer=client.renderer,
            request_logger=None,
            chat_template=None,
            chat_template_content_format="auto",
            default_chat_template_kwargs=dict(template_options),
        )
        self._chat = OpenAIServingChat(
            client,
            self._models,
            "assistant",
            online_renderer=renderer,
            request_logger=None,
            chat_template=None,
            chat_template_content_format="auto",
            default_chat_template_kwargs=dict(template_options),
        )

    async def models(self) -> dict[str, Any]:
        """What `/v1/models` says: the student, and the model below its adapter."""
        listed = (await self._models.show_available_models()).model_dump()
        for card in listed["data"]:
            card["root"] = card["id"]
        listed["data"].sort(key=lambda card: card["id"] != self._name)
        return dict(listed)

    async def complete(self, asked: Any) -> dict[str, Any] | AsyncIterator[str]:
        """The whole answer, or where `stream` is true the lines of an event stream.

        Raises:
            ChatRefused: what was asked is not as it should be.
            EngineError: the engine is dead.
        """
        from pydantic import ValidationError
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.entrypoints.serve.engine.protocol import ErrorResponse
        from vllm.exceptions import VLLMError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        values = self._checked(asked)
        try:
            request = ChatCompletionRequest.model_validate(values)
            given = await self._chat.create_chat_completion(request)
        except ValidationError as error:
            fields = {str(fault["loc"][0]) for fault in error.errors(include_input=False) if fault["loc"]} & FIELDS
            raise ChatRefused(
                422, f"not as the standard has it: {', '.join(sorted(fields)) or 'the request'}"
            ) from None
        except (EngineDeadError, EngineGenerateError) as error:
            if self._engine.is_dead:
                raise EngineError(DIED) from error
            raise ChatRefused(500, "vLLM failed at the request") from None
        except VLLMError as error:
            raise ChatRefused(400, _unquoted(str(error), values)) from None
        except (ValueError, TypeError, OverflowError) as error:
            raise ChatRefused(400, f"vLLM refused the request ({type(error).__name__})") from None
        if isinstance(given, ErrorResponse):
            if self._engine.is_dead:
                raise EngineError(DIED)
            raise ChatRefused(int(given.error.code), _unquoted(given.error.message, values))
        if request.stream:
            stream: AsyncIterator[str] = given
            return stream
        return dict(given.model_dump())

    def _checked(self, asked: Any) -> dict[str, Any]:
        if not isinstance(asked, dict):
            raise ChatRefused(422, "the body must be a JSON object with `messages`")
        if set(asked) - FIELDS:
            raise ChatRefused(422, f"a field that is not served; those that are: {', '.join(sorted(FIELDS))}")
        if asked.setdefault("model", self._name) not in (self._name, self._base_name):
            raise ChatRefused(404, f"no such model; there are {self._name} (the student) and {self._base_name}")
        if not _is_text(asked.get("messages")):
            raise ChatRefused(
                422, f"`messages` must be a list of {{role, content}}: a role of {', '.join(_ROLES)}, and text"
            )
        choices = 1 if asked.get("n") is None else asked["n"]
        if type(choices) is not int or not 1 <= choices <= MOST_CHOICES:
            raise ChatRefused(422, f"`n` must be a whole number from 1 to {MOST_CHOICES}")
        return asked


def num_choices(asked: Any) -> int:
    """Answers that a request asks for, as far as it can be read."""
    wanted = asked.get("n") if isinstance(asked, dict) else None
    return wanted if type(wanted) is int and 1 <= wanted <= MOST_CHOICES else 1


def _is_text(messages: Any) -> bool:
    """No images or sounds: of those an address would be opened."""
    if not isinstance(messages, list) or not messages:
        return False
    for message in messages:
        if not isinstance(message, dict) or set(message) != {"role", "content"} or message["role"] not in _ROLES:
            return False
        content = message["content"]
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        for part in parts:
            if not isinstance(part, dict) or set(part) != {"type", "text"} or part["type"] != "text":
                return False
            if not isinstance(part["text"], str):
                return False
    return True


def _unquoted(message: str, values: Mapping[str, Any]) -> str:
    """vLLM's words, unless they hold what was asked."""
    texts = [
        part["text"] if isinstance(part, dict) else part
        for message in values["messages"]
        for part in (message["content"] if isinstance(message["content"], list) else [message["content"]])
    ]
    said = [line for text in texts for line in str(text).splitlines() if line.strip()]
    return "vLLM refused the request" if any(line in message for line in said) else message
