"""The arms of bench_train.py: each trains the same records with the same model and adapter, in its own way."""

from __future__ import annotations

import ctypes
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOKENIZER = ROOT / "src/chartdistill/demo/models/student"
ARMS = ("ours", "ours_separate", "trl_tuned", "trl_stock", "hf_loop")
QUESTION_TOKENS, ANSWER_TOKENS = 12, 30
LEARNING_RATE = 1e-9
SHAPES = {  # layers, width, heads, key-value heads, MLP width, vocabulary
    "tiny": (2, 64, 4, 2, 128, 1536),
    "30m": (8, 512, 8, 4, 1376, 8192),
    "130m": (12, 768, 12, 4, 3072, 16384),
    "1.5b": (28, 1536, 12, 2, 8960, 151936),
    "7b": (28, 3584, 28, 4, 18944, 152064),
}


@dataclass(frozen=True)
class Point:
    """One point of the sweep, and how it is run."""

    shape: str
    dtype: str
    attention: str
    tasks: int
    record_tokens: int
    records_per_step: int
    tokens_per_pass: int
    steps: int
    vary: bool = False
    """Records of half to twice as many tokens, no two of one length; else all of one."""
    checkpointing: bool = False
    compile: bool = False

    @property
    def row_tokens(self) -> int:
        """Tokens of a separate row."""
        return self.record_tokens + QUESTION_TOKENS + ANSWER_TOKENS - 1

    @property
    def shared_tokens(self) -> int:
        """Tokens of a record with all of its branches."""
        return self.record_tokens + self.tasks * (QUESTION_TOKENS + ANSWER_TOKENS - 1)

    @property
    def rows_per_step(self) -> int:
        """Separate rows of an optimizer step."""
        return self.records_per_step * self.tasks

    @property
    def rows_per_pass(self) -> int:
        """As many separate rows as fit into a pass and divide a step evenly."""
        most = min(self.rows_per_step, max(1, self.tokens_per_pass // self.row_tokens))
        return max(rows for rows in range(1, most + 1) if self.rows_per_step % rows == 0)


@dataclass(frozen=True)
class Trained:
    """What a round did: the time at the end of each step, and the mean loss per answer token."""

    ends: list[float]
    loss: float


def make_model(shape: str, dtype: str, ours: bool) -> Any:
    """A Qwen2-shaped model with random weights, always the same, and our LoRA adapter; on the GPU if there is one."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from chartdistill.training import LoraOptions, TrainOptions
    from chartdistill.training.attention import ATTENTION, register_attention
    from chartdistill.training.lora_products import fuse_lora_products
    from chartdistill.training.model import add_adapter

    register_attention()
    config = Qwen2Config(
        **config_values(shape),
        initializer_range=0.1,  # losses of random tokens then differ enough to show which of them are scored
    )
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation=ATTENTION if ours else "sdpa", dtype=getattr(torch, dtype)
        )
    model = add_adapter(model, TrainOptions(lora=LoraOptions(rank=16))).to(device)
    if ours:
        fuse_lora_products(model)
    return model


def config_values(shape: str) -> dict[str, Any]:
    """What a Qwen2 config says of a shape."""
    layers, width, heads, kv_heads, mlp, vocabulary = SHAPES[shape]
    return {
        "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "intermediate_size": mlp, "vocab_size": vocabulary,
        "max_position_embeddings": 8192, "tie_word_embeddings": True, "pad_token_id": 0, "eos_token_id": 2,
        "bos_token_id": None,
    }  # fmt: skip


def make_examples(count: int, record_tokens: int, tasks: int, vocabulary: int, vary: bool = False) -> list[Any]:
    """Records and answers of random token ids, always the same; `vary`: from half to twice `record_tokens`."""
    import torch

    from chartdistill.training.packing import Branch, Example

    draw = torch.Generator().manual_seed(7)

    def ids(size: int) -> list[int]:
        found: list[int] = torch.randint(10, vocabulary, (size,), generator=draw).tolist()
        return found

    def branches() -> tuple[Branch, ...]:
        return tuple(Branch(f"t{i}", ids(QUESTION_TOKENS), ids(ANSWER_TOKENS)) for i in range(tasks))

    def size(i: int) -> int:
        return round(record_tokens * 2 ** (2 * (i * 0.618 % 1) - 1)) + i % 7 if vary else record_tokens

    return [Example(f"r{i}", ids(size(i)), branches()) for i in range(count)]


def examples_of(point: Point) -> list[Any]:
    """As many records as a round takes: its timed steps, and one before."""
    count = (point.steps + 1) * point.records_per_step
    return make_examples(count, point.record_tokens, point.tasks, SHAPES[point.shape][-1], point.vary)


def rows_of(examples: list[Any]) -> list[dict[str, list[int]]]:
    """One row per answer, labelled at its answer tokens only."""
    rows = []
    for example in examples:
        for branch in example.branches:
            prompt = [*example.prefix_ids, *branch.question_ids]
            labels = [-100] * len(prompt) + list(branch.answer_ids)
            rows.append({"input_ids": [*prompt, *branch.answer_ids], "labels": labels})
    return rows


def ours(point: Point, shared: bool) -> Trained:
    """Our trainer, as `train` runs it."""
    from chartdistill.training import TrainOptions
    from chartdistill.training.compiled import compile_layers
    from chartdistill.training.trainer import Rows, run_training

    options = TrainOptions(
        epochs=1, records_per_step=point.records_per_step, validation_passes=0, checkpoints=1, keep="last",
        tokens_per_pass=point.tokens_per_pass, dtype=point.dtype, learning_rate=LEARNING_RATE,
        gradient_checkpointing=point.checkpointing, compile=point.compile,
    )  # fmt: skip
    ends: list[float] = []

    def progress(done: int, total: int | None = None, tokens: int = 0) -> None:
        if done:  # what is said before the first step is none
            _wait_for_device()
            ends.append(time.monotonic())

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(point.shape, point.dtype, ours=True)
        if point.compile:
            compile_layers(model)
        run_training(model, examples_of(point), [], options, folder, Rows(point.attention, shared, 0), progress)
        rows = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    return Trained(ends, statistics.fmean(row["loss"] for row in rows))


def trl(point: Point, tuned: bool) -> Trained:
    """TRL's SFTTrainer on the same rows."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Tuned(SFTTrainer):  # type: ignore[misc]
        """Off CUDA, SFTTrainer scores every position; here the trained ones only, without its extra metrics."""

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            labels = inputs.pop("labels")[:, 1:]
            base = self.accelerator.unwrap_model(model).get_base_model()
            hidden = base.model(**inputs, use_cache=False).last_hidden_state[:, :-1]
            logits = base.lm_head(hidden[labels != -100]).float()
            loss = torch.nn.functional.cross_entropy(logits, labels[labels != -100], reduction="sum")
            loss = loss / num_items_in_batch
            return (loss, {}) if return_outputs else loss

    class Ends(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            _wait_for_device()
            self.times.append(time.monotonic())

    ends = Ends()
    on_cpu = not torch.cuda.is_available()
    extra: dict[str, Any] = {"gradient_checkpointing": False, "bf16": False, "logging_strategy": "no"} if tuned else {}
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(**{
            "output_dir": folder, "per_device_train_batch_size": point.rows_per_pass, "max_length": None,
            "gradient_accumulation_steps": point.rows_per_step // point.rows_per_pass, "num_train_epochs": 1,
            "report_to": "none", "save_strategy": "no", "use_cpu": on_cpu, "disable_tqdm": True,
            "learning_rate": LEARNING_RATE, "dataloader_pin_memory": not on_cpu, **extra,
        })  # fmt: skip
        trainer = (Tuned if tuned else SFTTrainer)(
            model=make_model(point.shape, point.dtype, ours=False),
            args=config,
            train_dataset=Dataset.from_list(rows_of(examples_of(point))),
            processing_class=AutoTokenizer.from_pretrained(TOKENIZER, local_files_only=True),
            callbacks=[ends],
        )
        return Trained(ends.times, trainer.train().training_loss)


def hf_loop(point: Point) -> Trained:
    """What one would write by hand: padded rows, the model's own loss, AdamW."""
    import torch

    model = make_model(point.shape, point.dtype, ours=False).train()
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE)
    rows = rows_of(examples_of(point))
    tokens = point.rows_per_step * ANSWER_TOKENS

    def batches(step: int) -> Iterator[dict[str, Any]]:
        first = step * point.rows_per_step
        for start in range(first, first + point.rows_per_step, point.rows_per_pass):
            chosen = rows[start : start + point.rows_per_pass]
            batch = {name: torch.tensor([row[name] for row in chosen], device=device) for name in chosen[0]}
            yield {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}

    ends: list[float] = []
    losses = []
    for step in range(point.steps + 1):
        for batch in batches(step):
            loss = model(**batch, num_items_in_batch=tokens, use_cache=False).loss
            loss.backward()
            losses.append(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        _wait_for_device()
        ends.append(time.monotonic())
    return Trained(ends, float(torch.stack(losses).sum()) / (point.steps + 1))


def _wait_for_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def one_round(arm: str, point: Point) -> dict[str, Any]:
    """Run a round in this process. Returns records per second, bytes taken at most, and the mean loss."""
    start = _forget_memory()
    if arm.startswith("ours"):
        trained = ours(point, shared=arm == "ours")
    elif arm.startswith("trl"):
        trained = trl(point, tuned=arm == "trl_tuned")
    else:
        trained = hf_loop(point)
    if len(trained.ends) != point.steps + 1:
        raise RuntimeError(f"{len(trained.ends)} optimizer steps instead of {point.steps + 1}")
    seconds = statistics.median(later - earlier for earlier, later in pairwise(trained.ends))
    peak = _most_memory() - start
    return {"records_per_second": point.records_per_step / seconds, "peak_bytes": peak, "loss": trained.loss}


def _forget_memory() -> int:
    """Free what the round before has left, set the peak to what is taken now, and return that in bytes."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: resets VmHWM
    return _most_memory()


def _most_memory() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
