"""The strategies put together, with hand-made answers as oracle: what is asked, in which order, and what is kept."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from chartdistill.config import load_task
from chartdistill.curation.filters import Verification
from chartdistill.engines import Generation, Request
from chartdistill.labelling import Labeler, LabelOptions
from chartdistill.prompting.answer_format import NONE_FOUND, parse_answer
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.schema import Record
from places import ROOT

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")
TESTS = load_task(ROOT / "configs/tasks/tests.yaml")


def record(text: str) -> Record:
    return Record(id="r1", source="made up", text=text, cluster="c", split="train", segments=())


class Script:
    """An engine whose answers are a function of the question: the oracle of the strategies' bookkeeping."""

    cache_tokens = None

    def __init__(self, builder: PromptBuilder, answer: Callable[[str, str, Request], str | Generation]) -> None:
        self._builder, self._answer = builder, answer
        self.asked: list[str] = []

    def generate(self, requests: Sequence[Request], adapter: Path | None = None) -> list[Generation]:
        given = []
        for request in requests:
            assert request.messages is not None
            chart, _, question = request.messages[1][1].rpartition("\n\n")
            assert list(request.prompt_ids) == self._builder.prompt(chart, question)
            self.asked.append(question)
            answer = self._answer(chart, question, request)
            if isinstance(answer, str):
                assert not request.choices or answer in request.choices
                ids = (*self._builder.plain(answer), self._builder.end_id)
                logprobs = (-0.5,) * len(ids) if request.logprobs else None
                answer = Generation(answer, "stop", probability=0.9, prompt_tokens=10, token_ids=ids, logprobs=logprobs)
            given.append(answer)
        return given


@pytest.fixture(scope="module")
def builder(tokenizer_folder: Path) -> PromptBuilder:
    return PromptBuilder.from_tokenizer(load_tokenizer(tokenizer_folder), "Answer.")


CHART = "Start Velorim 5 mg daily. Hold Dormax. His sister takes Quilane."


def test_verify_asks_about_each_item_and_corrects_its_status(builder: PromptBuilder) -> None:
    def answer(chart: str, question: str, request: Request) -> str:
        if question == MEDICATION.gate_question:
            return "yes"
        if question == MEDICATION.extraction_question:
            return "Velorim | start\nDormax | stop\nQuilane | continue"
        name = next(name for name in ("Velorim", "Dormax", "Quilane") if f'"{name}"' in question)
        if question.startswith("Is"):
            return "no" if name == "Quilane" else "yes"
        if question.startswith("Quote"):
            return {"Velorim": "Start Velorim 5 mg daily", "Dormax": "Hold Dormax"}[name]
        return {"Velorim": "start", "Dormax": "hold"}[name]

    engine = Script(builder, answer)
    labeler = Labeler(builder, [MEDICATION], LabelOptions(strategy="verify"), "x")
    (label,) = labeler.ask(engine, [(record(CHART), MEDICATION)])
    assert label.completion == "Velorim | start\nDormax | hold\nQuilane | continue"
    assert label.checks is not None
    assert [(c.item.text, c.answer, c.quote, c.listed_status) for c in label.checks] == [
        ("Velorim", "yes", "Start Velorim 5 mg daily", None),
        ("Dormax", "yes", "Hold Dormax", "stop"),
        ("Quilane", "no", None, None),
    ]
    assert {check.item for check in label.checks} == set(parse_answer(label.completion, MEDICATION) or ())
    assert label.prompts == len(engine.asked) == 2 + 3 + 2 + 2
    assert label.prefix_tokens == label.prompts * len(builder.prefix(CHART))


def test_strategies_go_by_task_and_a_gate_no_ends_the_chain(builder: PromptBuilder) -> None:
    engine = Script(builder, lambda chart, question, request: "no" if request.choices else "CBC")
    options = LabelOptions(strategy="chain", strategy_by_task={"tests": "direct"})
    labels = Labeler(builder, [MEDICATION, TESTS], options, "x").ask(
        engine, [(record(CHART), MEDICATION), (record(CHART), TESTS)]
    )
    assert [label.strategy for label in labels] == ["chain", "direct"]
    assert labels[0].completion == NONE_FOUND and labels[0].finish_reason is None
    assert labels[1].completion == "CBC" and labels[1].gate is None
    assert engine.asked == [MEDICATION.gate_question, TESTS.question]


