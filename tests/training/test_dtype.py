"""The dtype that `auto` means: measured on a CPU, and the same for the rest of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from chartdistill.runtime import cpu_products
from chartdistill.training import TrainOptions
from chartdistill.training.dtype import choose_dtype, with_dtype
from chartdistill.training.model import chosen_dtype

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="measured on a CPU only")


def chosen(folder: Path, **options: str) -> str:
    given = TrainOptions.model_validate(options)
    choose_dtype(given, folder)
    return with_dtype(given, folder).dtype


def test_what_is_given_is_taken(tmp_path: Path) -> None:
    assert chosen(tmp_path, dtype="bfloat16") == "bfloat16"


@on_cpu
@pytest.mark.parametrize(("gain", "expected"), [(0.1, "float32"), (1.2, "float32"), (1.5, "bfloat16")])
def test_a_cpu_takes_bfloat16_where_it_is_clearly_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gain: float, expected: str
) -> None:
    monkeypatch.setattr(cpu_products, "bfloat16_gain", lambda: gain)
    assert chosen(tmp_path) == expected


@on_cpu
def test_a_run_that_goes_on_keeps_its_dtype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for gain, note in ((9.0, None), (0.1, None), (0.1, "bf")):
        monkeypatch.setattr(cpu_products, "bfloat16_gain", lambda gain=gain: gain)
        if note is not None:
            (tmp_path / "dtype").write_text(note)  # half a word, of a process that was killed
        assert chosen(tmp_path) == ("bfloat16" if note is None else "float32")


def test_a_card_that_only_emulates_bfloat16_takes_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Turing and Volta torch says that they support it, unless it is asked to leave that out."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert chosen(tmp_path) == "float32"
    assert chosen_dtype(TrainOptions()) == torch.float32
