"""Chat templates of all kinds: the system text is never lost, the day never matters, thoughts are known and closed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from chartdistill.engines import OpenAIEngine, TransformersEngine, VllmEngine, require_answer_place, require_fit
from chartdistill.errors import ConfigError, ModelError
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.model_folder import load_tokenizer

SYSTEM = "Answer from this chart alone.\nOne item per line."
TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
EVERY_TURN = "{% for m in messages %}" + TURN + "{% endfor %}"
NO_SYSTEM = "{% for m in messages if m.role != 'system' %}" + TURN + "{% endfor %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
DATED = "Today is {{ date_string if date_string is defined else strftime_now('%d %b %Y') }}.\n" + EVERY_TURN
CHAT = OpenAIEngine(urls=("http://127.0.0.1:9/v1",), api="chat")


def asking(end: str) -> str:
    return "{% if add_generation_prompt %}<|im_start|>assistant\n" + end + "{% endif %}"


EMPTY_IF_OFF = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"


def clock_at(day: int) -> type[datetime.datetime]:
    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.datetime(2031, 5, day)

    return Clock


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Any:
    return load_tokenizer(tokenizer_folder)


def built(tokenizer: Any, template: str, **options: Any) -> PromptBuilder:
    tokenizer.chat_template = template
    return PromptBuilder.from_tokenizer(tokenizer, SYSTEM, options)


def read(builder: PromptBuilder) -> str:
    return str(builder.tokenizer.decode(builder.prompt("Chart.", "Drugs?"))).replace(" ", "")


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages if m.role == 'user' %}[U]{{ m.content }}[/U]{% endfor %}",
        NO_SYSTEM,
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" + NO_SYSTEM,
        "{% set turns = messages[1:] if messages[0].role == 'system' else messages %}{% for m in turns %}"
        + TURN
        + "{% endfor %}",
        "{% for m in messages %}{% if m.role in ['user', 'assistant'] %}" + TURN + "{% endif %}{% endfor %}",
    ],
)
def test_a_system_text_that_a_template_drops_opens_the_users_turn(tokenizer: Any, template: str) -> None:
    builder = built(tokenizer, template + asking(""))
    assert builder.cut.departures == {"system_in_user": True}
    assert read(builder).count(SYSTEM.replace(" ", "")) == 1
    assert tokenizer.decode(list(builder.head_ids)).replace(" ", "").endswith(f"{SYSTEM}\n\n".replace(" ", ""))
    assert builder.messages("Chart.", "Drugs?") == (("user", f"{SYSTEM}\n\nChart.\n\nDrugs?"),)
    prefix = builder.prefix("Chart.")
    assert (
        builder.prompt("Chart.", "Drugs?")[: len(prefix)] == builder.prompt("Chart.", "Tests?")[: len(prefix)] == prefix
    )


@pytest.mark.parametrize(
    "template", [EVERY_TURN, EVERY_TURN.replace("m.content", "m.content | trim"), REFUSES + EVERY_TURN]
)
def test_templates_that_keep_the_system_text_or_refuse_it_are_as_before(tokenizer: Any, template: str) -> None:
    builder = built(tokenizer, template + asking(""))
    assert builder.cut.departures == {}
    assert read(builder).count(SYSTEM.replace(" ", "")) == 1
    assert len(builder.messages("Chart.", "Drugs?")) == (1 if template.startswith(REFUSES) else 2)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{% for m in messages if m.role == 'user' %}{{ m.content.split('\n\n')[-1] }}{% endfor %}",
            "leaves out the system",
        ),
        ("{{ raise_exception('no templates today') }}", "refuses a question.*no templates today"),
    ],
)
def test_a_template_that_cannot_be_asked_is_refused(tokenizer: Any, template: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        built(tokenizer, template)


def test_a_template_that_prints_the_date_prints_the_same_one_every_day(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for day in (1, 2):
        monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", clock_at(day))
        plain = built(tokenizer, DATED + asking(""))
        texts.append(read(plain))
        printed = tokenizer.apply_chat_template([{"role": "user", "content": "?"}], tokenize=False)
        assert f"0{day} May 2031" in printed, "the clock is what transformers reads"
    assert texts[0] == texts[1] and "26Jul2024" in texts[0]
    assert plain.cut.departures == {"date": "2024-07-26"}
    given = built(tokenizer, DATED + asking(""), date_string="1 Jan 2030")
    assert "1Jan2030" in read(given) and given.cut.departures == {}


def test_an_endpoint_that_writes_the_date_itself_is_refused(tokenizer: Any) -> None:
    dated = built(tokenizer, DATED + asking(""))
    with pytest.raises(ConfigError, match=r"prints today's date.*api: completions.*date_string: \"26 Jul 2024\""):
        require_fit(CHAT, dated, "teacher", constrained=True)
    require_fit(CHAT, built(tokenizer, DATED + asking(""), date_string="1 Jan 2030"), "teacher", constrained=True)
    require_fit(VllmEngine(), dated, "teacher", constrained=True)


@pytest.mark.parametrize("engine", [VllmEngine(), TransformersEngine(), OpenAIEngine()], ids=lambda engine: engine.type)
def test_a_teacher_that_would_think_within_a_constraint_is_refused(tokenizer: Any, engine: Any) -> None:
    opened, hybrid = EVERY_TURN + asking("<think>\n"), EVERY_TURN + asking(EMPTY_IF_OFF)
    for template, message in ((opened, r"inside a thought \(<think>\)"), (hybrid, "unless it is told not to")):
        builder = built(tokenizer, template)
        with pytest.raises(ConfigError, match=message + r".*teacher\.template_options: \{enable_thinking: false\}"):
            require_fit(engine, builder, "teacher", constrained=True)
        require_fit(engine, builder, "teacher", constrained=False)
        require_fit(CHAT, builder, "teacher", constrained=True)  # there the server's parser tells the thought apart
        silent = built(tokenizer, template, enable_thinking=False)
        require_fit(engine, silent, "teacher", constrained=True)
        assert read(silent).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
        assert silent.cut.departures == ({"closed_thought": True} if template is opened else {})
    require_fit(engine, built(tokenizer, EVERY_TURN + asking("")), "teacher", constrained=True)


def test_a_student_does_not_learn_answers_inside_a_thought(tokenizer: Any) -> None:
    builder = built(tokenizer, EVERY_TURN + asking("[THINK]"))
    with pytest.raises(ConfigError, match=r"\[THINK\].*student\.template_options: \{enable_thinking: false\}"):
        require_answer_place(builder)
    silent = built(tokenizer, EVERY_TURN + asking("[THINK]"), enable_thinking=False)
    require_answer_place(silent)
    assert read(silent).endswith("[THINK]\n\n[/THINK]\n\n")
    require_answer_place(built(tokenizer, EVERY_TURN + asking(EMPTY_IF_OFF)))  # it learns to answer at once


def test_a_thought_that_nobody_knows_how_to_close_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="not known how such a thought is closed"):
        built(tokenizer, EVERY_TURN + asking("<|channel>thought\n"), enable_thinking=False)
