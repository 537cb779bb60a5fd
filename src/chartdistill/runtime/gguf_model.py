"""A GGUF file, as llama.cpp and Ollama use it -> a model folder that vLLM serves and LoRA trains.

In: one file with weights of any quantisation. Out: a folder with safetensors in bfloat16, tokenizer, chat template,
licence and `import.json`, which says what it was made from. Must hold: no code of the source is run; the folder is
there whole or not at all; every number of the file is in it; it answers three simple questions.

Quantised weights keep the precision they were stored with: a Q4 file gives a 4-bit model in a 16-bit folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chartdistill.errors import InputError, ModelError
from chartdistill.runtime.gguf_file import DIGITS_APART, GgufFile, read_gguf
from chartdistill.runtime.model_folder import check_model, load_tokenizer
from chartdistill.runtime.run_folder import disk_errors, versions_of
from chartdistill.runtime.whole_folder import whole_folder

IMPORT_NOTE = "import.json"
"""In the folder: source and result with their SHA-256, versions, and the answers it was checked with."""
_PROMPTS = {
    "What is the capital of France?": "paris",
    "How many days are in a week?": "seven|7",
    "What is 2 + 2?": "four|4",
}
"""Question -> a pattern of the words of which a right answer has one."""
_RIGHT_ANSWERS = 2
_ANSWER_TOKENS = 24
_SAMPLE = 'Pt. is 67 y/o;  takes 12.5 mg  (½ tab) q.d., \n\tBP 120/80 – "stable" at 37.2 °C.'
"""Spaces before digits, a fraction, a tab, signs beyond ASCII: what a tokenizer may lose."""
Say = Callable[[str], None]


def import_gguf(
    file: Path, folder: Path, licence: Path | None = None, any_answers: bool = False, say: Say = lambda line: None
) -> dict[str, Any]:
    """Convert `file` into the new model folder `folder`; the content of its `import.json`.

    A folder that was made from the same file, and is still as it was made, is left as it is.

    Args:
        licence: a text file to go along as LICENSE.
        any_answers: take a model that answers the questions wrongly, too: one for another language, say.
        say: told in a line each what is begun and what was done.

    Raises:
        InputError: `file` is not a whole GGUF file, or `folder` holds something else.
        ModelError: transformers cannot read it, there is no chat template, or what comes out does not answer sanely.
        ArtefactError: the disk is full, or `folder` cannot be written.
    """
    found = read_gguf(file)
    size = file.stat().st_size
    source = {"name": file.name, "bytes": size, "sha256": sha256(file)}
    if licence is not None and not licence.is_file():
        raise InputError(f"--licence {licence} is no file. Name the text of the licence, or leave it out.")
    if (made := _made_before(folder, source)) is not None:
        say(f"{folder} was made from {file} before; nothing to do")
        return made
    say(f"converting {file} ({size / 1e6:.0f} MB, {found.architecture}) to {folder}")
    if folder.is_symlink() and folder.is_dir():  # to an empty folder: a folder cannot take a link's place
        folder = folder.resolve()
    with disk_errors(folder), whole_folder(folder) as work:
        if (made := _made_before(folder, source)) is not None:  # by another process, just now
            say(f"{folder} was made from {file} in the meantime; nothing to do")
            return made
        _convert(found, work)
        _add_licence(work, licence, found)
        check_model(work)
        answers = _answers(work, found)
        right = sum(
            re.search(rf"\b({word})\b", answers[asked], re.IGNORECASE) is not None for asked, word in _PROMPTS.items()
        )
        if right < _RIGHT_ANSWERS and not any_answers:
            raise ModelError(
                f"{file} was converted, but only {right} of its {len(answers)} answers are right: {answers}. The file "
                "may be damaged, or its architecture read wrongly. If the model is not meant to know that (another "
                "language, another use), say --any-answers; else use the model's safetensors."
            )
        note = {
            "source": source,
            "result": {path.name: sha256(path) for path in sorted(work.iterdir())},
            "dtype": "bfloat16",
            "versions": versions_of("chartdistill", "gguf", "transformers", "torch"),
            "answers": answers,
            "right_answers": right,
        }
        (work / IMPORT_NOTE).write_text(json.dumps(note, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    say(f"{folder} is ready; {right} of {len(answers)} answers are right: {' '.join(answers.values())}")
    return note


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _made_before(folder: Path, source: dict[str, Any]) -> dict[str, Any] | None:
    """The note of a folder that was made from this source; None where there is nothing yet.

    Raises:
        InputError: something else is there, or it was changed since.
    """
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        note = json.loads((folder / IMPORT_NOTE).read_text(encoding="utf-8"))
        of_source, result = note["source"], dict(note["result"])
    except (OSError, ValueError, LookupError, TypeError):
        of_source, result = None, {}
    if of_source != source:
        raise InputError(
            f"{folder} is there already, and was not made from this file. Name a new folder, or remove that one first."
        )
    changed = [name for name, was in result.items() if not (folder / name).is_file() or sha256(folder / name) != was]
    if changed:
        raise InputError(
            f"{folder} was made from this file, but {', '.join(changed)} was changed or removed since. Remove the "
            "folder to make it again."
        )
    return dict(note)


def _convert(found: GgufFile, folder: Path) -> None:
    """Write weights and tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with tempfile.TemporaryDirectory(prefix="chartdistill-gguf-") as alone:
        # By itself: transformers would also read a config.json or an adapter that lies beside the file.
        (Path(alone) / "model.gguf").symlink_to(found.path.resolve())
        try:
            tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file="model.gguf", local_files_only=True)
        except Exception as error:  # tokenizers raises no narrower one for a vocabulary that does not hold together
            raise ModelError(
                f"{found.path}: transformers makes no tokenizer of its vocabulary ({type(error).__name__}: {error}). "
                "Copy or download it again if it may be damaged; else use the model's safetensors instead."
            ) from error
        try:
            model, told = AutoModelForCausalLM.from_pretrained(
                alone,
                gguf_file="model.gguf",
                # Without it the weights stay quantised, and such a model cannot be saved.
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.bfloat16,
                local_files_only=True,
                output_loading_info=True,
            )
        except (ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(
                f"{found.path} cannot be converted: transformers says: {error}. Use the model's safetensors instead."
            ) from error
    _require_all_weights(found, model, told)
    _cut_as_learned(tokenizer, found)
    tokenizer.name_or_path = model.config._name_or_path = ""  # else a path of this machine stays in the folder
    tokenizer.init_kwargs.pop("gguf_file", None)
    tokenizer.model_max_length = model.config.get_text_config().max_position_embeddings
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _require_same(model, folder)


def _require_all_weights(found: GgufFile, model: Any, told: dict[str, Any]) -> None:
    """transformers makes up weights that it misses, and leaves out what it has no place for, without an error."""
    wrong = [f"{name}: {', '.join(map(str, list(told[name])[:3]))}" for name in ("missing_keys", "mismatched_keys")
             if told.get(name)]  # fmt: skip
    taken = sum(parameter.numel() for parameter in model.parameters())
    if not wrong and taken != found.values:
        wrong = [f"the file holds {found.values:,} numbers, {type(model).__name__} takes {taken:,}"]
    if wrong:
        raise ModelError(
            f"{found.path}: transformers does not read all of its weights ({'; '.join(wrong)}), so it would be another "
            "model. Use the model's safetensors instead."
        )


def _cut_as_learned(tokenizer: Any, found: GgufFile) -> None:
    """Give the tokenizer the way of cutting text that the file names where transformers has none for it.

    Raises:
        ModelError: text does not come back from it.
    """
    if found.split in DIGITS_APART:
        from tokenizers import Regex, pre_tokenizers

        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(r"\p{N}"), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    back = tokenizer.decode(tokenizer.encode(_SAMPLE, add_special_tokens=False), clean_up_tokenization_spaces=False)
    if back.strip() != _SAMPLE:
        raise ModelError(
            f"{found.path}: its tokenizer does not give back the text it was given ({_SAMPLE!r} became {back!r}). "
            "Use the model's safetensors instead."
        )


def _add_licence(folder: Path, licence: Path | None, found: GgufFile) -> None:
    if licence is not None:
        shutil.copyfile(licence, folder / "LICENSE")
    if found.licence:  # in the front matter of a model card, where hubs and `doctor` look
        card = (
            f"---\nlicense: {' '.join(found.licence.split())}\n---\n\n{found.name or folder.name}, from a GGUF file.\n"
        )
        (folder / "README.md").write_text(card, encoding="utf-8")


def _require_same(model: Any, folder: Path) -> None:
    """What is read back must be what was written, number by number.

    Raises:
        ModelError: the first weights that differ.
    """
    import torch
    from transformers import AutoModelForCausalLM

    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True).state_dict()
    for name, value in model.state_dict().items():
        if name not in again or not torch.equal(again[name], value):
            raise ModelError(
                f"{name} is read back from {folder} otherwise than it was written. Please report this; use the model's "
                "safetensors instead."
            )


def _answers(folder: Path, found: GgufFile) -> dict[str, str]:
    """Greedy answers of the new folder, of at most `_ANSWER_TOKENS` tokens.

    Raises:
        ModelError: the chat template fails, or an answer is empty.
    """
    import torch
    from jinja2 import TemplateError
    from transformers import AutoModelForCausalLM

    tokenizer, answers, named = load_tokenizer(folder), {}, found.path
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True).eval()
    for asked in _PROMPTS:
        turns: Sequence[dict[str, str]] = [{"role": "user", "content": asked}]
        try:
            ids = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", return_dict=True, enable_thinking=False
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise ModelError(f"{named}: its chat template fails: {error}. Take another file of the model.") from error
        with torch.inference_mode():
            given = model.generate(**ids, max_new_tokens=_ANSWER_TOKENS, do_sample=False)[0]
        answers[asked] = tokenizer.decode(given[ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()
        if not answers[asked]:
            raise ModelError(f"{named}: the model answers {asked!r} with nothing. The file may be damaged.")
    return answers