def test_samples_have_their_own_seeds_and_are_kept(builder: PromptBuilder) -> None:
    seeds: list[int | None] = []

    def answer(chart: str, question: str, request: Request) -> str | Generation:
        seeds.append(request.seed)
        if len(seeds) == 3:
            return Generation(None, failure="http 500")
        return "CBC" if len(seeds) % 2 else "CBC\nBMP"

    options = LabelOptions(strategy="direct", samples=4, temperature=0.7)
    (label,) = Labeler(builder, [TESTS], options, "x").ask(Script(builder, answer), [(record(CHART), TESTS)])
    assert len(set(seeds)) == 4 and None not in seeds
    assert label.samples == ("CBC", "CBC\nBMP", "", "CBC\nBMP")
    assert label.completion == "CBC\nBMP"
    assert label.votes is not None and [(v.support, v.samples) for v in label.votes] == [(3, 3), (2, 3)]


def test_one_failed_part_fails_the_label(builder: PromptBuilder) -> None:
    def answer(chart: str, question: str, request: Request) -> str | Generation:
        return "CBC" if "Velorim" in chart else Generation(None, failure="http 500: overloaded")

    options = LabelOptions(strategy="direct", window_tokens=32, window_overlap_tokens=0)
    long = record("Start Velorim 5 mg daily for the pain in the knee. " * 3 + "\nNothing else to say here at all. " * 6)
    (label,) = Labeler(builder, [TESTS], options, "x").ask(Script(builder, answer), [(long, TESTS)])
    assert label.completion is None and label.failure == "http 500: overloaded"


def test_a_long_record_is_read_in_passages_and_merged(builder: PromptBuilder) -> None:
    def answer(chart: str, question: str, request: Request) -> str:
        found = [name for name in ("Velorim", "Dormax") if name in chart]
        if request.choices:
            return "yes" if found else "no"
        return "\n".join(f"{name} | start" for name in found)

    text = "Start Velorim. " + "The lungs are clear and the heart is regular. " * 12 + "Start Dormax."
    options = LabelOptions(window_tokens=60, window_overlap_tokens=10)
    (label,) = Labeler(builder, [MEDICATION], options, "x").ask(Script(builder, answer), [(record(text), MEDICATION)])
    assert label.completion == "Velorim | start\nDormax | start"
    assert label.windows is not None and len(label.windows) > 2
    assert label.windows[0][0] == 0 and label.windows[-1][1] == len(text)
    assert label.gate is not None and label.gate.answer == "yes"


def test_a_cut_answer_is_asked_again_with_more_room(builder: PromptBuilder) -> None:
    rooms: list[int] = []

    def answer(chart: str, question: str, request: Request) -> str | Generation:
        rooms.append(request.max_tokens)
        return Generation("CBC", "length") if len(rooms) == 1 else "CBC\nBMP"

    options = LabelOptions(strategy="direct", max_answer_tokens=16)
    (label,) = Labeler(builder, [TESTS], options, "x").ask(Script(builder, answer), [(record(CHART), TESTS)])
    assert rooms == [16, 64] and label.completion == "CBC\nBMP" and label.finish_reason == "stop"


def test_every_kind_of_answer_is_asked_again_when_it_was_cut_but_a_quote(builder: PromptBuilder) -> None:
    rooms: dict[str, list[int]] = {}

    def answer(chart: str, question: str, request: Request) -> str | Generation:
        asked = rooms.setdefault(question, [])
        asked.append(request.max_tokens)
        if len(asked) == 1:
            return Generation("y" if request.choices else "Velorim | sta", "length")
        if question == MEDICATION.extraction_question:
            return "Velorim | start"
        return "start" if "start" in request.choices else "yes"

    options = LabelOptions(strategy="verify", max_answer_tokens=16)
    (label,) = Labeler(builder, [MEDICATION], options, "x").ask(Script(builder, answer), [(record(CHART), MEDICATION)])
    assert label.completion == "Velorim | start" and label.failure is None
    assert label.checks is not None and label.checks[0].quote == "Velorim |"
    assert sorted(rooms.values()) == [[12, 48], [12, 48], [12, 48], [16, 64], [64]]
    assert label.prompts == 9, "every prompt is counted"


@pytest.mark.parametrize(
    ("cut", "quote"),
    [
        ("Start Velorim 5 m", "Start Velorim 5"),
        ("Start Velorim 5 mg daily. Hold\nDor", "Start Velorim 5 mg daily. Hold"),
    ],
)
def test_a_quote_that_was_cut_is_a_quote(cut: str, quote: str, builder: PromptBuilder) -> None:
    def answer(chart: str, question: str, request: Request) -> str | Generation:
        if question == MEDICATION.extraction_question:
            return "Velorim | start"
        if question.startswith("Quote"):
            return Generation(cut, "length")
        return "start" if "start" in request.choices else "yes"

    labeler, asked = Labeler(builder, [MEDICATION], LabelOptions(strategy="verify"), "x"), record(CHART)
    (label,) = labeler.ask(Script(builder, answer), [(asked, MEDICATION)])
    assert label.checks is not None and label.checks[0].quote == quote
    items = parse_answer(label.completion or "", MEDICATION)
    assert Verification().check(label, items, asked, MEDICATION) == []


