"""Teachers that think: the thought first, then the answer behind it, each with room of its own.

An engine that goes on from ids is asked twice. What it wrote until its thought was over becomes part of the second
prompt, so that gates, formats and spans hold the answer from its first token on, whatever the engine constrains with;
its prefix cache has computed all of that prompt but the last tokens. A chat server cannot go on within a turn: it is
asked once, with room for both, and tells the thought apart itself. Must hold: a thought that was cut, or that nothing
followed, is a failure that says so; its tokens are counted, also those of a thought that came to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from chartdistill.engines import Generation, Generator, Request
from chartdistill.engines.answers import THOUGHT_CUT, THOUGHT_ONLY, no_answer
from chartdistill.labelling.options import LabelOptions, ThinkingOptions
from chartdistill.labelling.responses import Response, Steps
from chartdistill.prompting.after_thought import ThoughtReader
from chartdistill.prompting.prompts import QUESTION_SEPARATOR, PromptBuilder
from chartdistill.schema import CUT, Task, Thought, ThoughtRow

RETRY_FACTOR = 4
"""Room of what was cut when it is asked again, in that of the first time."""
_TOLD = ("enable_thinking", "thinking")
"""Template options by which models are told to think."""

Asked = tuple[Response, Request]


def thinking_of(
    options: LabelOptions, builder: PromptBuilder | None, template_options: Mapping[str, Any]
) -> ThinkingOptions | None:
    """How a teacher thinks; None where it is not asked to.

    Args:
        builder: of its prompts; None where its template is not here.
    """
    told = any(template_options.get(name) is True for name in _TOLD)
    if options.thinking is not None or told or (builder is not None and builder.cut.opens_thought is not None):
        return options.thinking or ThinkingOptions()
    return None


class Thinker:
    """Asks for the thoughts of one teacher.

    Args:
        generator: the engine that will answer.
    """

    def __init__(self, builder: PromptBuilder, options: ThinkingOptions, generator: Generator) -> None:
        self._builder, self._options = builder, options
        self._reader = ThoughtReader(builder)
        self.in_one = not generator.continues
        """Thought and answer come together."""

    def before(self, asked: Sequence[Asked]) -> Steps[list[Request | Generation]]:
        """The requests as they are to be asked once their thoughts are thought; a failure for each that has none."""
        if not asked:
            return []
        if self.in_one:
            return [self._with_room(request) for _, request in asked]
        ready: list[Request | Generation] = [request for _, request in asked]
        missing, room = list(range(len(asked))), self._options.max_tokens
        for _ in range(2):
            thoughts = yield [self._thought_request(asked[i][1], room) for i in missing]
            for i, thought in zip(missing, thoughts, strict=True):
                found = self._behind(asked[i], thought)
                # More room may be more than the engine has; then it was cut all the same.
                if not (thought.failure is not None and isinstance(ready[i], Generation)):
                    ready[i] = found
            # What only repeats itself would do so with more room.
            cut = {i for i, thought in zip(missing, thoughts, strict=True) if thought.finish_reason == "length"}
            missing = [i for i in missing if i in cut and isinstance(ready[i], Generation)]
            room *= RETRY_FACTOR
            if not missing:
                break
        return ready

    def keep(self, response: Response, request: Request, answer: Generation) -> None:
        """Note the thought of an answer that came with it."""
        if answer.thought:
            tokens = answer.thought_tokens or len(self._builder.plain(answer.thought))
            response.thoughts.append(Thought(question=_question(response, request), text=answer.thought, tokens=tokens))
            response.thought_tokens += 0 if answer.thought_tokens else tokens

    def _with_room(self, request: Request) -> Request:
        return replace(request, max_tokens=request.max_tokens + self._options.max_tokens)

    def _thought_request(self, request: Request, room: int) -> Request:
        heat = self._options.temperature
        return replace(
            request,
            max_tokens=room,
            choices=(),
            pattern=None,
            spans=None,
            logprobs=False,
            top_logprobs=0,
            temperature=request.temperature if heat is None else heat,
            seed=0 if request.seed is None and heat else request.seed,
            in_thought=False,
            is_thought=True,
            ends_repetition=True,
            also_stop_ids=self._reader.stop_ids,
        )

    def _behind(self, asked: Asked, thought: Generation) -> Request | Generation:
        response, request = asked
        response.count(thought)
        if thought.failure is not None:
            return thought
        written = self._reader.read(thought.token_ids)
        if written.go_on == ():  # it answered at once
            return replace(request, in_thought=False)
        response.thought_tokens += thought.completion_tokens
        if written.go_on is None:
            return no_answer(THOUGHT_CUT if thought.finish_reason in CUT else THOUGHT_ONLY, thought)
        response.thoughts.append(
            Thought(question=_question(response, request), text=written.text, tokens=thought.completion_tokens)
        )
        response.continued_tokens += len(request.prompt_ids) - len(response.prefix) + len(written.go_on)
        return replace(request, prompt_ids=[*request.prompt_ids, *written.go_on], in_thought=False)


def _question(response: Response, request: Request) -> str:
    """What the last message asks of the chart."""
    said = request.messages[-1][1] if request.messages else ""
    return said.rpartition(response.chunk.text + QUESTION_SEPARATOR)[2]


def thought_row(key: str, record: str, task: Task, responses: Sequence[Response]) -> ThoughtRow:
    """What was thought for one label."""
    thoughts = tuple(thought for response in responses for thought in response.thoughts)
    return ThoughtRow(key=key, record=record, task=task.name, thoughts=thoughts)
