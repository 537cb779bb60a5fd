"""The text that `init` writes: the shipped config to the letter, but for what an answer concerns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from chartdistill.config import load_run
from chartdistill.doctor.machine import parse_cards
from chartdistill.doctor.shipped import CONFIGS, PLANNED_FOR, pick
from chartdistill.new_config.answers import ask_all
from chartdistill.new_config.config_text import new_config, split_sections
from chartdistill.runtime.yaml_file import CLONE
from init_answers import charts, gold, options

SHIPPED = ("cpu-smollm2", *PLANNED_FOR)
HARDWARE = {"cpu-smollm2": "cpu"}
"""What gives a shipped config, where it is not its own name."""
OF_THE_ANSWERS = {"name", "run_dir", "tasks", "records", "report", "gates"}


def made_from(shipped: str, tmp_path: Path, **changes: str | None) -> str:
    """The text of a config made from a shipped one."""
    records = tmp_path / "charts"
    given = options(records if records.exists() else charts(records), hardware=HARDWARE.get(shipped, shipped))
    return new_config(ask_all(given | changes), tmp_path / "mine")


def comments(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("#")]


@pytest.mark.parametrize("shipped", SHIPPED)
def test_what_no_answer_concerns_is_the_shipped_configs_to_the_letter(shipped: str, tmp_path: Path) -> None:
    source = (CONFIGS / f"{shipped}.yaml").read_text(encoding="utf-8")
    made = made_from(shipped, tmp_path)
    values, theirs = yaml.safe_load(made), yaml.safe_load(source)
    assert values.keys() - OF_THE_ANSWERS == theirs.keys() - OF_THE_ANSWERS
    for name in theirs.keys() - OF_THE_ANSWERS:
        for role_option, value in list(theirs[name].items()) if isinstance(theirs[name], dict) else ():
            if isinstance(value, str) and value.startswith("../"):
                assert Path(values[name].pop(role_option)) == (CONFIGS / value).resolve()
                del theirs[name][role_option]
        assert values[name] == theirs[name]
    assert values.get("gates") == theirs.get("gates")
    head, sections = split_sections(source)
    of_answers = {line for name in OF_THE_ANSWERS & sections.keys() - {"gates"} for line in comments(sections[name])}
    of_head = [line for line in comments(head) if "make distill" not in line]
    for line in [*of_head, *(line for text in sections.values() for line in comments(text))]:
        assert line in made or line in of_answers
    assert "path/to/charts" not in made
    assert max(map(len, made.splitlines())) <= 140


@pytest.mark.parametrize("shipped", SHIPPED)
def test_each_option_of_the_config_is_explained(shipped: str, tmp_path: Path) -> None:
    lines = made_from(shipped, tmp_path).splitlines()
    options = [number for number, line in enumerate(lines) if re.match(r"\w+:", line)]
    assert len(options) >= 9
    prose = " ".join(line.removeprefix("# ") for line in lines)
    [named] = re.findall(r"each option is explained in (\S+),", prose)
    assert "class RunConfig" in (CLONE / named).read_text()
    for number in options:
        assert lines[number - 1].startswith("# "), f"{lines[number]} has no line above it that explains it"


@pytest.mark.parametrize("shipped", SHIPPED)
def test_with_gold_the_gates_are_those_that_shipped_configs_offer(shipped: str, tmp_path: Path) -> None:
    records = charts(tmp_path / "charts")
    given = options(records, hardware=HARDWARE.get(shipped, shipped), gold=str(gold(tmp_path / "gold.jsonl", "c1")))
    made = new_config(ask_all(given), tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text(made)
    (tmp_path / "mine" / "tasks").symlink_to(CONFIGS / "tasks")
    gates = load_run(tmp_path / "mine" / "config.yaml").config.gates
    offered = re.findall(r"^  #?\s*- \{metric: (\w+)", (CONFIGS / "gpu-24gb.yaml").read_text(), re.MULTILINE)
    assert sorted(gate.metric for gate in gates) == sorted(offered)
    assert "joint_f1" in offered and "invented_rate" in offered
    without = yaml.safe_load(new_config(ask_all(given | {"tasks": "tests"}), tmp_path / "mine"))["gates"]
    assert {gate["metric"] for gate in without} == {*offered} - {"stop_as_continue_rate"}


def test_shipped_gpu_configs_have_one_section_of_gates() -> None:
    sections = {name: split_sections((CONFIGS / f"{name}.yaml").read_text())[1]["gates"] for name in PLANNED_FOR}
    assert len(set(sections.values())) == 1


@pytest.mark.parametrize("name", PLANNED_FOR)
def test_the_cards_a_shipped_config_is_planned_for_are_those_its_head_names(name: str) -> None:
    assert f"--cards {PLANNED_FOR[name]}`" in (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    assert pick(parse_cards(PLANNED_FOR[name]))[0] == f"configs/{name}.yaml"


@pytest.mark.parametrize(
    "name",
    [
        "charts",
        "two words",
        "it's",
        'say "aah"',
        "Ärzte-Brief",
        "a: b",
        "#1",
        "- x",
        "{a}",
        "%s",
        "$HOME",
        "*",
        "~",
        "a\u00a0b\u202fc",
    ],
)
def test_any_printable_path_arrives_as_it_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = charts(tmp_path / name)
    folder = tmp_path / f"mine {name}"
    folder.mkdir()
    (folder / "tasks").symlink_to(CONFIGS / "tasks")
    given = options(f"./{name}", gold=str(gold(tmp_path / f"gold {name}.jsonl", "c1", "c5")))
    (folder / "config.yaml").write_text(new_config(ask_all(given), folder), encoding="utf-8")
    run = load_run(folder / "config.yaml")
    (source,) = run.config.records
    assert source.type == "folder" and source.path == records
    assert source.gold is not None and source.gold.path == tmp_path / f"gold {name}.jsonl"
    assert run.dir == folder / "run"
