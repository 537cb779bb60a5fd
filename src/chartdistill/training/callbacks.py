"""What a run says about itself: training_log.jsonl, TensorBoard events, early stopping. Numbers only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from chartdistill.runtime.run_folder import disk_errors, write_text

_NAMES = {"eval_loss": "validation_loss", "eval_joint_f1": "validation_joint_f1"}


def is_better(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a validation is better than another: higher joint F1, then lower loss."""

    def rank(row: Mapping[str, Any]) -> tuple[float, float]:
        return row.get("eval_joint_f1", 0.0), -row["eval_loss"]

    return rank(one) > rank(other)


def best_validation(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row of the best validation, of equal ones the first; None where there was none."""
    best: Mapping[str, Any] | None = None
    for row in history:
        if "eval_loss" in row and (best is None or is_better(row, best)):
            best = row
    return best


class LogCallback(TrainerCallback):  # type: ignore[misc]
    """Writes each logged row to training_log.jsonl and gives it to `show`, and calls `progress` at the beginning and
    after each step.

    Rows that a killed run wrote after its last checkpoint are dropped when it goes on.
    """

    def __init__(
        self,
        folder: Path,
        tensorboard: bool,
        progress: Callable[[int], None],
        show: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        self._path, self._progress, self._show = folder / "training_log.jsonl", progress, show
        self._events_folder = folder / "tensorboard" if tensorboard else None
        self._events: Any = None

    def on_train_begin(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
        """Start or take up the log."""
        self._progress(state.global_step)
        if not state.is_world_process_zero:
            return
        resumed = self._path.exists() and state.global_step > 0
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True) if resumed else []
        whole = [line for line in lines if line.endswith("\n")]
        write_text(self._path, "".join(line for line in whole if json.loads(line)["step"] <= state.global_step))
        if self._events_folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            # purge_step hides what a killed run wrote after its last checkpoint.
            self._events = SummaryWriter(str(self._events_folder), purge_step=state.global_step + 1)

    def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        """One row: of training, or of a validation."""
        if not logs or not state.is_world_process_zero:
            return
        numbers = {
            name: logs[name] for name in ("loss", "learning_rate", "grad_norm") if "loss" in logs and name in logs
        }
        for name in logs:
            if name.startswith("eval_"):
                numbers[_NAMES.get(name, f"validation_{name.removeprefix('eval_')}")] = logs[name]
        if not numbers:
            return
        row = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4), **numbers}
        with disk_errors(self._path), self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        if self._show is not None:
            self._show(numbers)
        if self._events is not None:
            for name, value in numbers.items():
                self._events.add_scalar(name, value, state.global_step)

    def on_step_end(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
        """Report progress."""
        self._progress(state.global_step)

    def on_train_end(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
        """Close the events file."""
        if self._events is not None:
            self._events.close()


class CheckCallback(TrainerCallback):  # type: ignore[misc]
    """Checks the model once it is distributed over the processes, before the first step."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def on_train_begin(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
        """On every process."""
        self._check()


class EndCallback(TrainerCallback):  # type: ignore[misc]
    """Looks at the validation records after the last step too, wherever the rhythm of validations ends."""

    def __init__(self, validated: bool) -> None:
        self._validated = validated

    def on_step_end(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
        """Ask for a validation at the end."""
        if self._validated and state.global_step >= state.max_steps:
            control.should_evaluate = True


class StopCallback(TrainerCallback):  # type: ignore[misc]
    """Ends training after so many validations in a row that were not better than the best before them."""

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_train_begin(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
        """A run that is taken up behind the validation that ended it is over."""
        self.on_evaluate(arguments, state, control)

    def on_evaluate(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
        """Counted from the state's history, so that a resumed run counts on."""
        best: Mapping[str, Any] | None = None
        worse = 0
        for row in state.log_history:
            if "eval_loss" in row:
                better = best is None or is_better(row, best)
                best, worse = (row, 0) if better else (best, worse + 1)
        if worse >= self._patience:
            control.should_training_stop = True
