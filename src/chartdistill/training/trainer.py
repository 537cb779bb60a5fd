"""The LoRA loop: transformers' Trainer with our rows and our loss, and the check that sharing is exact."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chartdistill.errors import TrainingError
from chartdistill.progress import ProgressCallback
from chartdistill.training.options import TrainOptions
from chartdistill.training.rows import IGNORE, Example, collate

if TYPE_CHECKING:
    import torch

_TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""Relative difference of the loss allowed between shared and separate rows, by dtype."""


def load_student(folder: Path, options: TrainOptions) -> Any:
    """The frozen student with a fresh LoRA adapter, in the dtype the hardware does well."""
    import torch
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    torch.manual_seed(options.seed)  # the adapter's first values
    dtype = _dtype(options)
    quantization = None
    if options.load_in_4bit:
        quantization = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=True
        )
    # sdpa takes the 4D mask; flash attention does not, and would be silently wrong.
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="sdpa", quantization_config=quantization, local_files_only=True
    )
    model.config.use_cache = False
    if options.load_in_4bit:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=options.gradient_checkpointing)
    lora = options.lora
    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=modules,
        use_rslora=lora.use_rslora,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _dtype(options: TrainOptions) -> torch.dtype:
    import torch

    if options.dtype != "auto":
        return torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
    return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32


def why_not_shared(model: Any) -> str | None:
    """Why this architecture cannot share prefixes by a mask; None when it can."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        return f"layers of kind {', '.join(sorted(kinds - {'full_attention'}))} do not follow an attention mask"
    if getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True):
        return f"a sliding window of {config.sliding_window} tokens would be lost"
    return None


def check_sharing(model: Any, example: Example, pad_id: int) -> float:
    """Compare the loss of one shared row with that of separate rows; return the relative difference.

    Raises:
        TrainingError: they differ by more than rounding.
    """
    import torch

    dtype = next(parameter.dtype for parameter in model.parameters() if not parameter.requires_grad)
    dtype = dtype if dtype.is_floating_point else torch.float32
    training = model.training
    model.eval()
    with torch.no_grad():
        shared, separate = (
            _loss_sum(model, collate(rows, pad_id, dtype)).item() for rows in ([example], example.separate())
        )
    model.train(training)
    difference = abs(shared - separate) / max(abs(separate), 1e-9)
    allowed = _TOLERANCE.get(str(dtype).removeprefix("torch."), 5e-2)
    if not difference <= allowed:
        raise TrainingError(
            f"shared-prefix rows give loss {shared:.6f}, separate rows {separate:.6f} on record {example.record} "
            f"(relative difference {difference:.1e}, allowed {allowed:.0e}). This model's attention does not follow "
            "the mask: set train.shared_prefix to false."
        )
    return difference


def _loss_sum(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross entropy summed over the answer tokens of a batch."""
    import torch

    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in batch.items() if name not in ("labels", "shift_labels")}
    labels = batch["labels"].to(device)
    logits = model(**inputs, use_cache=False).logits
    trained = labels != IGNORE
    return torch.nn.functional.cross_entropy(logits[trained].float(), labels[trained], reduction="sum")


def run_training(
    model: Any,
    train: Sequence[Example],
    validation: Sequence[Example],
    options: TrainOptions,
    folder: Path,
    pad_id: int,
    progress: ProgressCallback,
) -> dict[str, Any]:
    """Tune the adapter; writes training_log.jsonl and checkpoints under `folder`. Returns facts for the manifest.

    Raises:
        TrainingError: loss not finite, or out of memory (names the options to change).
    """
    import torch
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    dtype = next(parameter.dtype for parameter in model.parameters() if not parameter.requires_grad)
    dtype = dtype if dtype.is_floating_point else torch.float32
    per_pass = min(options.records_per_pass or options.records_per_step, options.records_per_step)
    accumulate = math.ceil(options.records_per_step / per_pass)
    steps_per_epoch = math.ceil(len(train) / (per_pass * accumulate))
    total = max(1, round(steps_per_epoch * options.epochs))
    log_path = folder / "training_log.jsonl"

    class LoraTrainer(Trainer):  # type: ignore[misc]
        loss_is_scaled_for_ga = True

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            tokens = (inputs["labels"] != IGNORE).sum() if num_items_in_batch is None else num_items_in_batch
            loss = _loss_sum(model, inputs) / tokens
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss.item()} at step {self.state.global_step + 1}. Lower train.learning_rate "
                    f"(now {options.learning_rate}), or train in float32."
                )
            if num_items_in_batch is not None:
                loss = loss * self.accelerator.num_processes  # gradients are averaged over processes
            return (loss, {"loss": loss}) if return_outputs else loss

    class Log(TrainerCallback):  # type: ignore[misc]
        def on_log(self, arguments: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            if not state.is_world_process_zero or not logs:
                return
            row: dict[str, Any] = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
            if "loss" in logs:
                row |= {"loss": logs["loss"], "learning_rate": logs["learning_rate"]}
            elif "eval_loss" in logs:
                row |= {"validation_loss": logs["eval_loss"]}
            else:
                return
            with log_path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")

        def on_step_end(self, arguments: Any, state: Any, control: Any, **rest: Any) -> None:
            progress(state.global_step, total)

    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=per_pass,
        per_device_eval_batch_size=per_pass,
        gradient_accumulation_steps=accumulate,
        learning_rate=options.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=options.warmup_fraction,
        max_grad_norm=options.max_grad_norm,
        weight_decay=0.0,
        logging_steps=max(1, total // 100),
        logging_nan_inf_filter=False,
        eval_strategy="steps" if validation and options.validation_passes else "no",
        eval_steps=max(1, total // max(1, options.validation_passes)),
        save_strategy="epoch",
        save_total_limit=1,
        seed=options.seed,
        data_seed=options.seed,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        prediction_loss_only=True,
        gradient_checkpointing=options.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = LoraTrainer(
        model=model,
        args=arguments,
        train_dataset=list(train),
        eval_dataset=list(validation) or None,
        data_collator=lambda examples: collate(examples, pad_id, dtype),
        callbacks=[Log()],
    )
    trainer.model_accepts_loss_kwargs = True  # so that accumulated passes are weighted by their answer tokens
    trainer.remove_callback(PrinterCallback)
    checkpoints = sorted((folder / "checkpoints").glob("checkpoint-*"))
    try:
        result = trainer.train(resume_from_checkpoint=str(checkpoints[-1]) if checkpoints else None)
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(
            "the GPU ran out of memory. Lower train.records_per_pass "
            f"(now {per_pass}; the result stays the same), or set train.gradient_checkpointing to true."
        ) from error
    return {
        "steps": result.global_step,
        "train_loss": result.training_loss,
        "processes": trainer.accelerator.num_processes,
    }
