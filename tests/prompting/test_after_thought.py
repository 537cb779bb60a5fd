"""From what a model wrote before its answer to the prompt that its answer follows, in token ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chartdistill.prompting.after_thought import ThoughtReader
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.model_folder import load_tokenizer

MARKS = {  # closing mark -> what stands between it and the answer
    "</think>": "\n\n",
    "[/THINK]": "",
    "<unused95>": "",
    "</seed:think>": "\n\n",
    "<channel|>": "",
}
HARMONY = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>")


def built(folder: Path, *tokens: str, template: str = "<think>\n") -> PromptBuilder:
    tokenizer: Any = load_tokenizer(folder)
    tokenizer.add_tokens(list(tokens))
    tokenizer.chat_template += f"{{% if add_generation_prompt %}}{template}{{% endif %}}"
    return PromptBuilder.from_tokenizer(tokenizer, "Answer.")


def ids_of(builder: PromptBuilder, text: str) -> list[int]:
    return list(builder.tokenizer.encode(text, add_special_tokens=False))


@pytest.mark.parametrize(("mark", "gap"), MARKS.items())
def test_the_answer_follows_the_closing_token(tokenizer_folder: Path, mark: str, gap: str) -> None:
    builder = built(tokenizer_folder, mark)
    reader = ThoughtReader(builder)
    (closing,) = ids_of(builder, mark)
    assert closing in reader.stop_ids
    thought = ids_of(builder, "\nHe takes ibuprofen | start.\n")
    written = reader.read([*thought, closing])
    assert written.text == "He takes ibuprofen | start."
    assert written.go_on is not None and list(written.go_on[: len(thought) + 1]) == [*thought, closing]
    assert builder.tokenizer.decode(list(written.go_on[len(thought) + 1 :])).strip(" ") == gap


def test_a_mark_in_pieces_is_found_in_the_text(tokenizer_folder: Path) -> None:
    builder = built(tokenizer_folder)
    reader = ThoughtReader(builder)
    assert reader.stop_ids == ()
    for behind in ("", "\n\nNone found", "None found", "\n\n<|im_end|>"):
        written = reader.read(ids_of(builder, f"One drug.</think>{behind}"))
        assert written.text == "One drug." and written.go_on is not None
        said = builder.tokenizer.decode(list(written.go_on))
        assert said.endswith("</think>\n\n") and said.startswith("One drug.")


def test_a_thought_that_quotes_the_mark_is_over_at_the_token(tokenizer_folder: Path) -> None:
    """The chart spelled it, and the model repeats that; the prompt goes on with the very ids that were written."""
    builder = built(tokenizer_folder, "</think>")
    (closing,) = ids_of(builder, "</think>")
    # As a tokenizer without that token writes it: in pieces.
    quoted = list(
        load_tokenizer(tokenizer_folder).encode('"</think> aspirin | start" it says', add_special_tokens=False)
    )
    assert closing not in quoted
    written = ThoughtReader(builder).read([*quoted, closing])
    assert written.go_on is not None and written.go_on[: len(quoted) + 1] == (*quoted, closing)
    assert written.text == '"</think> aspirin | start" it says'


@pytest.mark.parametrize("ended", [True, False])
def test_a_thought_that_is_not_over_gives_no_prompt(tokenizer_folder: Path, ended: bool) -> None:
    opened, silent = built(tokenizer_folder), built(tokenizer_folder, template="")
    for builder, text in ((opened, "None found"), (silent, "<think>None found"), (silent, "[THINK] None found")):
        ids = [*ids_of(builder, text), *([builder.end_id] if ended else [])]
        written = ThoughtReader(builder).read(ids)
        assert written.go_on is None and "None found" in written.text


def test_who_answers_at_once_is_asked_the_plain_question(tokenizer_folder: Path) -> None:
    builder = built(tokenizer_folder, template="")
    for text in ("None found", "aspirin | start", ""):
        assert ThoughtReader(builder).read([*ids_of(builder, text), builder.end_id]).go_on == ()


def test_a_channel_that_ends_with_a_token_of_its_own_is_followed_by_the_final_one(tokenizer_folder: Path) -> None:
    builder = built(tokenizer_folder, *HARMONY, template="")
    ids = [*ids_of(builder, "<|channel|>analysis<|message|>One drug."), builder.end_id]
    written = ThoughtReader(builder).read(ids)
    assert written.text == "One drug." and written.go_on is not None
    assert builder.tokenizer.decode(list(written.go_on)).endswith("<|start|>assistant<|channel|>final<|message|>")
    through = ids_of(builder, "<|channel|>analysis<|message|>One.<|end|><|start|>assistant<|channel|>final<|message|>")
    assert ThoughtReader(builder).read([*through, *ids_of(builder, "aspirin")]).go_on == tuple(through)
