"""Stands in for pydantic where gpu_check.sh runs on a machine that lacks it: holds values, checks nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


class ValidationError(ValueError):
    """Never raised here."""


def ConfigDict(**options: Any) -> dict[str, Any]:  # noqa: N802
    return options


def Field(default: Any = ..., **options: Any) -> Any:  # noqa: N802
    return default


def field_validator(*fields: str, **options: Any) -> Callable[[Any], Any]:
    return lambda function: function


model_validator = field_validator


class BaseModel:
    """Attributes from keyword arguments, with the class's defaults."""

    def __init__(self, **values: Any) -> None:
        names = {name for kind in type(self).__mro__ for name in inspect.get_annotations(kind)}
        if unknown := set(values) - names:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        for name in names:
            value = values.get(name, getattr(type(self), name, ...))
            if value is ...:
                raise TypeError(f"{type(self).__name__} needs {name}")
            setattr(self, name, value)
