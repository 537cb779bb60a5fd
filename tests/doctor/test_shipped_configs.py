"""What the shipped configs say of hardware, memory and time is what `doctor` plans."""

from __future__ import annotations

import re

import pytest

from chartdistill.config import load_run
from chartdistill.doctor import machine
from chartdistill.doctor.check import Check
from chartdistill.doctor.diagnosis import diagnose
from chartdistill.doctor.page import in_words, show
from chartdistill.doctor.plan import _cards
from chartdistill.runtime.machine import GIB
from doctor_run import named
from places import ROOT


@pytest.mark.parametrize(("config", "cards"), [("gpu-24gb", "rtx-4090"), ("gpu-80gb", "h100"), ("node-8gpu", "h100:8"),
                                               ("endpoint", "h100")])  # fmt: skip
def test_a_shipped_config_fits_the_hardware_it_names_and_says_what_it_takes(config: str, cards: str) -> None:
    path = ROOT / f"configs/{config}.yaml"
    found = diagnose(load_run(path), machine.parse_cards(cards))
    assert found.go, [check for check in found.checks if check.state == "no"]
    assert show(found, path).endswith("GO, by plan: what is marked `look` must be there first")
    # The head of the file has the plan's own figures, in its own words; so has the table of configs.
    head = " ".join(path.read_text(encoding="utf-8").split("name:")[0].replace("#", " ").split())
    assert f"--cards {cards}" in head
    training = f"{found.memory['student, training'].bytes / GIB:.1f} GiB"
    assert f"training {training}" in head
    [row] = [line for line in (ROOT / "configs/README.md").read_text(encoding="utf-8").splitlines() if config in line]
    assert training in row
    for verb, time in found.time.items():
        number, unit = in_words(time.likely_s).split()
        assert f"{verb} {number} {unit}" in head
        assert f"{number} {unit}" in row
    if (teacher := found.memory.get("teacher, engine")) is not None:
        assert f"teacher {teacher.parts[0].bytes / GIB:.1f} GiB of weights" in head
        assert f"the rest of {teacher.bytes / GIB:.1f} GiB is KV cache for {teacher.records_at_once} charts" in head
        assert f"{teacher.bytes / GIB:.1f} / {training}" in row


def test_the_table_has_the_plan_of_the_demo_too() -> None:
    found = diagnose(load_run(ROOT / "configs/demo.yaml"), [])
    engine, training = (f"{found.memory[name].bytes / GIB:.1f}" for name in ("teacher, engine", "student, training"))
    assert f"| {engine} / {training} GiB, of the machine's |" in (ROOT / "configs/README.md").read_text(
        encoding="utf-8"
    )


def test_what_fsdp_would_take_is_said_where_it_is_not_used() -> None:
    path = ROOT / "configs/node-8gpu.yaml"
    run = load_run(path)
    assert run.config.train.parallel == "ddp"
    sharded = run.config.model_copy(update={"train": run.config.train.model_copy(update={"parallel": "fsdp"})})
    run.config = sharded
    needed = diagnose(run, machine.parse_cards("h100:8")).memory["student, training"]
    assert f"would take {needed.bytes / GIB:.1f} GiB" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("config", "cards", "label", "train"),
    [("gpu-24gb", "l4", "L4 {}", "L4 {}"), ("gpu-24gb", "a10", "A10 {}", "A10 {}"),
     ("gpu-24gb", "rtx-3090", "RTX 3090 {}", "RTX 3090 {}"), ("gpu-80gb", "a100-80", "A100 {}", "A100 {}")],
)  # fmt: skip
def test_the_times_on_other_cards_that_a_config_names_are_the_plans(
    config: str, cards: str, label: str, train: str
) -> None:
    path = ROOT / f"configs/{config}.yaml"
    found = diagnose(load_run(path), machine.parse_cards(cards))
    assert found.go
    head = " ".join(path.read_text(encoding="utf-8").split("name:")[0].replace("#", " ").split())
    for verb, said in (("label", label), ("train", train)):
        number, unit = in_words(found.time[verb].likely_s).split()
        assert unit == "min"
        assert re.search(rf"{verb} [^();]*\([^()]*{said.format(number)}\b", head), (verb, number)


def test_a_node_labels_with_all_of_its_cards() -> None:
    run = load_run(ROOT / "configs/node-8gpu.yaml")
    found = diagnose(run, machine.parse_cards("h100:8"))
    assert named(found, "teacher cards") == Check(
        "teacher cards", "ok", "2 engines label side by side, each on 4 cards"
    )
    assert named(found, "student cards") == Check(
        "student cards", "ok", "8 engines evaluate side by side, each on 1 card"
    )
    assert list(_cards(found)) == [
        "cards: 2 engines label side by side, each on 4 cards; 8 engines evaluate side by side, each on 1 card"
    ], "as `run --dry-run` says it"
    one = diagnose(run, machine.parse_cards("h100:4"))
    assert found.time["evaluate"].floor_s == pytest.approx(one.time["evaluate"].floor_s / 2, rel=0.02)
    idle = named(diagnose(run, machine.parse_cards("h100:7")), "teacher cards")
    assert idle.state == "warning" and "one engine labels on 4 cards; 3 of 7 cards stand idle meanwhile" in idle.found
    wanted = run.config.teacher.engine.model_copy(update={"replicas": 3})
    teacher = run.config.teacher.model_copy(update={"engine": wanted})
    run.config = run.config.model_copy(update={"teacher": teacher})
    refused = named(diagnose(run, machine.parse_cards("h100:8")), "teacher cards")
    assert refused.state == "no" and "replicas is 3 with 4 cards each, and 8 are here" in refused.found
