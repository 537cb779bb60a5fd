"""README.md of an export: what it is made from, how it compares, and how it is asked.

In: facts, the table of the comparison, the prompt. Out: Markdown with front matter. Must hold: no chart text and no
path of this machine; a comparison that was not made is said not to be, with what to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from chartdistill.export.options import Limits
from chartdistill.export.parity import Row, counted, write_table
from chartdistill.export.prompt_form import PROMPT_FILE, PromptForm

_CONTROL = (
    "**Chart text.** Training, and `chartdistill predict`, hand over token ids, so that a chart which spells a control "
    "token (`{end}`) stays text. A program that is handed the prompt as text makes a control token of it: take such "
    "spellings out of charts that others can write."
)
_HELD = (
    "`chartdistill predict` and `evaluate` hold answers to {what} while they are written. Other programs do not, and "
    "in the comparison nobody did: an answer may break the format, or name what the chart does not have."
)
CONFIDENCE = "confidence.py"
_MEANING = {"right": "is right, its status included", "agrees with the teacher": "agrees with the teacher's kept label"}
_PRIVACY = "**Privacy.** A model can repeat words of the charts that it was trained on: hand it on as you would them."


@dataclass(frozen=True)
class Card:
    """What an export's page is made of."""

    title: str
    to: str
    origin: Mapping[str, Any]
    made: Mapping[str, Any]
    """What was done: dtype of a merge, type of a GGUF."""
    warnings: Sequence[str]
    """What must be known before the student is used."""
    questions: Mapping[str, str]
    form: PromptForm
    rank: int
    max_answer_tokens: int
    held_to: str | None
    """What the student's answers are held to, in words; None: to nothing."""
    rows: Sequence[Row] | None
    """None: not compared."""
    limits: Limits
    sure: str | None = None
    """What a confidence is the probability of; None: there is no calibration beside the export."""
    asked_by: str = "vllm"
    """The engine type that the calibration was learned with."""

    def write(self) -> str:
        """The whole page."""
        parts = [
            f"# {self.title}: {_WHAT[self.to]}",
            f"A student that lists what a patient chart says of: {', '.join(self.questions)}. "
            f"Made by chartdistill from {self._base()}.{self._merged()}",
            *(f"**{sentence[0].upper()}{sentence[1:].rstrip('.')}.**" for sentence in self.warnings),
            "## Does it answer as the student did?",
            *self._compared(),
            "## How to ask",
            *self._asked(),
            _CONTROL.format(end=self.form.end),
            *([_HELD.format(what=self.held_to)] if self.held_to else []),
            *self._confidence(),
            "## Limits",
            "Not for decisions about a patient without a person who reads the chart. What it reaches on held-out "
            "charts, and what that does not say: `MODEL_CARD.md`, where the run was reported.",
            _PRIVACY,
        ]
        return self._front_matter() + "\n\n".join(parts) + "\n"

    def _front_matter(self) -> str:
        values: dict[str, Any] = {"base_model": self.origin["base_model"]}
        if self.origin["base_licence"]:
            values["license"] = self.origin["base_licence"]
        values["library_name"] = {"vllm-adapter": "peft", "merged": "transformers"}.get(self.to, "gguf")
        values["pipeline_tag"] = "text-generation"
        values["tags"] = ["distillation", "information-extraction", "clinical", "chartdistill"]
        return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n\n"

    def _base(self) -> str:
        revision = self.origin["base_revision"]
        licence = self.origin["base_licence"] or "not recorded"
        at = f" at revision {revision}" if revision else ""
        return f"{self.origin['base_model']}{at} (licence: {licence}; SHA-256 of its weights: `export.json`)"

    def _merged(self) -> str:
        if self.to == "vllm-adapter":
            return " The adapter alone: the base model's weights are not in this folder."
        said = (
            f" Base and adapter were added up in 32 bits and rounded once to {self.made['dtype']}, as the base is "
            "stored."
        )
        if self.made["dtype"] != "float32":
            said += " That rounding can change answers: see the table."
        if self.origin["trained_over_4_bits"]:
            said += (
                " The adapter was trained over a base in 4 bits (NF4), and is merged into the whole one: other weights "
                "than it learned on."
            )
        if kind := self.made.get("type"):
            said += f" The GGUF file holds {kind}."
        return said

    def _compared(self) -> list[str]:
        if self.rows is None:
            return [
                "**Not compared** (`--no-check`): whether it answers as the student did is not known. Export again "
                "without that option."
            ]
        asked = next(row for row in self.rows if row.absent is None)
        found = [
            f"{asked.prompts} prompts of held-out charts, spread over the tasks, each answered greedily and without "
            "any constraint; an answer differs where any token does. Against the student as it was trained:",
            write_table(self.rows),
            self._counted(self.rows),
        ]
        found += [f"Not compared: {row.what}. {row.absent}." for row in self.rows if row.absent is not None]
        found += [
            f"{row.what}: of {row.cut_otherwise} of {row.prompts} prompts the text is cut into other tokens than in "
            "training, where chart and question were cut apart and joined."
            for row in self.rows
            if row.cut_otherwise
        ]
        return found

    def _counted(self, rows: Sequence[Row]) -> str:
        if asked := "; ".join(row.what for row in counted(rows)):
            return (
                f"Exported, since at most {self.limits.max_differing:.1%} of the answers differ and joint F1 is lower "
                f"by at most {self.limits.max_loss:.3f}, in: {asked}."
            )
        return (
            "**Not compared in any program that this is for**, since none was here to be asked: whether it answers as "
            "the student did there is not known."
        )

    def _confidence(self) -> list[str]:
        if self.to != "vllm-adapter":
            return []
        head = "## How sure it is"
        if self.sure is None:
            return [head, "No confidence: when this was exported the run had no calibration for this adapter."]
        held = " Answers were held to the format then; without that an answer may be another." if self.held_to else ""
        return [
            head,
            f"`calibration.json` makes of the log-probabilities of an item's tokens the probability that it "
            f"{_MEANING[self.sure]}, learned on the run's validation charts from greedy answers to the prompt above "
            f"(engine `{self.asked_by}`).{held} It belongs to this adapter on this base, and to no merged or quantised "
            "weights. Ask with "
            f'`"logprobs": true`, and give the reply to `{CONFIDENCE}`, which needs Python alone:',
            f"```\npython {CONFIDENCE} {next(iter(self.questions))} < reply.json\n```",
        ]

    def _asked(self) -> list[str]:
        return [
            "The prompt must be as in training, decoding greedy; the figures hold for nothing else. The user's text is "
            "the chart, a blank line, and one of these questions:",
            "\n".join(f"- {name}: {' '.join(text.split())}" for name, text in self.questions.items()),
            "The system text:",
            _fenced(self.form.system),
            f"The whole prompt, as the chat template makes it of them (also in `{PROMPT_FILE}`):",
            _fenced(f"{self.form.head}CHART\n\nQUESTION{self.form.tail}"),
            "An answer is one item a line, fields split by ` | `, or `None found`.",
            *self._program(),
        ]

    def _program(self) -> list[str]:
        if self.to in ("gguf", "ollama"):
            return _of_gguf(self)
        base = self.origin["base_model"]
        hub = "/" in base
        revision = f" --revision {self.origin['base_revision']}" if hub and self.origin["base_revision"] else ""
        if self.to == "merged":
            command = "vllm serve . --served-model-name student --generation-config vllm"
            note = "In this folder:"
        else:
            ranks = next((one for one in _RANKS if one >= self.rank), self.rank)
            place = base if hub else "path/to/BASE"
            command = (
                f"vllm serve {place}{revision} --enable-lora --max-lora-rank {ranks} --lora-modules student=. "
                "--generation-config vllm"
            )
            named = "" if hub else f" (`path/to/BASE` is where {base} lies; compare its weights with `export.json`)"
            note = f"In this folder{named}:"
        request: dict[str, Any] = {
            "model": "student",
            "messages": [{"role": "user", "content": "CHART\n\nQUESTION"}],
            "temperature": 0,
            "max_tokens": self.max_answer_tokens,
            "stop_token_ids": [self.form.end_id],
        }
        if self.form.system in self.form.head:
            request["messages"].insert(0, {"role": "system", "content": self.form.system})
        if self.form.template_options:
            request["chat_template_kwargs"] = self.form.template_options
        body = json.dumps(request, ensure_ascii=False, indent=1)
        return [
            note,
            f"```\n{command}\n```",
            "Then to `/v1/chat/completions`:",
            _fenced(body, "json"),
            "vLLM cuts this text by itself; for the very tokens of training send ids to `/v1/completions` (`prompt`: a "
            "list of numbers): head, chart, blank line with question, and tail, each encoded apart and joined.",
        ]


_WHAT = {
    "merged": "merged model",
    "gguf": "GGUF",
    "ollama": "GGUF for Ollama",
    "vllm-adapter": "LoRA adapter for vLLM",
}
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's --max-lora-rank may be."""


def _of_gguf(card: Card) -> list[str]:
    file = card.made["file"]
    found = []
    if card.to == "ollama":
        found += [
            "In this folder (Ollama itself was not asked in the comparison; it runs the same llama.cpp):",
            "```\nollama create student -f Modelfile\n```",
            "Its TEMPLATE is the prompt above, with the system text in it; what a client sends as one is left out.",
        ]
    return [
        *found,
        "With llama.cpp:",
        f"```\nllama-server -m {file} --temp 0 --jinja\n```",
        "and messages as in the prompt above: system text and user's text, temperature 0.",
    ]


def _fenced(text: str, kind: str = "") -> str:
    """A block of code that its own text cannot end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{kind}\n{text}\n{fence}"
