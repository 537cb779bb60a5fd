"""Kinds of findings: a file each over one base class. To add one: a file here, and a line in `ENTITY_TYPES`.

`entity_of(task)` is how everything else gets to know of a kind.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from chartdistill.clinical.entities.allergy import Allergy
from chartdistill.clinical.entities.base import EntityType, Objection
from chartdistill.clinical.entities.diagnosis import Diagnosis
from chartdistill.clinical.entities.medication import Medication
from chartdistill.clinical.entities.procedure import Procedure
from chartdistill.clinical.entities.prognosis import Prognosis
from chartdistill.clinical.entities.test import Test
from chartdistill.schema import Task, Vocabulary

__all__ = [
    "ENTITY_TYPES", "EntityType", "Objection", "asked_for", "entity_named", "entity_of",
]  # fmt: skip

ENTITY_TYPES: tuple[EntityType, ...] = (
    Diagnosis(),
    Prognosis(),
    Medication(),
    Test(),
    Allergy(),
    Procedure(),
)
"""All kinds. Where a question has words of several, the first counts."""

_GENERAL = EntityType()
_BY_NAME = {name: one for one in ENTITY_TYPES for name in (*one.names, *one.also_called)}


@cache
def entity_named(item: str) -> EntityType:
    """The kind that a `Task.item` means; the general one where no file knows it."""
    return _BY_NAME.get(item.casefold(), _GENERAL)


def entity_of(task: Task) -> EntityType:
    """The kind of finding that a task asks for, with what the task's vocabulary says of its names."""
    return entity_named(task.item) if task.vocabulary is None else _with_vocabulary(task.item, task.vocabulary)


@lru_cache(maxsize=256)
def _with_vocabulary(item: str, vocabulary: Vocabulary) -> EntityType:
    return type(entity_named(item))(vocabulary, item)


def asked_for(question: str) -> EntityType | None:
    """The kind that a question in anybody's words asks for; None where its words name none."""
    return next(
        (one for one in ENTITY_TYPES if one.question_words and re.search(one.question_words, question, re.IGNORECASE)),
        None,
    )
