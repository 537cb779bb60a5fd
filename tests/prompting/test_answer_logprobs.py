"""Which tokens wrote an item: the same for the teacher's votes and the student's confidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from chartdistill.config import load_task
from chartdistill.prompting.answer_format import format_answer, parse_answer
from chartdistill.prompting.answer_logprobs import item_logprobs, logprobs_of_items
from chartdistill.schema import Item, ItemLogprobs
from places import ROOT

MEDICATION, TESTS = (load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "tests"))
ANSWER = "Velorim 5 mg | start\nDormax | stop\nQuelto | hold"


def as_written(pieces: list[str], task: Any, answer: str | None = None) -> dict[str, tuple[Any, Any]]:
    """Item text -> numbers (from 1 on) of the tokens of its text and of its status."""
    found = logprobs_of_items(
        "".join(pieces) if answer is None else answer, pieces, [-float(n) for n in range(1, len(pieces) + 1)], task
    )
    return {
        item.text: (tuple(int(-one) for one in of.text), tuple(int(-one) for one in of.status))
        for item, of in found.items()
    }


def test_the_line_break_before_an_item_and_the_bar_behind_it_are_its_own() -> None:
    pieces = ["Vel", "orim", " |", " st", "art", "\n", "Dor", "max", " |", " stop"]
    assert as_written(pieces, MEDICATION) == {"Velorim": ((1, 2, 3), (4, 5)), "Dormax": ((6, 7, 8, 9), (10,))}
    assert as_written(["C", "BC", "\n", "EKG"], TESTS) == {"CBC": ((1, 2), ()), "EKG": ((3, 4), ())}


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["Velorim | start\nDor", "max | stop"], {"Velorim": ((), (1,)), "Dormax": ((1,), (2,))}),
        (["Velorim |", " start\n", "Dormax |", " stop"], {"Velorim": ((1,), (2,)), "Dormax": ((2, 3), (4,))}),
        (["Velorim", " | start", "\nDormax", " | stop"], {"Velorim": ((1,), (2,)), "Dormax": ((3,), (4,))}),
        (["Velorim | start\nDormax | stop"], {"Velorim": ((), (1,)), "Dormax": ((), (1,))}),
        (["V|st", "art\nD|", "stop"], {"V": ((), (1, 2)), "D": ((2,), (3,))}),
    ],
)
def test_a_token_that_crosses_a_line_is_of_both(pieces: list[str], expected: dict[str, Any]) -> None:
    assert as_written(pieces, MEDICATION) == expected


def test_white_space_around_an_answer_is_nobodys_item_but_the_break_before_the_first() -> None:
    pieces = ["\n", "CBC", "\n", "EKG", "\n", " "]
    assert as_written(pieces, TESTS) == {"CBC": ((1, 2), ()), "EKG": ((3, 4), ())}


def test_an_item_that_repeats_has_the_tokens_of_the_first_time() -> None:
    assert as_written(["CBC", "\n", "EKG", "\n", "CBC"], TESTS) == {"CBC": ((1,), ()), "EKG": ((2, 3), ())}


@pytest.mark.parametrize("answer", ["None found", "", "no such format | at | all", "CBC\n\nEKG"])
def test_what_has_no_items_has_no_log_probabilities(answer: str) -> None:
    assert logprobs_of_items(answer, [answer], [-1.0], TESTS) == {}


def test_tokens_of_another_text_are_nobodys() -> None:
    assert as_written(["CBC", "\n", "EKG"], TESTS, answer="CBC\nEEG") == {}
    assert as_written(["CBC"], TESTS, answer="CBC\nEKG") == {}
    assert as_written(["CBC", "\n", "CBC", "\n", "EKG"], TESTS, answer="CBC\nEKG") == {}, "a line was taken off"


def _tokenizers(tmp: Path, demo: Path) -> dict[str, Any]:
    """The demo's own, one that merges across line breaks and fields, and one of single bytes."""
    merging = Tokenizer(models.BPE())
    merging.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<end>"], initial_alphabet=sorted(set(ANSWER)), show_progress=False
    )
    merging.train_from_iterator([ANSWER] * 20, trainer)
    bytewise = Tokenizer(models.BPE())
    bytewise.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        vocab_size=len(set(ANSWER)) + 1, special_tokens=["<end>"], initial_alphabet=sorted(set(ANSWER)),
        show_progress=False,
    )  # fmt: skip
    bytewise.train_from_iterator([ANSWER], trainer)
    found: dict[str, Any] = {"demo": AutoTokenizer.from_pretrained(demo)}
    for name, one in (("merging", merging), ("single", bytewise)):
        found[name] = PreTrainedTokenizerFast(tokenizer_object=one, eos_token="<end>")
    smol = ROOT / "models" / "SmolLM2-135M-Instruct"
    if smol.is_dir():
        found["SmolLM2"] = AutoTokenizer.from_pretrained(smol)
    return found


def test_every_tokenizer_gives_every_item_its_tokens(tmp_path: Path, tokenizer_folder: Path) -> None:
    tokenizers = _tokenizers(tmp_path, tokenizer_folder)
    crossing = tokenizers["merging"]
    ids = crossing.encode(ANSWER, add_special_tokens=False)
    assert any("\n" in piece.strip("\n") for piece in map(crossing.decode, ([i] for i in ids))), "it does merge"
    for name, tokenizer in tokenizers.items():
        ids = tokenizer.encode(ANSWER, add_special_tokens=False)
        for end in ([], [tokenizer.eos_token_id]):
            logprobs = [-0.5] * len(ids) + [-7.0] * len(end)
            found = item_logprobs(ANSWER, [*ids, *end], logprobs, MEDICATION, tokenizer, tokenizer.eos_token_id)
            assert list(found) == list(parse_answer(ANSWER, MEDICATION) or ()), name
            values = [one for of in found.values() for one in (*of.text, *of.status)]
            assert set(values) == {-0.5}, f"{name}: the token that ends the answer is of no item"
            assert all(of.status for of in found.values()), name


def test_letters_of_several_tokens_do_not_lose_an_item(tokenizer_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    items = (Item(text="M\u00e9ni\u00e8re \u2265 5 \u00b5g \u4e2d"), Item(text="gout"))
    ids = tokenizer.encode(format_answer(items), add_special_tokens=False)
    text = tokenizer.decode(ids)
    found = item_logprobs(text, ids, [-1.0] * len(ids), TESTS, tokenizer, tokenizer.eos_token_id)
    assert len(found) == 2
    assert sum(len(of.text) for of in found.values()) == len(ids)


def test_without_log_probabilities_or_ids_there_are_none(tokenizer_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    ids = tokenizer.encode("gout", add_special_tokens=False)
    for logprobs in (None, (), [-1.0] * (len(ids) + 1)):
        assert item_logprobs("gout", ids, logprobs, TESTS, tokenizer, 0) == {}
    assert item_logprobs("gout", (), (-1.0,), TESTS, tokenizer, 0) == {}


def test_the_mean_is_over_text_and_status() -> None:
    assert ItemLogprobs(text=(-1.0, -2.0), status=(-3.0,)).mean == -2.0
