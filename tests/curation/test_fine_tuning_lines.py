"""The forms of fine-tuning files, and what a file puts behind its texts. All charts are invented."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from chartdistill.curation.audit import BrokenLine, LineVerdict, audit, run_audit, take_apart
from chartdistill.errors import InputError
from chartdistill.records import Endings, chart_and_kind, prompt_and_completion

CHART, QUESTION = "Uses ramipril 5 mg.", "LIST ALL MEDICATION:"
ASKED, TAUGHT = f"{CHART}\n\n{QUESTION}", "ramipril 5 mg"
ITEMS = ("ramipril 5 mg", "atenolol 50 mg", "loratadine 10 mg")


def judged(path: Path, *lines: object) -> list[LineVerdict | BrokenLine]:
    file = path / "file.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return list(audit(file))


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


@pytest.mark.parametrize(
    "line",
    [
        {"prompt": ASKED, "completion": TAUGHT},
        {"prompt": ASKED, "response": TAUGHT},
        {"input": ASKED, "output": TAUGHT},
        {"messages": [{"role": "developer", "content": "Be brief."}, user(ASKED), assistant(TAUGHT, weight=1)]},
        {"messages": [user([{"type": "text", "text": ASKED}]), assistant([{"type": "text", "text": TAUGHT}])]},
        {"messages": [{"role": "system", "content": QUESTION}, user(CHART), assistant(TAUGHT)]},
        {"system": QUESTION, "messages": [user(CHART), assistant(TAUGHT)]},
        {"prompt": [user(ASKED)], "completion": [assistant(TAUGHT)]},
        {
            "messages": [
                user(f"{CHART}\n\nAny medication?"),
                assistant("yes", weight=0),
                user(QUESTION),
                assistant(TAUGHT),
            ]
        },
        {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": TAUGHT}]},
        {"contents": [{"role": "user", "parts": [{"text": ASKED}]}, {"role": "model", "parts": [{"text": TAUGHT}]}]},
        {"instruction": QUESTION, "input": CHART, "output": TAUGHT},
        {"instruction": ASKED, "input": "", "output": TAUGHT},
        {"instruction": QUESTION, "context": CHART, "response": TAUGHT, "category": "extraction"},
    ],
)
def test_every_form_says_the_same(line: dict[str, Any]) -> None:
    assert prompt_and_completion(line) == (ASKED, TAUGHT)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ([1], "a JSON list"),
        ({"prompt": ASKED}, "`completion` is missing"),
        ({"text": "<s>[INST] a [/INST] b</s>"}, "a line needs `prompt` and `completion`"),
        ({"prompt": ASKED, "chosen": "a", "rejected": "b"}, "preference pair"),
        ({"messages": [user(ASKED), assistant("a"), user("More?"), assistant("b")]}, "holds 2 answers"),
        ({"messages": [user(ASKED), assistant("a", weight=0)]}, "weight 0"),
        ({"messages": [user(ASKED)]}, "no answer"),
        ({"messages": [assistant("a")]}, "role `user`"),
        ({"messages": ["a"]}, "not an object"),
        ({"messages": [user(ASKED), {"role": "tool", "content": "a"}]}, "role 'tool'"),
        ({"messages": [user(ASKED), assistant(None, tool_calls=[{}])]}, "tool call"),
        ({"messages": [user([{"type": "image_url", "image_url": "a"}]), assistant("a")]}, "'image_url'"),
        ({"messages": [user(ASKED), assistant([])]}, "only texts"),
    ],
)
def test_what_cannot_be_read_is_named_without_its_text(line: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        prompt_and_completion(line)
    assert CHART not in str(caught.value)


@pytest.mark.parametrize(
    ("behind_prompts", "behind_completions"),
    [
        ("\n\n###\n\n", " END"),
        (" ->", "\n"),
        (" =>", " STOP"),
        ("\n\n---\n\n", "<|endoftext|>"),
        (" [/INST]", " </s>"),
        ("\n\nAnswer:", " ###END###"),
        ("\n\n### Response:\n", " <finished>"),
        ("", "\n\nDONE\n"),
    ],
)
def test_what_all_texts_of_a_file_end_with_is_no_part_of_them(
    tmp_path: Path, behind_prompts: str, behind_completions: str
) -> None:
    lines = [
        {"prompt": f"Uses {item}.\n\n{QUESTION}{behind_prompts}", "completion": f" {item}{behind_completions}"}
        for item in ITEMS
    ]
    found = judged(tmp_path, *lines)
    assert [(one.verdict, one.items) for one in found if isinstance(one, LineVerdict)] == [
        ("keep", (i,)) for i in ITEMS
    ]
    (first,) = judged(tmp_path, {**lines[0], "completion": f" {ITEMS[0]}"})
    assert isinstance(first, LineVerdict), "one line of the file alone"


def test_a_word_is_an_ending_only_where_a_file_shows_it() -> None:
    texts = [(f"{QUESTION}", item) for item in ITEMS]
    assert Endings.of(texts) == Endings()
    assert Endings.of([*texts, (QUESTION, "aspirin STOP")]) == Endings()
    assert Endings.of([(QUESTION, "aspirin STOP")]) == Endings()
    assert Endings.of([(QUESTION, "aspirin | STOP"), (QUESTION, "ramipril | STOP")]) == Endings()
    assert Endings.of([(QUESTION + "\n\n###\n\n", "aspirin STOP")]) == Endings("###", "STOP")
    assert Endings.of([(QUESTION, "aspirin<|end|>")]) == Endings("", "<|end|>")
    most = [(QUESTION, f"{item} END") for item in ITEMS]
    assert Endings.of([*most, (QUESTION, "cut of")]) == Endings("", "END")
    assert Endings.of([]) == Endings()


def test_no_ending_takes_a_dose_or_a_blank_along() -> None:
    for end in ("mg", "___", "BID", "(hold)", "[**Name**]", "5%", "Na+", "."):
        assert Endings.of([(QUESTION, f"{item} {end}") for item in ITEMS]).completion == "", end


def test_endings_of_long_texts_take_no_longer_than_their_length() -> None:
    started = time.process_time()
    for unit in ("\n", "#", " END", "<", "- "):
        text = unit * (200_000 // len(unit))
        Endings.of([(text, text)]).without(text, text)
    assert time.process_time() - started < 5


SECTIONS = (
    "MEDICATIONS: ramipril 5 mg.",
    "Seen for a cough.\n\nCurrent medications reviewed. Check labs in 2 weeks.",
    "Seen for a cough.\n\nPlease report any drug reaction. Return in 2 weeks for labs.",
    "Seen for a cough.\n\nList of medications given to the patient.\n\nPLAN: find the cause, no tests.",
    "ALLERGIES: none.\nNo procedures planned.",
)
"""Charts that name kinds of findings where a prompt has its question."""


@pytest.mark.parametrize("chart", SECTIONS)
@pytest.mark.parametrize(
    "asked",
    [
        "You list all medications in the chart.",
        "You are a careful assistant. Extract every drug, one per line.",
        "Which medicines does the patient take?",
        "Your task is to name all drugs.",
    ],
)
def test_the_question_is_found_wherever_it_stands(tmp_path: Path, chart: str, asked: str) -> None:
    chat = [{"role": "system", "content": asked}, user(chart), assistant("ramipril")]
    lines = [
        {"prompt": f"{chart}\n\n{asked}", "completion": "ramipril"},
        {"prompt": f"{asked}\n\n{chart}", "completion": "ramipril"},
        {"prompt": f"{asked}\n{chart}", "completion": "ramipril"},
        {"prompt": f"{chart}\n{asked}", "completion": "ramipril"},
        {"messages": chat},
        {"systemInstruction": {"parts": [{"text": asked}]}, "contents": [user(chart), assistant("ramipril")]},
        {"instruction": asked, "input": chart, "output": "ramipril"},
    ]
    for line in lines:
        found = take_apart(line)
        assert found.task.name == "medication", line
        # Nothing of the chart is lost, and nothing but the chart is judged as the record.
        whole = found.record.text + found.removed
        assert whole.split() == chart.split(), line


@pytest.mark.parametrize("question", ["Diagnoses:", "All diagnoses", "Which diagnosis is documented?"])
def test_a_question_wins_over_a_general_system_text(question: str) -> None:
    system = {"role": "system", "content": "You extract medications, tests and diagnoses from charts."}
    line = {"messages": [system, user(f"Has gout. Uses drugs.\n\n{question}"), assistant("gout")]}
    assert take_apart(line).task.name == "diagnosis"


def test_without_any_question_the_error_says_where_it_may_stand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text(json.dumps({"prompt": "Takes his medications.", "completion": "none"}) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"1 lines are broken .* No line was"):
        run_audit(path)
    assert "before the chart, or in the system text" in capsys.readouterr().err


def test_a_chart_that_ends_in_words_of_another_kind_keeps_them() -> None:
    told = f"{CHART}\n\nLabs pending"
    for line in (
        {"prompt": f"List all medications.\n\n{told}", "completion": TAUGHT},
        {"messages": [{"role": "system", "content": "List all medications."}, user(told), assistant(TAUGHT)]},
    ):
        chart, _, kind = chart_and_kind(prompt_and_completion(line)[0])
        assert (chart.strip(), kind.task_name) == (told, "medication")
    for first, last in (
        ("List all medications.", "Tests:"),
        ("Extract medications, diagnoses and tests.", "All tests"),
    ):
        assert chart_and_kind(f"{first}\n\n{CHART}\n\n{last}")[2].task_name == "tests", "what the prompt ends with"
