"""When a teacher's distributions may be used, and for which tokens."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import pytest

from chartdistill.errors import InputError, TrainingError
from chartdistill.schema import TopLogprobs
from chartdistill.training.distillation import check_vocabularies, teacher_tokens, vocabulary_hash


def stored(tokens: list[int], k: int = 2) -> TopLogprobs:
    def packed(values: Any, kind: str) -> str:
        return base64.b64encode(np.asarray(values, dtype=kind).tobytes()).decode()

    ids = [[token, token + 1][:k] for token in tokens]
    return TopLogprobs(k=k, token_ids=packed(tokens, "<i4"), ids=packed(ids, "<i4"),
                       logprobs=packed([[-0.25, -2.0][:k]] * len(tokens), "<f2"))  # fmt: skip


def test_distributions_are_used_for_the_very_tokens_that_are_trained() -> None:
    found = teacher_tokens(stored([5, 6, 2]), [5, 6, 2])
    assert found is not None and found.ids.tolist() == [[5, 6], [6, 7], [2, 3]]
    assert found.logprobs.tolist() == [[-0.25, -2.0]] * 3
    assert teacher_tokens(stored([5, 6, 2]), [5, 7, 2]) is None
    other_end = teacher_tokens(stored([5, 6, 3]), [5, 6, 2])
    assert other_end is not None and other_end.logprobs.tolist() == [[-0.25, -2.0]] * 2 + [[-math.inf] * 2]
    assert teacher_tokens(stored([5, 6, 2]), [5, 6]) is None


def test_damaged_distributions_are_an_error() -> None:
    with pytest.raises(InputError, match="tokens x k"):
        teacher_tokens(stored([5, 6]).model_copy(update={"k": 3}), [5, 6])
    with pytest.raises(InputError, match="base64"):
        teacher_tokens(stored([5, 6]).model_copy(update={"ids": "no base64!"}), [5, 6])


class Words:
    """A vocabulary."""

    def __init__(self, *words: str) -> None:
        self._words = {word: number for number, word in enumerate(words)}

    def get_vocab(self) -> dict[str, int]:
        return self._words


def test_other_vocabularies_are_refused() -> None:
    check_vocabularies(Words("a", "b"), Words("a", "b"))
    assert vocabulary_hash(Words("a", "b")) != vocabulary_hash(Words("b", "a"))
    with pytest.raises(TrainingError, match="2 of the student's tokens have another id"):
        check_vocabularies(Words("a", "b", "c"), Words("b", "a"))
