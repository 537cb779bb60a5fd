"""Answers that validation generates: in batches that fit, and the same in any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from chartdistill.training import TrainOptions, generate
from chartdistill.training.model import load_model, why_not_packed
from training_shapes import FAMILIES, make_model


def test_answers_are_generated_in_batches_that_fit_and_are_the_same(tiny_model: Path) -> None:
    lengths = [40, 900, 7, 300, 41, 42, 43] + [5] * 70
    for expected in ([0] * len(lengths), [4, 60, 5, 70, 4, 66, 5] + [61, 4] * 35):
        batches = list(generate._batches(lengths, 10, 400, 32, expected))
        assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
        for batch in batches:
            padded = len(batch) * (max(lengths[i] for i in batch) + 10)
            assert len(batch) == 1 or (padded <= 400 and len(batch) <= 32)
        assert len(batches) < 10
        mixed = [batch for batch in batches if len({expected[i] > 9 for i in batch}) > 1]
        assert len(mixed) <= 1, "short answers do not wait for long ones"
    model = load_model(tiny_model, TrainOptions(dtype="float32"))
    prompts = [[3 + i + k for k in range(4 + 9 * i)] for i in range(6)]
    one, all_together = (generate.generate_everywhere(model, prompts, 2, 8, room) for room in (1, 10_000))
    sorted_out = generate.generate_everywhere(model, prompts, 2, 8, 60, expected=[9, 1, 1, 9, 9, 1])
    assert one == all_together == sorted_out


def test_on_a_card_a_batch_has_the_room_that_is_free(tiny_model: Path) -> None:
    """128 prompts of 1,000 tokens at once on 80 GB, where a training pass of 8,192 tokens would hold 7."""
    from transformers import Qwen3Config

    from chartdistill.training.memory import answer_tokens_at_once

    student = Qwen3Config(
        num_hidden_layers=28, hidden_size=2048, num_attention_heads=16, num_key_value_heads=8, head_dim=128,
        intermediate_size=6144,
    )  # fmt: skip
    # 2 bytes x (2 x 1,024 x 29 + 1,024 x 28): 176,128 a token; 3 x 6,144 + 4 x 2,048 is less than 1,024 x 28.
    assert answer_tokens_at_once(student, 176_128 * 2 * 1000, 2) == 1000
    student.num_key_value_heads = 4  # 2 bytes x (2 x 512 x 29 + 3 x 6,144 + 4 x 2,048)
    assert answer_tokens_at_once(student, 112_640 * 2 * 1000, 2) == 1000
    student.num_key_value_heads = 8
    assert answer_tokens_at_once(student, 60 * 2**30, 2) > 128 * 1100

    from chartdistill.training.generate import _batches, room_for_answers

    model = load_model(tiny_model, TrainOptions(dtype="float32"))
    lengths = [1000] * 128

    def sizes(*free: int) -> list[int]:
        return [len(batch) for batch in _batches(lengths, 64, *room_for_answers(model, 8192, *free), [0] * 128)]

    assert sizes(60 * 2**30) == [128]
    assert set(sizes()) == {7, 2}, "as on a CPU"
    assert sizes(1 << 20) == sizes(), "a full card has a training pass's room at least"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_record_is_computed_once_for_all_its_questions_and_the_answers_are_the_same(family: str) -> None:
    model = make_model(family).eval()
    records = [[3 + (7 * i + k) % 40 for k in range(4 + 9 * i)] for i in range(5)]
    questions = [[5, 6], [7], [8, 9, 10, 11]]
    prompts = [record + question for record in records for question in questions] + [[12, 13]]
    shared = [len(record) for record in records for _ in questions] + [0]
    expected = [i % 3 * 5 for i in range(len(prompts))]
    plain, plain_tokens = counted(model, prompts, None, expected, 400)
    for room in (1, 60, 400, 10_000):
        answers, tokens = counted(model, prompts, shared, expected, room)
        assert answers == plain
        if room >= 400 and why_not_packed(model) is None:
            assert tokens < plain_tokens / 1.5, "each record was computed again for each question"
    seeds = list(range(len(prompts)))
    drawn = [
        generate.draw_answers(model, prompts, 2, 6, (room, 32), seeds, 1.0, 48, among)
        for room, among in ((400, ()), (400, shared), (60, shared))
    ]
    assert drawn[0] == drawn[1] == drawn[2]


def test_each_process_answers_all_questions_about_its_records() -> None:
    prompts = [[1, 9], [2, 9], [1, 8], [3, 9], [1, 7], [3, 8]]
    shares = [generate._share(prompts, [1] * 6, process, 2) for process in range(2)]
    assert shares == [[0, 2, 3, 4, 5], [1]]
    assert [generate._share(prompts, [], process, 2) for process in range(2)] == [[0, 2, 4], [1, 3, 5]]


def counted(model: Any, prompts: list[list[int]], shared: list[int] | None, expected: list[int], room: int) -> Any:
    """Answers, and the tokens that went through the model's embeddings, padding included."""
    seen: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _m, given, _out: seen.append(given[0].numel()))
    with torch.no_grad():
        answers = generate.generate_everywhere(model, prompts, 2, 6, room, 32, expected, shared)
    hook.remove()
    return answers, sum(seen)