def test_a_sample_that_was_cut_does_not_stand_for_those_that_break_the_format(builder: PromptBuilder) -> None:
    seeds: list[int | None] = []

    def answer(chart: str, question: str, request: Request) -> str | Generation:
        seeds.append(request.seed)
        return Generation("CBC", "length") if request.seed == seeds[0] else "CBC | BMP"

    options = LabelOptions(strategy="direct", samples=2, temperature=0.7, constrain=False)
    (label,) = Labeler(builder, [TESTS], options, "x").ask(Script(builder, answer), [(record(CHART), TESTS)])
    assert (label.completion, label.finish_reason) == ("CBC | BMP", "stop"), "what the filter `format` rejects"


@pytest.mark.parametrize("strategy", ["chain", "direct"])
def test_a_thought_that_was_cut_gets_room_for_an_answer_once(builder: PromptBuilder, strategy: str) -> None:
    rooms: list[int] = []

    def answer(chart: str, question: str, request: Request) -> str | Generation:
        rooms.append(request.max_tokens)
        return Generation(None, failure="thought_cut: no room")

    options = LabelOptions.model_validate({"strategy": strategy, "max_answer_tokens": 100})
    (label,) = Labeler(builder, [TESTS], options, "x").ask(Script(builder, answer), [(record(CHART), TESTS)])
    assert rooms == [12 if strategy == "chain" else 100, 400]
    assert label.completion is None and label.failure == "thought_cut: no room"


def test_what_is_cut_twice_is_never_kept(builder: PromptBuilder) -> None:
    def cut(chart: str, question: str, request: Request) -> str | Generation:
        return Generation("no" if request.choices else "CBC, BMP and a chest fil", "length")

    for strategy, failure, finish in (("chain", "gate_cut", None), ("direct", None, "length")):
        options = LabelOptions.model_validate({"strategy": strategy})
        engine = Script(builder, cut)
        (label,) = Labeler(builder, [TESTS], options, "x").ask(engine, [(record(CHART), TESTS)])
        assert len(engine.asked) == 2
        assert (label.failure or "").split(":")[0] == (failure or "") and label.finish_reason == finish


@pytest.mark.parametrize("cut", ["CBC\nBMP\nBMP\nBMP\nBM", "CBC of the of the of the of"])
def test_a_cut_answer_that_repeats_itself_is_not_asked_again(builder: PromptBuilder, cut: str) -> None:
    engine = Script(builder, lambda chart, question, request: Generation(cut, "length"))
    options = LabelOptions(strategy="direct", max_answer_tokens=16)
    (label,) = Labeler(builder, [TESTS], options, "x").ask(engine, [(record(CHART), TESTS)])
    assert len(engine.asked) == 1 and label.finish_reason == "length"


def test_top_log_probabilities_are_stored_as_arrays(builder: PromptBuilder) -> None:
    top = (((5, -0.1), (6, -2.0)), ((7, -0.3), (8, -1.5)))
    given = Generation("CBC", "stop", token_ids=(5, 7), top_logprobs=top)
    options = LabelOptions(strategy="direct", top_logprobs=2)
    (label,) = Labeler(builder, [TESTS], options, "x").ask(Script(builder, lambda *_: given), [(record(CHART), TESTS)])
    stored = label.top_logprobs
    assert stored is not None and stored.k == 2
    assert np.frombuffer(base64.b64decode(stored.ids), "<i4").reshape(2, 2).tolist() == [[5, 6], [7, 8]]
    values = np.frombuffer(base64.b64decode(stored.logprobs), "<f2").reshape(2, 2)
    assert np.allclose(values, [[-0.1, -2.0], [-0.3, -1.5]], atol=1e-3)


def test_only_what_an_option_affects_gets_a_new_key(builder: PromptBuilder) -> None:
    def keys(**options: object) -> list[str]:
        labeler = Labeler(builder, [MEDICATION, TESTS], LabelOptions.model_validate(options), "x")
        return [labeler.key(record(CHART), task) for task in labeler.tasks]

    plain = keys()
    assert keys(records_per_window=3, max_failure_fraction=1) == plain
    changed = keys(strategy_by_task={"tests": "direct"})
    assert changed[0] == plain[0] and changed[1] != plain[1]
    assert all(a != b for a, b in zip(keys(samples=3, temperature=0.5), plain, strict=True))


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="set temperature"):
        LabelOptions(samples=3)
    with pytest.raises(ValueError, match="top_logprobs needs samples: 1"):
        LabelOptions(samples=3, temperature=0.5, top_logprobs=4)
    with pytest.raises(ValueError, match="must be smaller"):
        LabelOptions(window_tokens=40, window_overlap_tokens=40)
