"""The forms of a line of the two files that `score` reads (which are described there). An unknown key is an error."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from chartdistill.records import id_text
from chartdistill.schema import Item

_Id = Annotated[str, BeforeValidator(id_text)]
"""As sources read it: 1001 and 1001.0 are "1001"."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GoldLine(_Line):
    """One line of GOLD; the keys below `text` are those of a run's records.jsonl."""

    id: _Id
    gold: dict[str, tuple[Item | str, ...]] | None = None
    text: str = ""
    cluster: str | None = None
    source: str = ""
    split: str | None = None
    segments: Any = None


class SaidItem(Item):
    """An item, with what `predict` adds to it."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Answer(_Line):
    """An answer to one task."""

    completion: str | None = None
    items: tuple[SaidItem | str, ...] | None = None
    failure: str | None = None
    finish_reason: str | None = None
    dropped: Any = None
    """What `predict --filters` took out."""
    in_review: Any = None
    reason: Any = None
    """What `predict --min-confidence` says of its two files."""

    @model_validator(mode="after")
    def _says_something(self) -> Answer:
        if not {"completion", "items", "failure"} & self.model_fields_set:
            raise ValueError("holds none of completion, items and failure")
        return self


class AnswerLine(Answer):
    """One answer per line."""

    record: _Id
    task: str
    arm: str | None = None
    key: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprobs: Any = None


class RecordLine(_Line):
    """One record per line."""

    id: _Id
    arm: str | None = None
    source: str = ""
    tasks: dict[str, Answer] = {}
    failure: str | None = None
    in_review: Any = None
    reason: Any = None
