"""The forms of exported fine-tuning files: one parsed JSON line -> the prompt that was asked and the answer taught.

Read: `prompt` and `completion` (OpenAI, TRL) and their synonyms; chat `messages` (OpenAI, Hugging Face, Anthropic),
`conversations` (ShareGPT), `contents` (Gemini); instructions with their input (Alpaca, Dolly). A content may be a text
or a list of text parts. Named and not read: preference pairs, several answers in one line, tool calls, images.

What a file puts behind every prompt and every completion ("\\n\\n###\\n\\n", " ->", " END", "<|endoftext|>") is no
part of them. :class:`Endings` learns it from the whole file: a word is an ending where (nearly) all lines end with it,
and else a word. Must hold: pure; an error never holds a record's text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chartdistill.clinical.entities import asked_for
from chartdistill.records.annotations.question_place import with_question_of

_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("input", "output"),
    ("question", "answer"),
    ("query", "response"),
)
_INSTRUCTIONS = (
    ("instruction", "input", "output"),
    ("instruction", "context", "response"),
    ("instruction", "", "output"),
    ("instruction", "", "response"),
)
_CHATS = ("messages", "conversations", "conversation", "contents", "dialog")
_ROLES = {
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "system": "system", "developer": "system",
}  # fmt: skip
_CHOICES = ("chosen", "rejected", "preferred_output", "non_preferred_output")
_FORMS = "`prompt` and `completion`, `messages`, `conversations`, or `instruction`, `input` and `output`"


def prompt_and_completion(values: Any) -> tuple[str, str]:
    """What a line asks (chart and question, in either order) and what it teaches to answer.

    Raises:
        ValueError: what is missing or not understood; never with the record's text.
    """
    if not isinstance(values, dict):
        raise ValueError(f"the line holds a JSON {type(values).__name__}, not an object")
    if choice := next((key for key in _CHOICES if key in values), None):
        raise ValueError(f"`{choice}`: a preference pair has two answers to one prompt; give lines with the chosen one")
    chat = next((key for key in _CHATS if key in values), None)
    if chat is not None:
        system = _instructions(values)
        return _from_chat(values[chat], chat, system)
    for instruction, given, taught in _INSTRUCTIONS:
        if instruction in values and taught in values and (not given or given in values):
            asked, record = _text(values, instruction), _text(values, given) if given and values[given] else ""
            return (f"{record.rstrip()}\n\n{asked.strip()}" if record.strip() else asked), _text(values, taught)
    asked_by, taught = next((pair for pair in _PAIRS if all(key in values for key in pair)), _PAIRS[0])
    if isinstance(values.get(asked_by), list) and isinstance(values.get(taught), list):
        return _from_chat([*values[asked_by], *values[taught]], asked_by, "")
    return _text(values, asked_by), _text(values, taught)


def _instructions(values: Mapping[str, Any]) -> str:
    """What stands beside the messages as system text."""
    given = next((values[key] for key in ("system", "systemInstruction", "system_instruction") if values.get(key)), "")
    return _content(given.get("parts", given.get("content")) if isinstance(given, dict) else given)


def _text(values: Mapping[str, Any], key: str) -> str:
    if not isinstance(values.get(key), str):
        raise ValueError(f"`{key}` is missing or is not a text; a line needs {_FORMS}")
    return str(values[key])


@dataclass(frozen=True, slots=True)
class _Turn:
    role: str
    text: str
    taught: bool
    """Whether its loss counts: `weight` is not 0."""


def _from_chat(messages: Any, key: str, system: str) -> tuple[str, str]:
    turns = _turns(messages, key)
    answers = [at for at, turn in enumerate(turns) if turn.role == "assistant" and turn.taught]
    if not answers:
        unpaid = any(turn.role == "assistant" for turn in turns)
        why = "has weight 0 in all its answers, so that nothing is learned" if unpaid else "has no answer"
        raise ValueError(
            f"`{key}` {why}; it must hold one with role `user` and one with role `assistant`, each with text"
        )
    if len(answers) > 1:
        raise ValueError(
            f"`{key}` holds {len(answers)} answers; write each with its chart and question in a line of its own"
        )
    before = [turn for turn in turns[: answers[0]] if turn.role == "user"]
    if not before:
        raise ValueError(f"`{key}` must hold one with role `user` and one with role `assistant`, each with text")
    instructions = "\n\n".join([system, *(turn.text for turn in turns if turn.role == "system")]).strip()
    return with_question_of(_with_chart([turn.text for turn in before]), instructions), turns[answers[0]].text


def _with_chart(asked: list[str]) -> str:
    """The last question, with the chart of the first one before it where it has none itself."""
    last = asked[-1].strip()
    if len(asked) == 1 or "\n\n" in last or asked_for(last) is None:
        return asked[-1]
    record, _, question = asked[0].rstrip().rpartition("\n\n")
    return f"{record if record and asked_for(question) else asked[0].rstrip()}\n\n{last}"


def _turns(messages: Any, key: str) -> list[_Turn]:
    turns = []
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, dict):
            raise ValueError(f"`{key}` holds a {type(message).__name__}, not an object with role and content")
        said = str(message.get("role", message.get("from", ""))).casefold()
        if said not in _ROLES:
            raise ValueError(f"`{key}` holds the role {said[:20]!r}; known are {', '.join(sorted(_ROLES))}")
        content = next((message[name] for name in ("content", "value", "parts", "text") if name in message), None)
        if message.get("tool_calls") or message.get("function_call"):
            raise ValueError(f"`{key}` holds a tool call; only answers in words can be judged")
        turns.append(_Turn(_ROLES[said], _content(content), message.get("weight", 1) != 0))
    return turns


def _content(content: Any) -> str:
    """A text, or the texts of a list of parts, one after another."""
    if isinstance(content, str):
        return content
    texts = []
    for part in content if isinstance(content, list) and content else [None]:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            kind = part.get("type", "unknown") if isinstance(part, dict) else type(part).__name__
            raise ValueError(f"a content has a part of type {str(kind)[:20]!r}; only texts can be judged")
        texts.append(text)
    return "".join(texts)


_WORDS = r"(?:END|STOP|DONE|EOS|EOT|EOF|FIN|FINISH|FINISHED|COMPLETE|OVER)"
_CERTAIN = (
    r"(?:<[|\uff5c][^<>]{1,40}[|\uff5c]>|</?(?:s|end|eos|eot|stop|sep|answer)>|\[/?(?:INST|END|EOS|EOT|STOP|SEP|DONE)\]"
    r"|[-=~]+>|[#=*~@$|\u2192-]{2,}|[\u2192\u00b6])"
)
"""Marks that no chart or answer ends with."""
_MARK = re.compile(
    rf"(?:\s|\\n)*(?:{_CERTAIN}\s*(?:{_WORDS}\s*{_CERTAIN})?|<[\w/ -]{{1,30}}>|(?<=\s)(?<!\|\s){_WORDS})(?:\s|\\n)*$"
)
_SURE = re.compile(rf"(?:{_CERTAIN}|{_WORDS}(?=\s*{_CERTAIN})|\s)+", re.IGNORECASE)
_LEAD = re.compile(
    r"\s*\n(?:#{1,4}\s*)?(?:answer|response|output|completion|assistant|a|result)\s*:?\s*$|\s+answer:\s*$",
    re.IGNORECASE,
)
"""What a prompt ends with that only leads over to the answer."""
_MAX_MARK = 80
_MIN_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Endings:
    """What a file puts behind its prompts and its completions; empty where it has no such thing."""

    prompt: str = ""
    completion: str = ""

    @classmethod
    def of(cls, lines: Iterable[tuple[str, str]]) -> Endings:
        """Learned from all (prompt, completion) of a file: what at least 9 of 10 end with, or all but one."""
        prompts: Counter[str] = Counter()
        completions: Counter[str] = Counter()
        for prompt, completion in lines:
            prompts[_ending(prompt)] += 1
            completions[_ending(completion)] += 1
        prompt, completion = _common(prompts), _common(completions)
        if completions.total() == 1 and not prompt and not _SURE.fullmatch(completion):
            completion = ""  # one line proves nothing of a word
        return cls(prompt, completion)

    def without(self, prompt: str, completion: str) -> tuple[str, str]:
        """A prompt and a completion without the file's endings, and without what only leads over to the answer."""
        if self.prompt:
            prompt = prompt.rstrip().removesuffix(self.prompt).rstrip()
        if self.completion:
            completion = completion.rstrip().removesuffix(self.completion)
        tail = prompt[-_MAX_MARK:]
        return prompt[: len(prompt) - len(tail)] + _LEAD.sub("", tail), completion


NO_ENDINGS = Endings()


def _ending(text: str) -> str:
    """The mark at a text's end, without white space around it; empty where there is none."""
    tail = rest = text.rstrip()[-_MAX_MARK:]
    while match := _MARK.search(rest):
        rest = rest[: match.start()].rstrip()
    return tail[len(rest) :].strip()


def _common(endings: Counter[str]) -> str:
    if not endings:
        return ""
    ending, number = endings.most_common(1)[0]
    lacking = endings.total() - number
    return ending if lacking <= (1 - _MIN_SHARE) * endings.total() or (lacking == 1 and number > 1) else ""
