"""Ollama's Modelfile: the training prompt as its TEMPLATE, and what decodes as the student is decoded.

In: the prompt's form. Out: text. Must hold: what Ollama puts around the user's text is what training put there,
whatever system text a client sends; nothing is drawn or penalised, since Ollama does both unless told.

The user's text is chart, blank line, question. TEMPLATE is written out rather than left to the template in the GGUF
file, which Ollama does not run; the system text stands in it as text, since a client may send another one.
Format: https://github.com/ollama/ollama/blob/main/docs/modelfile.mdx.
"""

from __future__ import annotations

from collections.abc import Mapping

from chartdistill.errors import ModelError
from chartdistill.export.prompt_form import PromptForm

MODELFILE = "Modelfile"
_LARGEST_CONTEXT = 8192
"""Ollama reserves memory for all of it."""


def write_modelfile(
    form: PromptForm, gguf: str, context: int, max_answer_tokens: int, licence: str | None, questions: Mapping[str, str]
) -> str:
    """The whole file.

    Args:
        gguf: name of the file beside it.
        context: tokens that the model can take.
        licence: text of the base model's licence; None where none lies with it.

    Raises:
        ModelError: a text cannot stand in the file.
    """
    asked = "\n".join(f"#   {name}: {' '.join(question.split())}" for name, question in questions.items())
    lines = [
        "# Ask with the chart, a blank line, and one of these questions, at temperature 0:",
        asked,
        f"FROM ./{gguf}",
        f"TEMPLATE {_quoted(_literal(form.head_without_bos) + '{{ .Prompt }}' + _literal(form.tail), 'prompt')}",
        f"PARAMETER stop {_quoted(form.end, 'end')}",
        "PARAMETER temperature 0",
        "PARAMETER top_k 1",
        "PARAMETER repeat_penalty 1.0",
        "PARAMETER seed 0",
        f"PARAMETER num_ctx {min(context, _LARGEST_CONTEXT)}",
        f"PARAMETER num_predict {max_answer_tokens}",
    ]
    if licence is not None:
        lines.append(f"LICENSE {_quoted(licence, 'licence')}")
    return "\n".join(lines) + "\n"


def _literal(text: str) -> str:
    """Text as Go's template language writes it out: its braces are no action."""
    return text.replace("{{", '{{ "{{" }}')


def _quoted(text: str, what: str) -> str:
    """Three quotes keep line breaks as they are.

    Raises:
        ModelError: the text holds three quotes, or ends with one.
    """
    if '"""' in text or text.endswith('"'):
        raise ModelError(
            f'the {what} holds """ or ends with a quote, which no Modelfile can hold. Change the system text '
            "(config: `system`), or export as --to gguf."
        )
    return f'"""{text}"""'
