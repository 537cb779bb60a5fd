"""The five questions of `init`: each is an option, or is asked on a terminal; one rule for both.

In: what was typed. Out: `Answers`. Must hold: whatever is amiss with an answer is said when it is given, before
anything is written; a file or folder is looked into, not only at.
"""

from __future__ import annotations

import difflib
import os
import shlex
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chartdistill.config import load_task
from chartdistill.doctor.machine import KNOWN_CARDS, Card, find_cards
from chartdistill.doctor.shipped import CONFIGS, PLANNED_FOR, cards_named, pick
from chartdistill.errors import ChartDistillError, ConfigError, EngineError, InputError
from chartdistill.records import AnySource, SourceEntry, source_for
from chartdistill.runtime.yaml_file import CLONE, read_yaml
from chartdistill.schema import RejectedRecord

_LOOKED_AT = 1000
"""Charts that may be unusable one after another before the source counts as holding none."""


@dataclass(frozen=True)
class Hardware:
    """Which shipped config, and why."""

    config: Path
    reason: str
    planned: list[Card] | None
    """Cards of another machine; None: this one's."""


@dataclass(frozen=True)
class Answers:
    """What the five questions gave."""

    records: AnySource
    hardware: Hardware
    tasks: tuple[Path, ...]
    """Shipped task files."""
    gold: Path | None
    report_text: bool


@dataclass(frozen=True)
class Question:
    """One of the five."""

    name: str
    """Of the argument: `report_text` is `--report-text`."""
    asks: str | Callable[[Mapping[str, Any]], str]
    """The words, or what makes them of what was answered before."""
    default: str | None
    read: Callable[[str, Mapping[str, Any]], Any]
    """What was typed, and what was answered before -> the answer. Raises ChartDistillError."""

    @property
    def option(self) -> str:
        """As the user types it."""
        return f"--{self.name.replace('_', '-')}"


def ask_all(given: Mapping[str, str | None]) -> Answers:
    """The answers: those given as options, the others asked on the terminal.

    Raises:
        ConfigError: an option is missing and nobody can be asked, or says what is not allowed.
        InputError: charts or gold cannot be used.
        EngineError: the driver of this machine's cards is broken.
    """
    missing = [question.option for question in QUESTIONS if given.get(question.name) is None]
    if missing and not sys.stdin.isatty():
        are, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        raise ConfigError(
            f"standard input is no terminal, so nothing can be asked, and {', '.join(missing)} {are} missing. "
            f"Give {them}, for example: "
            + " ".join(f"{q.option} {q.default or 'path/to/charts'}" for q in QUESTIONS if q.option in missing)
        )
    answered: dict[str, Any] = {}
    for question in QUESTIONS:
        said = given.get(question.name)
        answered[question.name] = _asked(question, answered) if said is None else question.read(said, answered)
    return Answers(**answered)


def _asked(question: Question, answered: Mapping[str, Any]) -> Any:
    """Ask until the answer will do."""
    asks = question.asks if isinstance(question.asks, str) else question.asks(answered)
    while True:
        default = f" [{question.default}]" if question.default is not None else ""
        print(f"{asks}{default}: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:  # Ctrl-D
            raise KeyboardInterrupt
        said = line.strip() or question.default
        if said is None:
            continue
        try:
            return question.read(said, answered)
        except ChartDistillError as error:
            print(f"  {error}", file=sys.stderr)


def can_be_written(path: Path) -> bool:
    """Whether a config can hold a path: valid UTF-8 without line breaks and control characters."""
    try:
        name = os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name)


def _path(said: str) -> Path:
    """A path as it was typed, or as a shell or a file manager writes it: with ~, quotes or backslashes."""
    path = Path(os.path.expanduser(said))  # of the text: as a Path `./~` would be the home folder
    if not path.exists():
        try:
            words = shlex.split(said)
        except ValueError:  # an odd quote
            words = []
        if len(words) == 1 and (unquoted := Path(os.path.expanduser(words[0]))).exists():
            path = unquoted
    if not can_be_written(path):
        raise InputError(
            f"{str(path)!r}: a config cannot hold this name (line breaks, control characters, or bytes that are not "
            "UTF-8). Rename it, or make a link to it with another name."
        )
    # Absolute, so that the config says the same wherever it lies; links stay, since what they lead to may move.
    return Path(os.path.abspath(path))


def _read_records(said: str, answered: Mapping[str, Any]) -> AnySource:
    path = _path(said)
    source = source_for(path)
    require_a_chart(source, path)
    return source


def require_a_chart(source: AnySource, path: Path) -> None:
    """That at least one chart can be read.

    Raises:
        InputError: none; why the first could not.
    """
    refused: RejectedRecord | None = None
    try:
        with tempfile.TemporaryDirectory() as scratch:  # private to this user
            for number, entry in enumerate(source.read(scratch=Path(scratch))):
                if isinstance(entry, SourceEntry):
                    return
                refused = refused or entry
                if number >= _LOOKED_AT:
                    break
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror}. Make it readable.") from None
    why = "" if refused is None else f" The first, {refused.source}: {refused.reason}, {refused.detail}."
    raise InputError(
        f"{path} holds no chart that can be used.{why} Of a folder *.txt are read; name others as "
        "'path/to/charts/*.note'. What a table or JSONL must look like, and options for others: docs/your-charts.md."
    )


