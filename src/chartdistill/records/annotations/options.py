"""What a config may say about a file of labels that exist: `teacher: {labels: ...}` and a source's `gold: ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

Format = Literal["auto", "rows", "fine_tuning", "brat", "label_studio", "prodigy", "doccano"]

RULED_OUT = (
    "negated", "negation", "negative", "absent", "denied", "hypothetical", "conditional", "family", "family history",
    "family member", "associated with someone else", "not patient",
)  # fmt: skip
"""Attributes that say of a span that it is nothing the patient has, in the words of the usual schemes."""


class Meaning(BaseModel):
    """What a label of an annotation tool stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    """Name of a task."""
    status: str | None = None
    """One of the task's statuses, where the label alone says it."""


class AnnotationFile(BaseModel):
    """Labels that exist, and how they are to be read. In YAML a path alone is enough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    """A file, or brat's folder of .ann files; relative to the config."""
    format: Format = "auto"
    """auto: told by what is in the file. Examples of each: docs/existing-labels.md."""
    meaning: dict[str, str | Meaning | None] = {}
    """Label of the tool -> task, or {task, status}; null: left out on purpose. Those not named here are told by their
    words (`Drug`, `Problem`, `LabTest`, `Stopped-Drug`)."""
    status_meaning: dict[str, str] = {}
    """Attribute, or its value -> status: {Discontinue: stop}. Statuses and their usual synonyms are known."""
    ruled_out: tuple[str, ...] = RULED_OUT
    """Attributes, or values of them: a span that has one is no item."""
    missing_status: str | None = None
    """Of an item without status, in a task that has statuses. `from_chart`: by the words around it, as the rules read
    them. `leave_out`: the record has no label for this task. Else the status that all of them get. Default:
    `from_chart` for a teacher, `leave_out` for gold, which must not be guessed."""
    without_spans: Literal["none_found", "unlabelled"] | None = None
    """What a text without any span says. Default: none_found where the tool says that a person finished it (Label
    Studio, Prodigy), else unlabelled (brat and doccano write the same for a text that nobody opened)."""
    differing: Literal["error", "leave_out"] = "error"
    """Two labels of one record and task that say different things: an error, or neither is used, and both are named."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | Path) else value

    @model_validator(mode="after")
    def _ends_somewhere(self) -> Self:
        if not self.path.name:
            raise ValueError("must name a file, or a folder of .ann files")
        return self
