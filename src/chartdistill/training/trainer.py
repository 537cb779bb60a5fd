"""The LoRA loop: transformers' Trainer with our rows, our loss and our validation."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

from chartdistill.errors import TrainingError
from chartdistill.runtime.run_folder import disk_errors, make_folder
from chartdistill.training.adapter import (
    BaseName,
    adapter_tensors,
    best_path,
    load_tensors,
    put_tensors,
    save_adapter,
    save_tensors,
)
from chartdistill.training.callbacks import (
    CheckCallback,
    EndCallback,
    LogCallback,
    StopCallback,
    best_validation,
    is_better,
)
from chartdistill.training.losses import micro_batch_loss
from chartdistill.training.memory import memory_errors
from chartdistill.training.model import compute_dtype
from chartdistill.training.on_policy import OnPolicy, OwnAnswers, OwnPass, own_answers_by_epoch
from chartdistill.training.options import TrainOptions
from chartdistill.training.packing import Example, MicroBatch, collate
from chartdistill.training.rows import Rows
from chartdistill.training.sampler import StepLoader, StepSampler

if TYPE_CHECKING:
    from chartdistill.runtime.progress import ProgressCallback

Score = Callable[[Any], dict[str, float]]
"""Generates and scores answers of a model; called on every process, returns the same on each."""


class LoraTrainer(Trainer):  # type: ignore[misc]
    """One call of `training_step` is one optimizer step: it runs all the passes that the step's records need."""

    control: Any
    _last_passes: Sequence[MicroBatch | OwnPass] = ()
    """Of the step whose gradient is about to be used."""

    def __init__(
        self,
        model: Any,
        args: Any,
        train: Sequence[Example],
        validation: Sequence[Example],
        options: TrainOptions,
        rows: Rows,
        score: Score | None,
        on_policy: OnPolicy | None = None,
    ) -> None:
        self.options, self.rows, self.score, self.on_policy = options, rows, score, on_policy
        self.train_examples, self.validation_examples = train, validation
        super().__init__(model=model, args=args, train_dataset=list(train), eval_dataset=list(validation) or None)

    @cached_property
    def _dtype(self) -> torch.dtype:
        return compute_dtype(self.accelerator.unwrap_model(self.model))

    def micro_batches_of(self, examples: Sequence[Example]) -> list[MicroBatch]:
        """The passes that some examples need."""
        return collate(
            examples, self.rows.form, self.rows.shared, self.options.tokens_per_pass, self._dtype, self.rows.pad_id
        )

    def get_train_dataloader(self) -> StepLoader:
        sampler = StepSampler(
            len(self.train_examples),
            self.options.records_per_step,
            self.options.seed,
            self.args.process_index,
            self.args.world_size,
        )
        return StepLoader(self.train_examples, sampler, self.micro_batches_of)

    def _run_epoch(self, **epoch: Any) -> None:
        """An epoch, as the Trainer makes it; none of its steps where training was over when its checkpoint was written:
        in the middle of an epoch the Trainer would make one more, which was never to be."""
        if self.state.global_step >= self.state.max_steps or self.control.should_training_stop:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**epoch)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """As the Trainer does; adapters of earlier validations, to which nobody goes back from here on, are removed.

        Raises:
            ArtefactError: the disk is full, or the folder cannot be written.
        """
        folder = Path(self.args.output_dir)
        with disk_errors(folder):
            super()._save_checkpoint(model, trial)
            kept = best_validation(self.state.log_history)
            if kept is not None and self.is_world_process_zero():
                for path in set(folder.glob(best_path(folder, "*").name)) - {best_path(folder, kept["step"])}:
                    path.unlink()

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # transformers' formula would count a shared record as it counts a separate one

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward of a step's passes. Returns this process's part of the step's mean loss, times the
        number of processes, as both the Trainer and gradient averaging divide by it.

        Raises:
            TrainingError: the loss is not finite; names the records.
        """
        parts, most = self._parts(inputs["passes"], inputs["examples"])
        model.train()
        # Sharded parameters are gathered in every pass, so all processes must run equally many.
        count = most if self.is_fsdp_enabled else max(1, len(parts))
        losses = []
        for number in range(count):
            idle = number >= len(parts)
            one, divisor = (self._idle_pass, 1.0) if idle else parts[number]
            synced = number == count - 1 or self.is_fsdp_enabled
            with contextlib.nullcontext() if synced else self.accelerator.no_sync(model), self._timed(one):
                with self.compute_loss_context_manager():
                    loss = self._loss(model, one.to(self.args.device)) / divisor * self.args.world_size
                loss = loss * 0 if idle else loss
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        values = torch.stack(losses)
        if not torch.isfinite(values).all():
            bad = [number for number, value in enumerate(values) if not value.isfinite()]
            self._not_finite("loss", values[bad[0]].item(), [parts[number][0] for number in bad if number < len(parts)])
        self._last_passes = [one for one, _ in parts]
        self._note_own_answers()
        return values.sum()

    def _parts(
        self, labels: Sequence[MicroBatch], examples: Sequence[Example]
    ) -> tuple[list[tuple[MicroBatch | OwnPass, float]], int]:
        """This process's passes of a step, of labels and of the student's own answers, each with what its loss is to be
        divided by; and the most passes of any process.

        By tokens times the mean weight of the whole training. Divided by its own weight, a step in which all weigh
        little would count as much as any other: with one record a step, no weight would count."""
        own: list[OwnPass] = []
        if self.on_policy is not None and self.state.global_step >= self.on_policy.options.from_epoch * self._steps:
            own = self.on_policy.passes(self.callable_model, examples, self._epoch, self.rows)
        tokens = [sum(one.num_tokens for one in passes) for passes in (labels, own)]
        facts = self._over_processes(*tokens, len(labels) + len(own))
        of_labels, of_own = (facts[:, :2].sum(0) * self._mean_weight).tolist()
        share = self.options.on_policy.weight if self.options.on_policy is not None and of_own else 0.0
        parts: list[tuple[MicroBatch | OwnPass, float]] = []
        if share < 1:
            parts += [(one, of_labels / (1 - share)) for one in labels]
        parts += [(one, of_own / share) for one in own]
        return parts, max(1, int(facts[:, 2].max()))

    def _loss(self, model: Any, one: MicroBatch | OwnPass) -> torch.Tensor:
        if isinstance(one, OwnPass):
            assert self.on_policy is not None
            return self.on_policy.loss(model, one)
        return micro_batch_loss(model, one, self.options.distillation)

    def _timed(self, one: MicroBatch | OwnPass) -> contextlib.AbstractContextManager[None]:
        timed = self.on_policy is not None and isinstance(one, OwnPass)
        return self.on_policy.timed() if timed else contextlib.nullcontext()  # type: ignore[union-attr]

    def _note_own_answers(self) -> None:
        """In the state, which checkpoints keep: a resumed run counts on."""
        if self.on_policy is None:
            return
        own = self._over_processes(*self.on_policy.done.values()).sum(0).tolist()
        self.on_policy.done = OwnAnswers()
        if own[0]:
            self.state.log_history.append({"step": self.state.global_step + 1, "epoch": self._epoch, "own": own})

    @cached_property
    def _mean_weight(self) -> float:
        """Of the answer tokens of all training examples."""
        branches = [branch for example in self.train_examples for branch in example.branches]
        weight = sum(branch.weight * len(branch.answer_ids) for branch in branches)
        return weight / sum(len(branch.answer_ids) for branch in branches)

    @cached_property
    def _steps(self) -> int:
        """Of an epoch."""
        return math.ceil(len(self.train_examples) / self.options.records_per_step)

    @property
    def _epoch(self) -> int:
        """Of the step that is being made, from 0."""
        return int(self.state.global_step) // self._steps

    def _clip_grad_norm(self, model: Any) -> Any:
        """Clip as the Trainer does; called before every optimizer step, which would spread what is not finite.

        Raises:
            TrainingError: the gradient is not finite; names the records of the step.
        """
        norm = super()._clip_grad_norm(model)
        if not math.isfinite(norm):
            self._not_finite("gradient", float(norm), self._last_passes)
        return norm

    def _over_processes(self, *mine: float) -> torch.Tensor:
        """These numbers of every process [processes, numbers], on the CPU."""
        row = torch.tensor([mine], dtype=torch.float64)
        return row if self.args.world_size == 1 else self.accelerator.gather(row.to(self.args.device)).cpu()

    @cached_property
    def _idle_pass(self) -> MicroBatch:
        return self.micro_batches_of(self.train_examples[:1])[0]

    def _not_finite(self, what: str, value: float, passes: Sequence[MicroBatch | OwnPass]) -> NoReturn:
        bad = list(dict.fromkeys(name for one in passes for name in one.records))
        raise TrainingError(
            f"the {what} is {value} at step {self.state.global_step + 1}, on records {', '.join(bad[:20])}"
            f"{', ...' if len(bad) > 20 else ''}. Lower train.learning_rate (now {self.options.learning_rate}), set "
            "train.dtype to float32, or leave these records out."
        )

    @property
    def callable_model(self) -> Any:
        """The model to call outside of a step: a sharded one as it is, a replicated one without its wrapper."""
        return self.model if self.is_fsdp_enabled else self.accelerator.unwrap_model(self.model)

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Validation loss, and the score of generated answers; keeps the adapter if it is the best so far."""
        was_training = self.model.training
        self.model.eval()
        metrics = {"eval_loss": self._validation_loss()}
        if self.score is not None:
            found = self.score(self.callable_model)
            metrics |= {f"eval_{name}": value for name, value in found.items()}
        self.model.train(was_training)
        earlier = [row for row in self.state.log_history if "eval_loss" in row and row["step"] < self.state.global_step]
        if self.options.keep == "best" and all(is_better(metrics, row) for row in earlier):
            tensors = self.tensors()
            if self.is_world_process_zero():
                save_tensors(best_path(Path(self.args.output_dir), self.state.global_step), tensors)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _validation_loss(self) -> float:
        """Mean cross entropy per weighted answer token over all validation examples."""
        mine = self.validation_examples[self.args.process_index :: self.args.world_size]
        passes = self.micro_batches_of(mine) if mine else []
        most = int(self._over_processes(len(passes)).max())
        sums = torch.zeros(2, dtype=torch.float64)
        with torch.no_grad():
            for number in range(most if self.is_fsdp_enabled else len(passes)):
                one = (passes[number] if number < len(passes) else self._idle_pass).to(self.args.device)
                with self.compute_loss_context_manager():
                    loss = micro_batch_loss(self.model_wrapped if self.is_fsdp_enabled else self.model, one)
                if number < len(passes):
                    sums += torch.tensor([loss.item(), one.total_weight])
        if self.args.world_size > 1:
            sums = self.accelerator.gather(sums[None].to(self.args.device)).sum(0)
        return float(sums[0] / sums[1])

    def tensors(self) -> dict[str, Any]:
        """The adapter's weights as they are now. Called on every process."""
        full = self.accelerator.get_state_dict(self.model_wrapped) if self.is_fsdp_enabled else None
        return adapter_tensors(self.accelerator.unwrap_model(self.model), full)


