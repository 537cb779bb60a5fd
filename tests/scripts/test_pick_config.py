"""Which config `make distill` takes where none is named."""

from __future__ import annotations

import pytest

import pick_config
from chartdistill.doctor import machine
from chartdistill.runtime.machine import GIB
from places import ROOT


@pytest.mark.parametrize(
    ("cards", "config"),
    [("", "demo"), ("l4", "gpu-24gb"), ("rtx-4090:2", "gpu-24gb"), ("a100-40", "gpu-24gb"), ("a100-80", "gpu-80gb"),
     ("h100:7", "gpu-80gb"), ("h100:8", "node-8gpu")],
)  # fmt: skip
def test_make_distill_picks_the_config_of_the_smallest_card(cards: str, config: str) -> None:
    found = machine.parse_cards(cards) if cards else []
    assert pick_config.pick(found)[0] == f"configs/{config}.yaml"
    assert (ROOT / f"configs/{config}.yaml").is_file()
    own = "cpu-smollm2" if config == "demo" else config
    assert pick_config.pick(found, own_charts=True)[0] == f"configs/{own}.yaml"
    assert (ROOT / f"configs/{own}.yaml").is_file()
    if found:
        small = [*found, machine.Card("small", 8 * GIB)]
        assert pick_config.pick(small)[0] == "configs/demo.yaml"
        assert pick_config.pick(small, own_charts=True)[0] == "configs/cpu-smollm2.yaml"
