"""Which attention a training takes: by what computes right on this machine, and the manifest says which."""

from __future__ import annotations

from typing import Any

import pytest

from chartdistill.errors import TrainingError
from chartdistill.training import TrainOptions
from chartdistill.training.rows import Rows, check_rows, choose_rows
from training_shapes import make_example, make_model

EXAMPLES = [make_example("a", 17, [(3, 4), (5, 1)], 1), make_example("b", 9, [(2, 6)], 2)]


def test_auto_leaves_varlen_where_it_does_not_compute_and_says_why() -> None:
    """A CPU has no such kernel: the call that a card would get really fails here."""
    sharing: dict[str, Any] = {"form": "varlen"}
    auto = TrainOptions(attention="auto")
    rows = check_rows(make_model("llama"), Rows("varlen", True, 0), EXAMPLES, auto, sharing)
    assert rows == Rows("split", True, 0)
    assert sharing["form"] == "split" and sharing["not_varlen"]
    assert sharing["first_step_difference"] < 1e-4
    with pytest.raises(
        TrainingError, match=r"train\.attention is varlen, which does not run here: .* Set it to auto\."
    ):
        check_rows(make_model("llama"), Rows("varlen", True, 0), EXAMPLES, TrainOptions(attention="varlen"), {})


def test_auto_does_not_try_varlen_on_a_cpu() -> None:
    rows, sharing = choose_rows(make_model("llama"), None, EXAMPLES, TrainOptions(attention="auto"), 0)
    assert rows.form == sharing["form"] == "split"