def run_training(
    model: Any,
    train: Sequence[Example],
    validation: Sequence[Example],
    options: TrainOptions,
    folder: Path,
    rows: Rows,
    progress: ProgressCallback,
    score: Score | None = None,
    base: BaseName | None = None,
    check: Callable[[Any], Rows] | None = None,
    on_policy: OnPolicy | None = None,
) -> dict[str, Any]:
    """Tune the adapter and write it to `folder`, with training_log.jsonl. Returns facts for the manifest.

    A run that was killed goes on from the last whole checkpoint under `folder`, to the same weights.

    Args:
        check: called with the model as it trains (distributed over the cards), before the first step; gives the rows.
        on_policy: makes and scores the student's own answers, where `options.on_policy` asks for them.

    Raises:
        TrainingError: loss or gradient not finite, or out of memory (names the options to change).
    """
    total = max(1, math.ceil(math.ceil(len(train) / options.records_per_step) * options.epochs))
    arguments = _arguments(options, folder, total, bool(validation))
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are used by several processes, never by DataParallel
    trainer = LoraTrainer(model, arguments, train, validation, options, rows, score, on_policy)
    trainer.remove_callback(PrinterCallback)
    show = getattr(progress, "show", None)  # a bar shows the loss; a plain function does not
    trainer.add_callback(LogCallback(folder, options.tensorboard, lambda done: progress(done, total), show))
    trainer.add_callback(EndCallback(bool(validation) and options.validation_passes > 0))
    if check is not None:
        trainer.add_callback(CheckCallback(lambda: setattr(trainer, "rows", check(trainer.callable_model))))
    if options.stop_after_worse is not None:
        trainer.add_callback(StopCallback(options.stop_after_worse))
    resume = _to_take_up(folder / "checkpoints", options)
    with memory_errors(options):
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return _finish(trainer, folder, base)


