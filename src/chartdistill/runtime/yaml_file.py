"""A YAML file -> the model whose options it gives; what is wrong with it is said in the words of the file."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from chartdistill.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)
CLONE = Path(__file__).resolve().parents[3]
"""Where the shipped configs are, when this is run from a clone."""


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's loaders would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"`{key.value}` stands twice, first in line {seen[key.value].line + 1}", key.start_mark
                )
            seen[key.value] = key.start_mark
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A value; where one only looks like a date or a number (`2026-02-30`), Python's error has no place."""
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            fault = f"a value reads as a date or a number, and is none ({error}); put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, fault, node.start_mark) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        ConfigError: there is none, it is not valid YAML, or a key stands twice.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            values = yaml.load(stream, _UniqueKeys)
    except FileNotFoundError:
        known = sorted(str(p) for p in path.parent.glob("*.yaml"))[:8] if path.parent.is_dir() else []
        shipped = CLONE / "configs" / path.name
        there = f" The one that is shipped: {shipped}" if shipped.is_file() else ""
        raise ConfigError(f"{path} does not exist. Files there: {', '.join(known) or 'none'}.{there}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder, not a YAML file. Name a file, for example configs/demo.yaml.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}. Check the path, and its permissions.") from error
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        raise ConfigError(
            f"{path} is no text file in UTF-8 ({error.reason}). Name a YAML file, or save it as UTF-8."
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {_slip(error)}") from error
    except RecursionError:
        raise ConfigError(f"{path} is nested too deep to be read. Compare it with the files in configs/.") from None
    if values is None:
        raise ConfigError(f"{path} is empty; it must hold `key: value` lines, as the files in configs/ do.")
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold `key: value` lines, not {type(values).__name__}.")
    return values


def _slip(error: yaml.YAMLError) -> str:
    """A tab, which looks like the spaces that YAML wants, is said as such; all else as the parser says it."""
    mark = getattr(error, "problem_mark", None)
    if mark is None or "'\\t'" not in str(getattr(error, "problem", "")):
        return str(error)
    return f"line {mark.line + 1} has a tab before its text; YAML is indented with spaces. Replace it by spaces."


_KINDS = {
    "a config of one run": ({"teacher", "student"}, "chartdistill run {path}"),
    "a study": ({"arms", "sizes", "compared_size"}, "chartdistill study {path}"),
    "a task": ({"gate_question", "extraction_question"}, "name it under `tasks:` of a config, and run that"),
}
"""What a YAML file can be -> keys that only it has, and what to do with it."""


def require_kind(path: Path, values: dict[str, Any], wanted: str) -> None:
    """That a file is what a verb takes, where its keys say that it is something else.

    Raises:
        ConfigError: what it is, and which verb takes it.
    """
    if _KINDS[wanted][0] & values.keys():
        return
    for kind, (keys, remedy) in _KINDS.items():
        if kind != wanted and keys & values.keys():
            raise ConfigError(f"{path} is {kind}, not {wanted}. Instead: {remedy.format(path=shlex.quote(str(path)))}")


def checked(kind: type[ModelT], values: dict[str, Any], path: Path) -> ModelT:
    """The values of a file as the model they must fit.

    Raises:
        ConfigError: every option that is wrong, with its value and what is allowed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        # A list whose entries are all wrong counts as empty, too: said once, at the entry.
        inside = {problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))}
        lines = [_explain(kind, one) for one in problems if not (one["type"] == "too_short" and one["loc"] in inside)]
        raise ConfigError(f"{path}:\n" + "\n".join(f"  - {line}" for line in lines)) from None


def _explain(kind: type[BaseModel], problem: Any) -> str:
    """One pydantic problem as: option path, what is wrong, the value, what is allowed."""
    location = [part for part in problem["loc"] if not str(part).startswith("function-")]
    option = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        allowed = sorted(_allowed_keys(kind, location[:-1]))
        near = difflib.get_close_matches(str(location[-1]), allowed, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"allowed: {', '.join(allowed)}"
        return f"{option}: unknown option; {hint}"
    if problem["type"] == "missing":
        return f"{option}: required, but not given"
    message = _in_words(problem)
    value = problem.get("input")
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool | None) else ""
    return f"{option}: {message}{shown}" if option else message


def _in_words(problem: Any) -> str:
    """pydantic's message in the words of YAML, where its own are Python's."""
    context = problem.get("ctx", {})
    match problem["type"]:
        case "tuple_type" | "list_type":
            return "must be a list, one entry a line after `- `"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "must hold `key: value` lines"
        case "path_type":
            return "must be a path, as text: one of digits stands in quotes"
        case "too_short":
            return f"needs at least {context['min_length']}, has {context['actual_length']}"
        case "union_tag_not_found":
            return "needs a line `type: ...` that says which"
        case "union_tag_invalid":
            allowed = context["expected_tags"].replace("'", "").split(", ")
            near = difflib.get_close_matches(context["tag"], allowed, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"allowed: {context['expected_tags']}"
            return f"unknown type '{context['tag']}'; {hint}"
    return str(problem["msg"]).removeprefix("Value error, ")


def _allowed_keys(kind: type[BaseModel], location: list[Any]) -> list[str]:
    """Field names valid at a place in the config, going down through sections, lists and `type:` unions."""
    candidates: list[type[BaseModel]] = [kind]
    for part in location:
        if isinstance(part, int):
            continue
        nested = [m for c in candidates if part in c.model_fields for m in _models_in(c.model_fields[part].annotation)]
        tagged = [c for c in candidates if "type" in c.model_fields and c.model_fields["type"].default == part]
        candidates = nested or tagged or candidates
    return sorted(  # those that are never written come of elsewhere, and are refused in a file
        {name for candidate in candidates for name, field in candidate.model_fields.items() if not field.exclude}
    )


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
