"""One contract, every engine: the same requests, the same answers, whoever generates. Real engines, on the CPU.

Each engine starts once for the whole file. The dead come last; how engines end is in test_ends.py.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chartdistill.config import load_task
from chartdistill.doctor.memory_plan import label_plan
from chartdistill.doctor.model_shape import read_shape
from chartdistill.doctor.workload import Work
from chartdistill.engines import Generation, Generator, OpenAIEngine, Request, TransformersEngine, VllmEngine
from chartdistill.engines.vllm_in_process import PROCESSES
from chartdistill.errors import ConfigError, EngineError
from chartdistill.prompting.chart_spans import SpanGrammar
from chartdistill.runtime.model_folder import load_tokenizer
from killed_engine import Asking, kill_engine_processes
from places import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.vllm]

LONGEST = 256
SERVED = VllmEngine(dtype="float32", max_model_len_tokens=LONGEST, max_num_seqs=32, cpu_kv_cache_gib=1)
ENGINES = {
    "transformers": TransformersEngine(dtype="float32", batch_size=5),
    "vllm": SERVED,
    "vllm with processes": SERVED,  # as on cards
    "openai": OpenAIEngine(serve=SERVED, max_retries=1),
}
CHARTS = [
    "Start lisinopril 10 mg daily.",
    "The patient stopped warfarin in May and feels well.",
    "No medication.",
    "Blood count and chest film ordered; follow-up in two weeks. Continue metformin, hold aspirin before surgery.",
]
QUESTIONS = ["List the drugs.", "Was a test ordered?", "What is to be expected?"]
CHOICES = ("yes", "no", 'not "clear" | \\ at all')
SPAN_TASKS = [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "diagnosis")]
PATTERN = r"(None found|[a-z]{3,9} \| (start|stop)(\n[a-z]{3,9} \| (start|stop)){0,3})"


@pytest.fixture(scope="module", params=list(ENGINES))
def generator(request: pytest.FixtureRequest, served_model: Path) -> Iterator[Generator]:
    engine, with_spans = ENGINES[request.param], request.param != "openai"
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv(PROCESSES, str(int(request.param == "vllm with processes")))
        with engine.open(served_model, lora_rank=8, with_spans=with_spans) as opened:
            yield opened


@pytest.fixture(scope="module")
def reference(served_model: Path) -> Iterator[Generator]:
    """The engine that the others are held against, one prompt at a time: no padding, no batch."""
    with TransformersEngine(dtype="float32", batch_size=1).open(served_model) as opened:
        yield opened


@pytest.fixture(scope="module")
def tokenizer(served_model: Path) -> Any:
    return load_tokenizer(served_model)


@pytest.fixture(scope="module")
def requests_(tokenizer: Any) -> list[Request]:
    """Every question of every chart, greedy."""
    return [
        Request(tokenizer.encode(f"{chart}\n\n{question}", add_special_tokens=False), 12, tokenizer.eos_token_id)
        for chart, question in itertools.product(CHARTS, QUESTIONS)
    ]


@pytest.fixture(scope="module")
def adapters(served_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters that change much, in folders of the same name."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(served_model, dtype=torch.float32)
        options = LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "v_proj", "o_proj"], init_lora_weights=False)
        folders.append(tmp_path_factory.mktemp("run") / "adapter")
        get_peft_model(model, options).save_pretrained(folders[-1])
    return folders


def texts(answers: list[Generation]) -> list[str | None]:
    return [answer.text for answer in answers]


def test_greedy_answers_are_the_same_everywhere_and_in_order(
    generator: Generator, reference: Generator, requests_: list[Request]
) -> None:
    expected = reference.generate(requests_)
    assert len({answer.token_ids for answer in expected}) > 6, "the answers must differ, or order is not tested"
    counts: list[int] = []
    given = generator.generate(requests_, told=counts.append)
    assert [answer.token_ids for answer in given] == [answer.token_ids for answer in expected]
    assert counts == sorted(counts) and len(counts) > 1, "how far it is, as it goes"
    assert counts[-1] == len(requests_)
    assert texts(given) == texts(expected)
    assert texts(generator.generate(requests_[::-1])) == texts(expected)[::-1]
    assert generator.generate([]) == []


def test_token_ids_decode_to_the_text_and_say_how_it_ended(
    generator: Generator, tokenizer: Any, requests_: list[Request]
) -> None:
    free = generator.generate(requests_)
    assert all(answer.finish_reason == "length" and len(answer.token_ids) == 12 for answer in free)
    # Any id can be the end: take one that comes in the middle of each answer.
    ends = [answer.token_ids[6] for answer in free]
    stopped = generator.generate([replace(r, stop_id=end) for r, end in zip(requests_, ends, strict=True)])
    for whole, answer, end in zip(free, stopped, ends, strict=True):
        expected = whole.token_ids[: whole.token_ids.index(end) + 1]
        assert answer.token_ids == expected and answer.finish_reason == "stop"
        assert answer.text == tokenizer.decode(expected[:-1], skip_special_tokens=True)
    for answer, request in zip(free + stopped, requests_ * 2, strict=True):
        assert answer.completion_tokens == len(answer.token_ids)
        assert answer.prompt_tokens == len(request.prompt_ids)
        assert answer.failure is None and answer.logprobs is None and answer.top_logprobs is None


def test_an_answer_that_only_repeats_itself_is_ended(generator: Generator, requests_: list[Request]) -> None:
    asked = replace(requests_[0], pattern="(ab ){40}", max_tokens=120)
    whole, ended = generator.generate([asked, replace(asked, ends_repetition=True)])
    assert whole.finish_reason == "stop" and ended.token_ids == whole.token_ids[: len(ended.token_ids)]
    at_once = not generator.__class__.__module__.endswith("openai_engine")  # an endpoint goes on
    assert ended.finish_reason == ("repetition" if at_once else "stop") and (len(ended.token_ids) < 60) is at_once


def test_choices_are_obeyed_and_their_probability_told(
    generator: Generator, reference: Generator, requests_: list[Request]
) -> None:
    asked = [replace(request, choices=CHOICES, max_tokens=40) for request in requests_]
    expected = reference.generate(asked)
    given = generator.generate(asked)
    assert texts(given) == texts(expected)
    assert len(set(texts(given))) > 1
    for answer, other in zip(given, expected, strict=True):
        assert answer.text in CHOICES and answer.finish_reason == "stop"
        assert answer.probability == pytest.approx(other.probability, rel=1e-3)
        assert answer.logprobs is None


def test_a_pattern_is_matched_as_a_whole(generator: Generator, reference: Generator, requests_: list[Request]) -> None:
    asked = [replace(request, pattern=PATTERN, max_tokens=60) for request in requests_]
    given = generator.generate(asked)
    finished = [answer for answer in given if answer.finish_reason == "stop"]
    assert finished
    assert all(re.fullmatch(PATTERN, answer.text or "") for answer in finished)
    assert texts(given) == texts(reference.generate(asked))
    [cut] = generator.generate([replace(asked[0], max_tokens=2)])
    assert cut.finish_reason == "length" and len(cut.token_ids) == 2


def test_logprobs_are_of_what_is_allowed(generator: Generator, reference: Generator, requests_: list[Request]) -> None:
    free = [replace(request, logprobs=True, top_logprobs=4) for request in requests_]
    forced = [replace(request, choices=CHOICES, max_tokens=40) for request in free]
    given, expected = generator.generate(free + forced), reference.generate(free + forced)
    for answer, other in zip(given, expected, strict=True):
        assert answer.logprobs is not None and answer.top_logprobs is not None
        assert len(answer.logprobs) == len(answer.top_logprobs) == len(answer.token_ids)
        assert all(value <= 0 for value in answer.logprobs)
        assert answer.logprobs == pytest.approx(other.logprobs, abs=2e-3)
        for at, there in zip(answer.top_logprobs, other.top_logprobs or (), strict=True):
            assert len(at) == 4 and list(at) == sorted(at, key=lambda pair: -pair[1])
            assert [value for _, value in at] == pytest.approx([value for _, value in there], abs=2e-3)
        assert answer.probability == pytest.approx(math.exp(answer.logprobs[0]))
    for answer in given:  # greedy takes the likeliest of what is allowed
        assert answer.logprobs == pytest.approx([at[0][1] for at in answer.top_logprobs or ()])
        assert answer.token_ids == tuple(at[0][0] for at in answer.top_logprobs or ())


def test_a_request_that_cannot_be_answered_fails_alone(
    generator: Generator, reference: Generator, requests_: list[Request]
) -> None:
    asked = list(requests_)
    asked[2] = replace(asked[2], prompt_ids=[5] * 5000)
    asked[4] = replace(asked[4], pattern="[a-z")
    given = generator.generate(asked)
    assert (given[2].failure or "").startswith("prompt_too_long: 5012 tokens")
    assert given[4].failure is not None and given[4].text is None
    good = [i for i in range(len(asked)) if i not in (2, 4)]
    assert [given[i].text for i in good] == texts(reference.generate([asked[i] for i in good]))


@pytest.mark.parametrize("generator", ["transformers", "vllm"], indirect=True)
def test_spans_are_words_of_the_chart_whatever_the_model_wants(
    generator: Generator, reference: Generator, tokenizer: Any, adapters: list[Path]
) -> None:
    """A random model, asked about several charts at once, with free answers among them: it can only quote."""
    asked = []
    for number, (chart, task) in enumerate(itertools.product(CHARTS, SPAN_TASKS)):
        ids = tokenizer.encode(f"{chart}\n\n{task.question}", add_special_tokens=False)
        request = Request(ids, 60, tokenizer.eos_token_id, spans=SpanGrammar.of(task, (chart,)))
        asked += [request, replace(request, max_tokens=12), replace(request, max_tokens=12, spans=None)]
        asked += [replace(request, temperature=1.5, seed=number * 10 + draw) for draw in range(2)]
    given, changed = generator.generate(asked), generator.generate(asked, adapters[0])
    assert texts(given) != texts(changed)
    finished = cut = 0
    for request, answer in zip(asked * 2, given + changed, strict=True):
        assert answer.failure is None
        if request.spans is not None and answer.finish_reason == "stop":
            assert request.spans.admits(answer.text or ""), answer.text
            assert request.spans.without_repeats(answer.text or "") == answer.text
            ids = [i for i in answer.token_ids if i != request.stop_id]
            assert not ids or tokenizer.decode(ids).strip(" ") == answer.text
            finished += 1
        elif request.spans is not None and not request.spans.statuses and answer.text:
            assert answer.finish_reason == "length"
            assert request.spans.admits(answer.text), "half an item was left at its end"
            assert tokenizer.decode(answer.token_ids).strip(" ") == answer.text or not answer.token_ids
            cut += 1
    assert finished > 12
    assert cut > 0
    greedy = [number for number, request in enumerate(asked) if not request.temperature]
    assert [texts(given)[i] for i in greedy] == texts(reference.generate([asked[i] for i in greedy]))


@pytest.mark.parametrize("generator", ["transformers", "vllm"], indirect=True)
def test_logprobs_of_spans_are_the_models_own(generator: Generator, tokenizer: Any) -> None:
    """What it is made to write shows as unlikely; the likeliest tokens are those it wanted."""
    ids = tokenizer.encode(CHARTS[0], add_special_tokens=False)
    request = Request(ids, 20, tokenizer.eos_token_id, logprobs=True, top_logprobs=2)
    [free] = generator.generate([request])
    [held] = generator.generate([replace(request, spans=SpanGrammar.of(SPAN_TASKS[0], (CHARTS[0],)))])
    assert held.logprobs is not None and free.logprobs is not None
    assert held.top_logprobs is not None and free.top_logprobs is not None
    for wanted, of_free in zip(held.top_logprobs[0], free.top_logprobs[0], strict=True):
        assert wanted[0] == of_free[0] and wanted[1] == pytest.approx(of_free[1], abs=2e-3)
    assert held.logprobs[0] < held.top_logprobs[0][0][1] and held.token_ids[0] != free.token_ids[0]


@pytest.mark.parametrize("generator", ["openai"], indirect=True)
def test_an_endpoint_takes_no_spans(generator: Generator, served_model: Path, requests_: list[Request]) -> None:
    spans = SpanGrammar.of(SPAN_TASKS[0], (CHARTS[0],))
    with pytest.raises(ConfigError, match="takes no `spans`"):
        generator.generate([replace(requests_[0], spans=spans)])
    with pytest.raises(ConfigError, match="takes no `spans`"), ENGINES["openai"].open(served_model, with_spans=True):
        pass


def test_a_seed_repeats_a_sample(generator: Generator, requests_: list[Request]) -> None:
    seeds = [replace(requests_[0], temperature=1.9, seed=seed) for seed in range(6)]
    once = generator.generate(seeds)
    assert len(set(texts(once))) > 1
    other_batch = generator.generate(requests_[:3] + seeds[::-1])[3:]
    assert texts(other_batch)[::-1] == texts(once)


def test_seeded_prompts_that_fill_more_than_a_step_are_answered(generator: Generator, tokenizer: Any) -> None:
    """vLLM's CPU worker died of a seeded prompt that it computed in two steps."""
    words = tokenizer.encode(" ".join(CHARTS) * 40, add_special_tokens=False)
    long = [
        Request(words[start : start + 235], 4, tokenizer.eos_token_id, temperature=1.0, seed=start)
        for start in range(64)
    ]
    answers = generator.generate(long)
    assert [answer.failure for answer in answers] == [None] * len(long)
    assert texts(generator.generate(long[::-1])) == texts(answers)[::-1]


