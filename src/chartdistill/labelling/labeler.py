"""The steps of asking: gates, lists, checks, each for all records of a window.

The steps are a coroutine that hands out requests and is given their answers, so that several windows can go to the
engine in one call: the lists of one with the gates of the next.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

from chartdistill.engines import Generation, Generator, Request
from chartdistill.labelling.chunks import Chunk, chunks_of, merge_items
from chartdistill.labelling.constraint import constrained
from chartdistill.labelling.options import LabelOptions
from chartdistill.labelling.responses import (
    GATE_ANSWERS,
    Response,
    Steps,
    finish_reason_of,
    gate_of,
    pack_top_logprobs,
    was_cut,
)
from chartdistill.labelling.self_consistency import Sample, vote
from chartdistill.labelling.thinking import RETRY_FACTOR, Asked, Thinker, thinking_of, thought_row
from chartdistill.prompting.answer_format import NONE_FOUND, format_answer
from chartdistill.prompting.answer_logprobs import item_logprobs
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.schema import Item, ItemCheck, ItemVote, Label, Record, Task, ThoughtRow, content_hash

_CHOICE_TOKENS = 12
_QUOTE_TOKENS = 64

Pair = tuple[Record, Task]


class _Window:
    """Records that are being asked about."""

    def __init__(self, wanted: Sequence[Pair], steps: Steps[list[Label]]) -> None:
        self.wanted, self._steps = wanted, steps
        self.requests: list[Request] = []
        """That wait for an answer."""
        self.labels: list[Label] | None = None
        """When all is answered."""
        self._advance(lambda: next(steps))

    def go_on(self, answers: list[Generation]) -> None:
        """To the next requests, or to the labels."""
        if self.labels is None:
            self._advance(lambda: self._steps.send(answers))

    def _advance(self, step: Callable[[], list[Request]]) -> None:
        try:
            self.requests = step()
        except StopIteration as end:
            self.requests, self.labels = [], end.value


class Labeler:
    """Turns (record, task) pairs into labels with one engine.

    Args:
        builder: the teacher's prompts.
        asked_with: content hash of all else that determines an answer (model, system text, ...).
        template_options: those that `builder` was made with, for endpoints that make the prompts themselves.
    """

    def __init__(
        self,
        builder: PromptBuilder,
        tasks: Sequence[Task],
        options: LabelOptions,
        asked_with: str,
        template_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.tasks, self.options = tasks, options
        self._builder, self._template_options = builder, template_options
        self.num_example_tokens = builder.num_example_tokens
        """Tokens of worked examples, which an engine holds once for all records."""
        self.thinking = thinking_of(options, builder, template_options or {})
        """How the teacher thinks; None where it does not."""
        self._thoughts: dict[str, ThoughtRow] = {}
        self._thinker: Thinker | None = None
        thought = self.thinking.max_tokens // 4 if self.thinking else 0
        self._tokens_per_record = sum(
            len(builder.branch(question)) + options.max_answer_tokens // 4 + thought
            for task in tasks
            for question in (task.gate_question, task.extraction_question)
        )
        self._hash = {
            task.name: content_hash(asked_with, task.model_dump(), options.what_determines_an_answer(task.name))
            for task in tasks
        }

    def key(self, record: Record, task: Task) -> str:
        """Content hash of all that determines the label of this record and task."""
        return content_hash(self._hash[task.name], record.id, record.text)

    def num_tokens(self, record: Record) -> int:
        """Tokens an engine holds while it answers about a record: its own once, and every question with its answer."""
        return len(self._builder.prefix(record.text)) - self.num_example_tokens + self._tokens_per_record

    def ask(self, generator: Generator, wanted: Sequence[Pair]) -> list[Label]:
        """One label per pair, in order."""
        return [label for _, labels in self.ask_windows(generator, [wanted], in_flight=1) for label in labels]

    def ask_windows(
        self, generator: Generator, windows: Iterable[Sequence[Pair]], in_flight: int
    ) -> Iterator[tuple[Sequence[Pair], list[Label]]]:
        """Each window with its labels, one per pair, as soon as it is answered.

        Args:
            in_flight: windows that are asked together, each a step behind the one before. A step takes as long as its
                longest answer; with another window's step beside it, the engine has work meanwhile.
        """
        coming, running = iter(windows), list[_Window]()
        self._thinker = None if self.thinking is None else Thinker(self._builder, self.thinking, generator)
        while True:
            if len(running) < in_flight and (wanted := next(coming, None)) is not None:
                running.append(_Window(wanted, self._steps(wanted)))
            if not running:
                return
            requests = [request for window in running for request in window.requests]
            answers = iter(generator.generate(requests) if requests else [])
            for window in running:
                window.go_on(list(islice(answers, len(window.requests))))
                if window.labels is not None:
                    yield window.wanted, window.labels
            running = [window for window in running if window.labels is None]

    def _steps(self, wanted: Sequence[Pair]) -> Steps[list[Label]]:
        responses: list[list[Response]] = []
        prefixes: dict[str, list[tuple[Chunk, list[int]]]] = {}
        for record, task in wanted:
            if record.id not in prefixes:
                prefixes[record.id] = [(p, self._builder.prefix(p.text)) for p in self._chunks(record)]
            key = self.key(record, task)
            responses.append([Response(chunk, prefix, task, key) for chunk, prefix in prefixes[record.id]])
        flat = [response for group in responses for response in group]
        yield from self._ask_gates(flat)
        yield from self._ask_lists(flat)
        yield from self._ask_checks(flat)
        if self.thinking is not None and self.thinking.are_kept:
            self._note_thoughts(wanted, responses)
        return [self._label(pair, group) for pair, group in zip(wanted, responses, strict=True)]

    def take_thoughts(self) -> dict[str, ThoughtRow]:
        """Label key -> its thoughts, of the labels since the last call, where thoughts are kept."""
        taken, self._thoughts = self._thoughts, {}
        return taken

    def _note_thoughts(self, wanted: Sequence[Pair], responses: Sequence[Sequence[Response]]) -> None:
        for (record, task), group in zip(wanted, responses, strict=True):
            self._thoughts[group[0].key] = thought_row(group[0].key, record.id, task, group)

    def _chunks(self, record: Record) -> list[Chunk]:
        options = self.options
        return chunks_of(
            record, lambda text: len(self._builder.plain(text)), options.window_tokens, options.window_overlap_tokens
        )

    def _request(self, response: Response, question: str, max_tokens: int, choices: tuple[str, ...] = ()) -> Request:
        ids = [*response.prefix, *self._builder.branch(question)]
        return Request(
            ids,
            max_tokens,
            self._builder.end_id,
            choices,
            messages=self._builder.messages(response.chunk.text, question),
            template_options=self._template_options,
            in_thought=self._builder.cut.opens_thought is not None,
        )

    def _generate(self, asked: Sequence[Asked], again: bool = True) -> Steps[list[Generation]]:
        """Answers in order, each behind its thought where the teacher thinks.

        Args:
            again: one that was cut is asked once more with more room.
        """
        if self._thinker is None:
            return (yield from self._answer(asked, again))
        ready = yield from self._thinker.before(asked)
        requests = {i: request for i, request in enumerate(ready) if isinstance(request, Request)}
        failed = {i: failure for i, failure in enumerate(ready) if isinstance(failure, Generation)}
        answers = yield from self._answer([(asked[i][0], request) for i, request in requests.items()], again)
        for i, answer in zip(requests, answers, strict=True):
            self._thinker.keep(*asked[i], answer)
        given = failed | dict(zip(requests, answers, strict=True))
        return [given[i] for i in range(len(asked))]

    def _answer(self, asked: Sequence[Asked], again: bool) -> Steps[list[Generation]]:
        answers = yield from self._answer_once(asked)
        cut = [i for i, answer in enumerate(answers) if again and was_cut(answer)]
        more: list[Asked] = []
        for i in cut:
            response, request = asked[i]
            # A thought that nobody made room for needs some, however short the answer is.
            unasked = answers[i].failure is not None and self._thinker is None
            room = self.options.max_answer_tokens if unasked else request.max_tokens
            more.append((response, replace(request, max_tokens=room * RETRY_FACTOR)))
        for i, answer in zip(cut, (yield from self._answer_once(more)), strict=True):
            if answer.failure is None:
                answers[i] = answer
        return answers

    def _answer_once(self, asked: Sequence[Asked]) -> Steps[list[Generation]]:
        if not asked:
            return []
        answers = yield [request for _, request in asked]
        for (response, _), answer in zip(asked, answers, strict=True):
            response.count(answer)
        return answers

    def _ask_gates(self, responses: Sequence[Response]) -> Steps[None]:
        asked = [
            (response, self._request(response, response.task.gate_question, _CHOICE_TOKENS, GATE_ANSWERS))
            for response in responses
            if self.options.strategy_of(response.task.name) != "direct"
        ]
        for (response, _), answer in zip(asked, (yield from self._generate(asked)), strict=True):
            response.gate = answer
            if answer.failure:
                response.fail(answer.failure)
            elif answer.finish_reason == "length":
                response.fail("gate_cut: the gate answer did not end, also with more room")
            elif answer.text not in GATE_ANSWERS:
                response.fail("gate_unparsed: the gate answer is none of yes, no, unclear")

    def _ask_lists(self, responses: Sequence[Response]) -> Steps[None]:
        asked: list[tuple[Response, Request]] = []
        for response in responses:
            if response.failure is None and (response.gate is None or response.gate.text != "no"):
                asked += [(response, request) for request in self._list_requests(response)]
        for (response, _), answer in zip(asked, (yield from self._generate(asked)), strict=True):
            response.answers.append(answer)
        for response in responses:
            if response.answers and all(answer.failure for answer in response.answers):
                response.fail(str(response.answers[0].failure))

    def _list_requests(self, response: Response) -> list[Request]:
        """One request per sample."""
        options = self.options
        # After an unclear gate the question must leave room for "none"; only a clear no needs no second step.
        sure = response.gate is not None and response.gate.text == "yes"
        question = response.task.extraction_question if sure else response.task.question
        asked = self._request(response, question, options.max_answer_tokens)
        request = replace(
            constrained(asked, options.constrain, response.task, response.chunk.text),
            temperature=options.temperature,
            logprobs=options.confidence or options.samples > 1,
            top_logprobs=options.top_logprobs,
        )
        if not options.temperature:
            return [request]
        place = f"{response.key} {response.chunk.start} {options.seed}"
        return [replace(request, seed=zlib.crc32(f"{place} {i}".encode())) for i in range(options.samples)]

    def _ask_checks(self, responses: Sequence[Response]) -> Steps[None]:
        """Under `verify`: does each item hold, with which status, and which words say so?"""
        places: list[tuple[Response, Item]] = []
        for response in responses:
            if response.failure is None and self.options.strategy_of(response.task.name) == "verify":
                places += [(response, item) for item in self._vote(response)[0] or ()]
        verdicts = yield from self._check(places, "check", GATE_ANSWERS)
        held = [i for i, verdict in enumerate(verdicts) if verdict.text == "yes"]
        quotes = dict(zip(held, (yield from self._check([places[i] for i in held], "quote")), strict=True))
        with_status = [i for i in held if places[i][0].task.statuses]
        answered = yield from self._check([places[i] for i in with_status], "status")
        statuses = dict(zip(with_status, answered, strict=True))
        for i, ((response, item), verdict) in enumerate(zip(places, verdicts, strict=True)):
            answer = next((a for a in GATE_ANSWERS if a == verdict.text), None)
            if answer is None:
                response.fail(verdict.failure or "check_unparsed: the check's answer is none of yes, no, unclear")
                continue
            status = statuses[i].text if i in statuses else item.status
            checked = Item(text=item.text, status=status)
            response.checks.append(
                ItemCheck(
                    item=checked,
                    answer=answer,
                    quote=_quote(quotes[i]) if i in quotes else None,
                    listed_status=item.status if checked != item else None,
                    probability=verdict.probability,
                )
            )

    def _check(
        self,
        places: Sequence[tuple[Response, Item]],
        kind: Literal["check", "quote", "status"],
        choices: tuple[str, ...] = (),
    ) -> Steps[list[Generation]]:
        asked = []
        for response, item in places:
            question = response.task.item_question(kind, item)
            allowed = response.task.statuses if kind == "status" else choices
            room = _QUOTE_TOKENS if kind == "quote" else _CHOICE_TOKENS
            asked.append((response, self._request(response, question, room, allowed)))
        # The beginning of a quote is evidence enough, so it is not asked again.
        answers = yield from self._generate(asked, again=kind != "quote")
        for (response, _), answer in zip(asked, answers, strict=True):
            if answer.failure:
                response.fail(f"{kind}: {answer.failure}")
            elif answer.finish_reason == "length" and kind != "quote":
                response.fail(f"{kind}_cut: the answer did not end, also with more room")
        return answers

    def _vote(self, response: Response) -> tuple[tuple[Item, ...] | None, tuple[ItemVote, ...]]:
        samples = []
        for answer in response.answers:
            if answer.text is not None and answer.finish_reason != "length":
                asked, builder = response.task, self._builder
                found = item_logprobs(
                    answer.text, answer.token_ids, answer.logprobs, asked, builder.tokenizer, builder.end_id
                )
                samples.append(Sample(answer.text, found))
        return vote(samples, response.task)

    def _label(self, pair: Pair, responses: Sequence[Response]) -> Label:
        """Put the chunks of one record together."""
        record, task = pair
        failure = next((response.failure for response in responses if response.failure), None)
        answers = [answer for response in responses for answer in response.answers]
        votes = tuple(
            entry.model_copy(update={"item": response.renamed.get(entry.item, entry.item)})
            for response in responses
            for entry in self._vote(response)[1]
        )
        checks = tuple(check for response in responses for check in response.checks)
        scored = bool(answers) and (self.options.samples > 1 or self.options.confidence)
        first = answers[0] if answers else None
        return Label(
            key=responses[0].key,
            record=record.id,
            task=task.name,
            strategy=self.options.strategy_of(task.name),
            gate=gate_of(responses),
            completion=None if failure else self._completion(responses, task),
            finish_reason=None if failure else finish_reason_of(responses),
            failure=failure,
            votes=votes if scored and not failure else None,
            checks=checks if self.options.strategy_of(task.name) == "verify" and not failure else None,
            samples=tuple(a.text or "" for a in answers) if self.options.samples > 1 and answers else None,
            windows=tuple((r.chunk.start, r.chunk.end) for r in responses) if len(responses) > 1 else None,
            top_logprobs=pack_top_logprobs(first)
            if first is not None and len(responses) == 1 and not failure
            else None,
            prompts=sum(response.prompts for response in responses),
            prefix_tokens=sum(response.prompts * len(response.prefix) for response in responses),
            prompt_tokens=sum(response.prompt_tokens for response in responses),
            cached_tokens=sum(response.cached_tokens for response in responses),
            completion_tokens=sum(response.completion_tokens for response in responses),
            thought_tokens=sum(response.thought_tokens for response in responses),
            continued_tokens=sum(response.continued_tokens for response in responses),
        )

    def _completion(self, responses: Sequence[Response], task: Task) -> str:
        """What the teacher said, word for word where it said it once; otherwise the vote, merge or new statuses."""
        found: list[tuple[Item, ...]] = []
        changed = len(responses) > 1
        for response in responses:
            if not response.answers:
                found.append(())
                continue
            items, _ = self._vote(response)
            if items is None:
                said = [answer for answer in response.answers if answer.text is not None]
                # One that does not follow the format, not one that was cut: half an answer can read as a whole one.
                return str(min(said, key=lambda answer: answer.finish_reason == "length").text)
            changed |= len(response.answers) > 1 or bool(response.renamed)
            found.append(tuple(response.renamed.get(item, item) for item in items))
        answers = responses[0].answers
        if not changed and answers:
            return str(answers[0].text)
        return format_answer(merge_items(found, task)) if any(found) else NONE_FOUND


def _quote(answer: Generation) -> str | None:
    """What was quoted, without the word that a cut tore: it stands in no chart."""
    if answer.text is None or answer.finish_reason != "length":
        return answer.text
    return next(iter(answer.text.rsplit(maxsplit=1)), "")
