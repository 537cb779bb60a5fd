"""The teacher's stored distributions, made ready for the distillation loss, and when they may be used."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chartdistill.errors import InputError, TrainingError
from chartdistill.schema import TopLogprobs


@dataclass(frozen=True)
class TeacherTokens:
    """What the teacher held likely at each token of an answer: `ids`, `logprobs` (natural log) [tokens, k]."""

    ids: NDArray[np.int64]
    logprobs: NDArray[np.float32]


def teacher_tokens(stored: TopLogprobs, answer_ids: Sequence[int]) -> TeacherTokens | None:
    """The distributions of an answer, if it is the one that is trained; else None.

    A label that a filter changed, or that the teacher spelled in other tokens, has no distribution for the tokens
    that are trained. A teacher that ended by another id than ours keeps its distributions for all tokens before.

    Raises:
        InputError: the arrays do not fit together.
    """
    tokens = _array(stored.token_ids, "<i4", "token_ids")
    ids = _array(stored.ids, "<i4", "ids").astype(np.int64)
    logprobs = _array(stored.logprobs, "<f2", "logprobs").astype(np.float32)
    if ids.size != logprobs.size or ids.size != len(tokens) * stored.k:
        raise InputError(
            f"top_logprobs of a label hold {len(tokens)} tokens, {ids.size} ids and {logprobs.size} log-probabilities "
            f"at k = {stored.k}; they must be tokens x k. The file was edited: run `chartdistill label CONFIG` again."
        )
    if len(tokens) != len(answer_ids) or tokens[:-1].tolist() != list(answer_ids[:-1]):
        return None
    logprobs = logprobs.reshape(-1, stored.k)
    if tokens[-1] != answer_ids[-1]:
        logprobs[-1] = float("-inf")
    return TeacherTokens(ids.reshape(-1, stored.k), logprobs)


def _array(text: str, kind: str, name: str) -> NDArray[Any]:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype=kind)
    except (binascii.Error, ValueError) as error:
        raise InputError(
            f"top_logprobs.{name} of a label is not base64 of {kind} numbers ({error}). The file was edited: run "
            "`chartdistill label CONFIG` again."
        ) from None


def vocabulary_hash(tokenizer: Any) -> str:
    """Hash of token -> id, special tokens included: equal for tokenizers whose ids mean the same."""
    entries = sorted(tokenizer.get_vocab().items(), key=lambda entry: (entry[1], entry[0]))
    return hashlib.sha256(repr(entries).encode()).hexdigest()[:16]


def check_vocabularies(teacher: Any, student: Any, option: str = "train.distillation") -> None:
    """Refuse to distil where a token id means one thing to the teacher and another to the student.

    Args:
        teacher, student: their tokenizers.
        option: that asks for it.

    Raises:
        TrainingError: the vocabularies differ; says how.
    """
    hashes = vocabulary_hash(teacher), vocabulary_hash(student)
    if hashes[0] == hashes[1]:
        return
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    different = sum(theirs.get(token) != number for token, number in ours.items())
    raise TrainingError(
        f"{option} needs a teacher and a student with the same vocabulary; these have hashes {hashes[0]} "
        f"({len(theirs)} tokens) and {hashes[1]} ({len(ours)} tokens), and {different} of the student's tokens have "
        f"another id at the teacher. Remove {option}, or choose a student of the teacher's family."
    )