def test_adapters_come_and_go(
    generator: Generator, reference: Generator, requests_: list[Request], adapters: list[Path]
) -> None:
    base = texts(reference.generate(requests_))
    changed = [texts(reference.generate(requests_, adapter)) for adapter in adapters]
    assert base != changed[0] != changed[1]
    assert texts(generator.generate(requests_, adapters[0])) == changed[0]
    assert texts(generator.generate(requests_, adapters[1])) == changed[1]
    assert texts(generator.generate(requests_)) == base
    assert texts(generator.generate(requests_, adapters[0])) == changed[0]


def test_a_shared_prefix_is_computed_once_where_there_is_a_cache(
    generator: Generator, requests_: list[Request]
) -> None:
    record = list(range(20, 148))
    asked = [replace(requests_[0], prompt_ids=[*record, 7, 8, 9 + i]) for i in range(3)]
    generator.generate(asked)
    again = generator.generate(asked)
    if generator.cache_tokens is None:
        assert all(answer.cached_tokens == 0 for answer in again)
    else:
        assert generator.cache_tokens > 10 * LONGEST
        assert all(answer.cached_tokens == 128 for answer in again)


@pytest.mark.parametrize("generator", ["vllm", "openai"], indirect=True)
def test_the_cache_is_as_large_as_doctor_plans(generator: Generator, served_model: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("on a card it gets what the card's other tenants leave")
    shape = read_shape(served_model)
    plan = label_plan(shape, SERVED, None, Work(1, 50, 1, 1, 20, 10, 20), shape.weight_bytes("float32") or 0, 1 << 34)
    assert generator.cache_tokens is not None and plan.cache_tokens is not None
    print(f"\nKV cache: planned {plan.cache_tokens:,} tokens, vLLM has {generator.cache_tokens:,}")
    assert generator.cache_tokens == pytest.approx(plan.cache_tokens, rel=0.01)


def test_nonsense_is_refused_before_anything_runs(requests_: list[Request]) -> None:
    with pytest.raises(ConfigError, match="one of them"):
        replace(requests_[0], choices=("a",), pattern="b")
    with pytest.raises(ConfigError, match="0 to 20"):
        replace(requests_[0], top_logprobs=21)
    with pytest.raises(ConfigError, match="room for an answer"):
        replace(requests_[0], max_tokens=0)


@pytest.mark.parametrize("generator", ["openai"], indirect=True)
def test_chat_gives_what_its_prompt_gives(
    generator: Any,
    reference: Generator,
    tokenizer: Any,
    served_model: Path,
    adapters: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [endpoint] = generator._endpoints.values()
    monkeypatch.setenv("TEST_ENDPOINT_KEY", endpoint._client.api_key)
    running = OpenAIEngine(urls=(endpoint.url,), api="chat", api_key_env="TEST_ENDPOINT_KEY")
    asked = []
    brief = {"template_options": {"brief": True}}
    for chart, options in zip(
        CHARTS, [brief, {"choices": CHOICES}, {"pattern": PATTERN}, {"max_tokens": 3}], strict=True
    ):
        messages = (("system", "You read charts."), ("user", chart))
        turns = [{"role": role, "content": content} for role, content in messages]
        template = options.get("template_options", {})
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False, **template)
        request = Request(ids, 60, tokenizer.eos_token_id, logprobs=True, top_logprobs=3, messages=messages)
        asked.append(replace(request, **options))
    with running.open(served_model) as chat:
        given = chat.generate(asked)
        with pytest.raises(ConfigError, match="no messages"):
            chat.generate([replace(asked[0], messages=None)])
    for answer, expected in zip(given, reference.generate(asked), strict=True):
        assert (answer.text, answer.token_ids) == (expected.text, expected.token_ids)
        assert answer.logprobs == pytest.approx(expected.logprobs, abs=2e-3)
        assert [len(at) for at in answer.top_logprobs or ()] == [3] * len(answer.token_ids)
        assert answer.prompt_tokens == len(asked[given.index(answer)].prompt_ids)
    # Without the key nobody is let in, and a running endpoint takes no adapter.
    with pytest.raises(EngineError, match="HTTP 401"), OpenAIEngine(urls=(endpoint.url,)).open(served_model):
        pass
    with pytest.raises(EngineError, match="adapters"), running.open(served_model, lora_rank=4):
        pass
    wrong = running.model_copy(update={"model_name": "another"})
    with pytest.raises(ConfigError, match=r"no model 'another'.*one of: model"), wrong.open(served_model):
        pass


@pytest.mark.parametrize("generator", ["vllm with processes", "openai"], indirect=True)
def test_a_dead_engine_is_an_error_that_says_so(generator: Any, requests_: list[Request]) -> None:
    generator.generate(requests_[:1])
    kill_engine_processes()
    assert "finished before is kept" in Asking(generator, requests_).words()
    assert "finished before is kept" in Asking(generator, requests_).words()


def test_an_engine_that_is_killed_while_it_answers_is_an_error(
    served_model: Path, requests_: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROCESSES, "1")
    with SERVED.open(served_model) as generator:
        generator.generate(requests_[:1])
        asking = Asking(generator, [replace(request, max_tokens=200) for request in requests_ * 100])
        time.sleep(1)
        assert asking.is_alive(), "all was answered before anything could be killed"
        kill_engine_processes()
        assert "finished before is kept" in asking.words()