def _arguments(options: TrainOptions, folder: Path, total: int, has_validation: bool) -> Any:
    on_cpu = not torch.cuda.is_available()
    validated = has_validation and options.validation_passes > 0
    return TrainingArguments(
        output_dir=str(make_folder(folder / "checkpoints")),
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=options.warmup_fraction if options.warmup_fraction * total >= 1 else 0,  # not one step at rate 0
        max_grad_norm=options.max_grad_norm,
        weight_decay=0.0,
        logging_steps=max(1, total // 100),
        logging_nan_inf_filter=False,
        eval_strategy="steps" if validated else "no",
        eval_steps=math.ceil(total / max(1, options.validation_passes)),
        save_strategy="steps",
        save_steps=math.ceil(total / options.checkpoints),
        save_total_limit=1,
        seed=options.seed,
        data_seed=options.seed,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        gradient_checkpointing=options.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # it would do so in every pass, and processes differ in passes
        use_cpu=on_cpu,
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint. Its trainer_state.json is written last; one that does not parse was cut off."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        with contextlib.suppress(OSError, ValueError):
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return path
    return None


def _to_take_up(folder: Path, options: TrainOptions) -> Path | None:
    """The newest whole checkpoint, if the best adapter before it is there, too."""
    newest = last_checkpoint(folder)
    if newest is None or options.keep == "last":
        return newest
    state = json.loads((newest / "trainer_state.json").read_text(encoding="utf-8"))
    best = best_validation(state["log_history"])
    return newest if best is None or best_path(folder, best["step"]).exists() else None


def _finish(trainer: LoraTrainer, folder: Path, base: BaseName | None) -> dict[str, Any]:
    history = trainer.state.log_history
    chosen = best_validation(history) if trainer.options.keep == "best" else None
    losses = [row["loss"] for row in history if "loss" in row]
    facts: dict[str, Any] = {
        "steps": trainer.state.global_step,
        "train_loss": losses[-1] if losses else None,
        "processes": trainer.args.world_size,
        "kept_step": trainer.state.global_step,
    }
    if trainer.on_policy is not None:
        facts["on_policy"] = own_answers_by_epoch([row for row in history if "own" in row])
    tensors = trainer.tensors()
    if chosen is not None:
        facts |= {"kept_step": chosen["step"], "kept_validation": _numbers(chosen)}
        trainer.accelerator.wait_for_everyone()
        tensors = load_tensors(best_path(folder / "checkpoints", chosen["step"]))
        if not trainer.is_fsdp_enabled:
            put_tensors(trainer.accelerator.unwrap_model(trainer.model), tensors)
    if trainer.is_world_process_zero():
        save_adapter(trainer.accelerator.unwrap_model(trainer.model), tensors, folder, base)
        if facts["kept_step"] < facts["steps"]:
            print(f"train: kept the adapter of step {facts['kept_step']} of {facts['steps']}", file=sys.stderr)
    return facts


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name.removeprefix("eval_"): value for name, value in row.items() if name.startswith("eval_")}
