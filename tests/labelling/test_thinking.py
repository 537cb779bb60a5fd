"""Teachers that think: the thought is read and dropped, the answer behind it is held to its format, all is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import load_run, load_task
from chartdistill.curation.curate import curate
from chartdistill.engines import Generation, Request, TransformersEngine, VllmEngine, require_fit
from chartdistill.errors import InputError
from chartdistill.labelling import Labeler, LabelOptions
from chartdistill.labelling.label import label
from chartdistill.labelling.thought_file import ThoughtFile
from chartdistill.prompting.chart_spans import SpanGrammar
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.records.prepare import prepare
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.run_folder import Journal, read_rows
from chartdistill.runtime.shards import Shard, ShardedFile
from chartdistill.schema import Label, Record, Thought, ThoughtRow, TrainExample
from labelling_run import config, rows_of, silent
from places import ROOT
from thinking_model import OPENS, make_thinking_model

TESTS = load_task(ROOT / "configs/tasks/tests.yaml")
CHART = Record(id="r1", source="made up", text="CBC was ordered.", cluster="c", split="train", segments=())


@pytest.fixture(scope="module")
def builder(tokenizer_folder: Path) -> PromptBuilder:
    tokenizer: Any = load_tokenizer(tokenizer_folder)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template += OPENS
    return PromptBuilder.from_tokenizer(tokenizer, "Answer.")


class Thinking:
    """An engine that thinks as it is told to: the oracle of what is asked, in which order, and what is counted."""

    cache_tokens = None
    continues = True

    def __init__(self, builder: PromptBuilder, thought: Callable[[int], tuple[str, str]]) -> None:
        self._builder, self._thought = builder, thought
        self.thoughts: list[Request] = []
        self.answers: list[Request] = []

    def generate(self, requests: Sequence[Request], adapter: Path | None = None) -> list[Generation]:
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Generation:
        asked = len(request.prompt_ids)
        if request.is_thought:
            self.thoughts.append(request)
            text, finish = self._thought(len(self.thoughts))
            ids = tuple(self._builder.tokenizer.encode(text, add_special_tokens=False))
            return Generation(text, finish, prompt_tokens=asked, completion_tokens=len(ids), token_ids=ids)
        self.answers.append(request)
        text = "yes" if request.choices else "CBC"
        ids = (*self._builder.plain(text), self._builder.end_id)
        return Generation(text, "stop", prompt_tokens=asked, completion_tokens=len(ids), token_ids=ids,
                          logprobs=(-0.5,) * len(ids) if request.logprobs else None)  # fmt: skip


def asked(builder: PromptBuilder, engine: Any, **options: object) -> tuple[Label, Labeler]:
    labeler = Labeler(builder, [TESTS], LabelOptions.model_validate(options), "x")
    (found,) = labeler.ask(engine, [(CHART, TESTS)])
    return found, labeler


def test_each_answer_is_asked_behind_its_own_thought(builder: PromptBuilder) -> None:
    engine = Thinking(builder, lambda number: (f"\nThought {number}.\n</think>", "stop"))
    found, labeler = asked(builder, engine, thinking={"max_tokens": 50, "keep": True}, confidence=True)
    assert found.completion == "CBC" and found.failure is None and found.prompts == 4
    (closing,) = builder.tokenizer.encode("</think>", add_special_tokens=False)
    for number, (thought, answer) in enumerate(zip(engine.thoughts, engine.answers, strict=True), 1):
        assert not thought.is_constrained and thought.max_tokens == 50 and closing in thought.also_stop_ids
        assert answer.is_constrained and not answer.in_thought and answer.max_tokens < 300
        before = len(thought.prompt_ids)
        assert list(answer.prompt_ids[:before]) == list(thought.prompt_ids)
        written = builder.tokenizer.decode(list(answer.prompt_ids[before:]))
        assert written.strip() == f"Thought {number}.\n</think>" and closing in answer.prompt_ids[before:]
    assert found.thought_tokens == sum(
        len(builder.tokenizer.encode(f"\nThought {i}.\n</think>", add_special_tokens=False)) for i in (1, 2)
    )
    assert found.completion_tokens > found.thought_tokens > 0 and found.continued_tokens > found.thought_tokens
    (row,) = labeler.take_thoughts().values()
    assert [t.text for t in row.thoughts] == ["Thought 1.", "Thought 2."] and row.key == found.key
    assert [t.question for t in row.thoughts] == [TESTS.gate_question, TESTS.extraction_question]
    assert labeler.take_thoughts() == {}


def test_a_cut_thought_is_thought_again_with_more_room_and_then_is_a_failure(builder: PromptBuilder) -> None:
    engine = Thinking(builder, lambda number: ("\nHm", "length") if number == 1 else ("\nOh.</think>", "stop"))
    found, _ = asked(builder, engine, strategy="direct", thinking={"max_tokens": 20})
    assert found.completion == "CBC" and [r.max_tokens for r in engine.thoughts] == [20, 80]

    for strategy in ("direct", "chain"):
        engine = Thinking(builder, lambda number: ("\nNone found, hm", "length"))
        found, _ = asked(builder, engine, strategy=strategy, thinking={"max_tokens": 20})
        assert found.completion is None and (found.failure or "").startswith("thought_cut: ")
        assert "label.thinking.max_tokens" in str(found.failure) and not engine.answers
        assert found.thought_tokens == found.completion_tokens > 0

    class Small(Thinking):
        def _one(self, request: Request) -> Generation:
            return super()._one(request) if request.max_tokens < 80 else Generation(None, failure="prompt_too_long: x")

    found, _ = asked(
        builder, Small(builder, lambda _: ("\nHm", "length")), strategy="direct", thinking={"max_tokens": 20}
    )
    assert (found.failure or "").startswith("thought_cut: "), "the engine has not the room for a second time"

    engine = Thinking(builder, lambda number: ("\nhm hm hm hm", "repetition"))
    found, _ = asked(builder, engine, strategy="direct", thinking={"max_tokens": 20})
    assert (found.failure or "").startswith("thought_cut: ") and len(engine.thoughts) == 1, "more room only gives more"

    engine = Thinking(builder, lambda number: ("\nNone found", "stop"))
    found, _ = asked(builder, engine, strategy="direct")
    assert (found.failure or "").startswith("thought_only: ")


def test_an_engine_that_cannot_go_on_is_asked_once_with_room_for_both(builder: PromptBuilder) -> None:
    class Chat(Thinking):
        continues = False

        def _one(self, request: Request) -> Generation:
            self.answers.append(request)
            if len(self.answers) == 1:
                return Generation(None, failure="thought_cut: x", completion_tokens=90, thought_tokens=90)
            return Generation("CBC", "stop", completion_tokens=30, thought="One test.")

    engine = Chat(builder, lambda number: ("", "stop"))
    options = {"strategy": "direct", "thinking": {"max_tokens": 100, "keep": True}, "max_answer_tokens": 10}
    found, labeler = asked(builder, engine, **options)
    assert [r.max_tokens for r in engine.answers] == [110, 440] and not engine.thoughts
    (row,) = labeler.take_thoughts().values()
    assert found.completion == "CBC" and row.thoughts[0].text == "One test."
    assert found.thought_tokens == 90 + len(builder.plain("One test."))


def test_who_thinks_is_decided_by_template_and_config(builder: PromptBuilder, tokenizer_folder: Path) -> None:
    plain = PromptBuilder.from_tokenizer(load_tokenizer(tokenizer_folder), "Answer.")
    silent_ = PromptBuilder.from_tokenizer(builder.tokenizer, "Answer.", {"enable_thinking": False})

    def thinks(of: PromptBuilder, options: LabelOptions, **told: object) -> bool:
        return Labeler(of, [TESTS], options, "x", told).thinking is not None

    default = LabelOptions()
    assert thinks(builder, default) and not thinks(plain, default)
    assert not thinks(silent_, default, enable_thinking=False)
    assert thinks(plain, default, enable_thinking=True) and thinks(plain, default, thinking=True)
    assert thinks(plain, LabelOptions.model_validate({"thinking": {}}))
    require_fit(VllmEngine(), builder, "teacher", constrained=True, thinks=True)
    assert default.model_dump() == LabelOptions.model_validate({"thinking": None}).model_dump()
    assert "thinking" not in default.model_dump(), "labels of before go on counting"
    with pytest.raises(ValueError, match=r"thinking\.rationale needs samples: 1"):
        LabelOptions.model_validate({"samples": 3, "temperature": 1, "thinking": {"rationale": True}})


def test_what_is_thought_again_replaces_what_was_thought_and_shards_are_taken_over(tmp_path: Path) -> None:
    def row(key: str, text: str) -> ThoughtRow:
        return ThoughtRow(key=key, record="r", task="tests", thoughts=(Thought(question="?", text=text),))

    with ThoughtFile(tmp_path / "shard-0-of-2.jsonl", wanted=True) as shard:
        shard.add({"a": row("a", "of a"), "b": row("b", "cut")})
        shard.finish(["a", "b"])
    with ThoughtFile(tmp_path / "labels.jsonl", wanted=True) as whole:
        whole.add({"b": row("b", "again"), "c": row("c", "of c")})
        whole.finish(["c", "b", "a", "no thought"])
    found = {one.key: one.thoughts[0].text for one in read_rows(tmp_path / "thoughts.jsonl", ThoughtRow)}
    assert found == {"c": "of c", "b": "again", "a": "of a"}
    with ThoughtFile(tmp_path / "labels.jsonl", wanted=False):
        assert not (tmp_path / "thoughts.jsonl").exists(), "a run that keeps none leaves none"


def test_thoughts_of_a_killed_shard_are_taken_over_as_its_labels_are(tmp_path: Path) -> None:
    """Both stand in journals, from which a whole run, and a shard of another division, go on."""

    def row(key: str, record: str) -> ThoughtRow:
        return ThoughtRow(key=key, record=record, task="tests", thoughts=(Thought(question="?", text=f"of {key}"),))

    def label(key: str, record: str) -> Label:
        return Label(key=key, record=record, task="tests", strategy="direct", completion="None found")

    file, other = ShardedFile(tmp_path / "labels.jsonl", tmp_path, Label), Shard(0, 3)
    record = next(name for name in map("r{}".format, range(50)) if other.holds(name))
    for target in (tmp_path / "shard-1-of-2.jsonl", tmp_path / "shard-1-of-3.jsonl"):
        with Journal(target, Label) as labels, ThoughtFile(target, wanted=True) as thoughts:
            key = target.stem[-1]
            thoughts.add({key: row(key, record)})
            labels.add([label(key, record)])  # and then it was killed
    for shard, expected in ((other, {"2"}), (None, {"2", "3"})):
        target = file.target if shard is None else file.path(shard)
        with Journal(target, Label) as labels, ThoughtFile(target, wanted=True) as thoughts:
            file.take_over(labels, shard)
            assert {key for key in "23" if key in labels} == expected
            thoughts.finish(sorted(expected))
            labels.finish(sorted(expected))
        assert {one.key for one in read_rows(thoughts.path, ThoughtRow)} == expected, "each label has its thoughts"


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Path:
    return make_thinking_model(tmp_path_factory.mktemp("thinks") / "model", tokenizer_folder)


def labelled(folder: Path, model: Path, engine: dict[str, Any], **options: Any) -> tuple[Any, list[Label]]:
    path = config(folder, model, **options)
    values = yaml.safe_load(path.read_text())
    values["teacher"]["engine"] = engine
    path.write_text(yaml.safe_dump(values))
    run = load_run(path)
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    return label(run, silent), rows_of(run)


TRANSFORMERS = {"type": "transformers", "batch_size": 4, "dtype": "float32"}
SERVED = {"type": "vllm", "dtype": "float32", "max_model_len_tokens": 1024, "max_num_seqs": 16}


def check_real(folder: Path, model: Path, engine: dict[str, Any], shared: bool) -> None:
    manifest, rows = labelled(
        folder, model, engine, strategy="verify", constrain="spans", confidence=True, max_answer_tokens=24,
        thinking={"max_tokens": 60, "rationale": True},
    )  # fmt: skip
    assert len(rows) == 12 and not any(row.failure for row in rows), [row.failure for row in rows]
    tokens = manifest["tokens"]
    assert tokens["thought"] == sum(row.thought_tokens for row in rows) and tokens["completion"] > tokens["thought"] > 0
    assert all(row.gate is not None and row.gate.answer in ("yes", "no", "unclear") for row in rows)
    assert not any("think" in (row.completion or "") for row in rows)
    thoughts = list(read_rows(folder / "run" / "labels" / "thoughts.jsonl", ThoughtRow))
    assert [row.key for row in thoughts] == [row.key for row in rows]
    assert all(t.text == "He takes one drug, so the answer is short." for row in thoughts for t in row.thoughts)
    if shared:  # what the answer's prompt goes on from is in the cache, but for the block at its end
        assert tokens["cached"] > 0.6 * tokens["shareable"], tokens


def test_a_model_that_thinks_labels_within_spans_through_transformers(thinker: Path, tmp_path: Path) -> None:
    check_real(tmp_path, thinker, TRANSFORMERS, shared=False)
    run = load_run(tmp_path / "run.yaml")
    curate(run.dir, run.tasks, [], rationales=True)
    examples = list(read_rows(run.dir / "curated" / "train.jsonl", TrainExample))
    assert examples and all("one drug" in str(one.rationale) and "think" not in one.completion for one in examples)
    curate(run.dir, run.tasks, [])
    assert "rationale" not in (run.dir / "curated" / "train.jsonl").read_text()


def test_a_mark_in_pieces_and_a_thought_too_long_with_a_real_model(tmp_path: Path, tokenizer_folder: Path) -> None:
    model = make_thinking_model(tmp_path / "model", tokenizer_folder, one_token=False)
    (tmp_path / "short").mkdir()
    manifest, rows = labelled(tmp_path / "short", model, TRANSFORMERS, thinking={"max_tokens": 30})
    assert not manifest["counts"]["failures"] and all(row.completion for row in rows)
    assert not (tmp_path / "short/run/labels/thoughts.jsonl").exists()
    endless = make_thinking_model(tmp_path / "endless", tokenizer_folder, others=range(500, 560))
    (tmp_path / "cut").mkdir()
    manifest, rows = labelled(tmp_path / "cut", endless, TRANSFORMERS, thinking={"max_tokens": 10})
    assert manifest["counts"]["failures_by_reason"] == {"thought_cut": 12}
    assert all(row.completion is None and row.thought_tokens == 50 for row in rows), "10, and 40 the second time"
    with pytest.raises(InputError, match="all 12 labels were rejected"):
        curate(tmp_path / "cut/run", load_run(tmp_path / "cut/run.yaml").tasks, [])


@pytest.mark.slow
def test_a_model_that_thinks_labels_within_spans_through_vllm(thinker: Path, tmp_path: Path) -> None:
    check_real(tmp_path, thinker, SERVED, shared=True)


def test_numbers_are_those_of_the_answer_alone(thinker: Path) -> None:
    """The answer behind a thought that was thought apart, against the forward pass of the model over all of it."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(thinker)
    builder = PromptBuilder.from_tokenizer(tokenizer, "Answer.")
    engine = TransformersEngine(dtype="float32")
    options = LabelOptions.model_validate(
        {"strategy": "direct", "constrain": False, "top_logprobs": 2, "thinking": {"max_tokens": 60}}
    )
    asked_: list[tuple[Request, Generation]] = []
    with engine.open(thinker) as opened:

        class Watched:
            cache_tokens, continues = None, True

            def generate(self, requests: Sequence[Request], adapter: Path | None = None) -> list[Generation]:
                given = opened.generate(requests)
                asked_.extend(zip(requests, given, strict=True))
                return given

        (found,) = Labeler(builder, [TESTS], options, "x").ask(Watched(), [(CHART, TESTS)])
    assert found.completion == "None found" and found.top_logprobs is not None
    (request, answer) = asked_[-1]
    model = AutoModelForCausalLM.from_pretrained(thinker, dtype=torch.float32)
    ids = [*request.prompt_ids, *answer.token_ids]
    with torch.inference_mode():
        logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    start = len(request.prompt_ids)
    for place, (own, likeliest) in enumerate(zip(answer.token_ids, answer.top_logprobs or (), strict=True)):
        expected = float(logs[start + place - 1, own])
        assert dict(likeliest).get(own, expected) == pytest.approx(expected, abs=1e-3)
    assert SpanGrammar.of(TESTS, [CHART.text]).admits(found.completion)