def _read_hardware(said: str, answered: Mapping[str, Any]) -> Hardware:
    if said not in ("auto", "cpu", *PLANNED_FOR) and said.partition(":")[0] not in KNOWN_CARDS:
        allowed = ["auto", "cpu", *PLANNED_FOR, *KNOWN_CARDS]
        near = difflib.get_close_matches(said.lower(), allowed, n=1, cutoff=0.5)
        raise ConfigError(
            f"--hardware {said!r}: {f'did you mean {near[0]!r}? ' if near else ''}allowed are {', '.join(allowed)}; "
            "of several cards NAME:COUNT (h100:8). A teacher behind a URL: see configs/endpoint.yaml."
        )
    if said == "cpu":
        path, reason = pick([], own_charts=True)
        try:
            is_this_machine = not find_cards()
        except EngineError:  # cards with a broken driver, which are not asked for
            is_this_machine = False
        return Hardware(CLONE / path, "a CPU, as --hardware says", None if is_this_machine else [])
    here = find_cards() if said in ("auto", *PLANNED_FOR) else []
    path, reason = pick(here, own_charts=True)
    if said == "auto" or path == f"configs/{said}.yaml":
        return Hardware(CLONE / path, reason, None)
    cards = cards_named(said)
    path, reason = pick(cards, own_charts=True)
    return Hardware(CLONE / path, f"planned for {said}, not for this machine: {reason}", cards)


def task_files() -> dict[str, Path]:
    """Name of a shipped task -> its file."""
    return {load_task(path).name: path for path in sorted((CONFIGS / "tasks").glob("*.yaml"))}


def _read_tasks(said: str, answered: Mapping[str, Any]) -> tuple[Path, ...]:
    known = task_files()
    names = list(dict.fromkeys(name.strip() for name in said.replace(" ", ",").split(",") if name.strip()))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            there = ", ".join(_answered_on(answered["hardware"]))
            raise ConfigError(
                f"--tasks {name!r}: {hint}there are {there}. For another kind of finding copy one of the "
                "files in tasks/ afterwards: docs/development.md, 'A task'."
            )
    if not names:
        raise ConfigError(f"--tasks: name at least one of {', '.join(known)}, with commas between them.")
    _require_known_to_the_adapter(names, answered["hardware"])
    return tuple(known[name] for name in names)


def _answered_on(hardware: Hardware) -> list[str]:
    """Tasks that the teacher there answers, those of its config first: with an adapter no others."""
    values = read_yaml(hardware.config)
    own = [load_task(CONFIGS / path).name for path in values["tasks"]]
    return own if "adapter" in values["teacher"] else [*own, *(name for name in task_files() if name not in own)]


def _ask_for_tasks(answered: Mapping[str, Any]) -> str:
    return f"Which findings? Of {', '.join(_answered_on(answered['hardware']))}"


def _require_known_to_the_adapter(names: Sequence[str], hardware: Hardware) -> None:
    """A teacher with an adapter answers the tasks that it was trained for, which its config names."""
    trained = _answered_on(hardware)
    if unknown := [name for name in names if name not in trained]:
        raise ConfigError(
            f"--tasks {', '.join(unknown)}: the teacher of configs/{hardware.config.name} was trained for "
            f"{', '.join(trained)} and answers nothing else. Leave it out, or take --hardware gpu-24gb or larger."
        )


def _read_gold(said: str, answered: Mapping[str, Any]) -> Path | None:
    if said.lower() in ("none", "no", "n", ""):
        return None
    path = _path(said)
    if not path.exists():
        raise InputError(
            f"--gold {path} does not exist. Give a file of gold (its forms: docs/existing-labels.md), or none."
        )
    return path


def _read_yes_or_no(said: str, answered: Mapping[str, Any]) -> bool:
    if said.lower() not in ("yes", "no", "y", "n"):
        raise ConfigError(f"--report-text {said!r}: say yes or no.")
    return said.lower().startswith("y")


QUESTIONS = (
    Question("records", "Where are the charts? A folder of .txt files, a .jsonl, .csv, .tsv or .parquet file", None,
             _read_records),
    Question("hardware", "For what hardware? auto (this machine), cpu, gpu-24gb, gpu-80gb, node-8gpu, or a card as in "
             "l40s:2", "auto", _read_hardware),
    Question("tasks", _ask_for_tasks, "medication,prognosis,diagnosis,tests", _read_tasks),
    Question("gold", "Is there gold, right answers by a person? Its file, or none", "none", _read_gold),
    Question("report_text", "May the report hold text of the charts, and be handled like them? yes or no", "no",
             _read_yes_or_no),
)  # fmt: skip
"""In the order in which they are asked; later answers may hang on earlier ones."""
