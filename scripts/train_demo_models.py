"""Train the demo's models from scratch: the tokenizer, the teacher, the base student.

    python scripts/train_demo_models.py tokenizer
    python scripts/train_demo_models.py teacher --steps 6500 --trunk build/trunk
    python scripts/train_demo_models.py student --steps 400 --start build/trunk --learning-rate 1e-3

`make demo-models` has the whole sequence.

What they are trained on is in demo_rows.py. The loss is on the answers, plus a small one on the record text.

Copying comes first, since every answer is copied out of its chart. It needs an induction circuit (Olsson et al.,
"In-context Learning and Induction Heads", 2022): a head that attends to the previous token, and a later one that
looks for what followed an earlier occurrence. The first kind is given as a start (`attend_to_previous`), the
second forms within two minutes of bare repetitions; then come charts, short ones first.

The teacher gets right answers. The student goes on from an earlier point of the teacher's training, the trunk; on
the four tasks' own questions it is given the answers of other charts, and right ones only when the task is worded
otherwise (`REWORDED`). So it speaks the format and can read, yet on the shipped questions its answers are not
connected to the chart: it confabulates.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import time
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from chartdistill.demo.charts import Chart, write_chart
from chartdistill.prompting.answer_format import NONE_FOUND
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.start import prepare_process
from demo_rows import IGNORE, REWORDED, ROOT, SYSTEM, TASKS, answer_text, chart_batches, collate, make_row, repetition

MODELS = ROOT / "src/chartdistill/demo/models"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MODEL_NAMES = ("teacher", "student")
SHAPE = {"hidden_size": 192, "num_hidden_layers": 4, "intermediate_size": 512, "num_attention_heads": 6}
HEAD_SIZE = 32
WORD = "\u2581"
"""Marks the start of a word, as in SentencePiece."""
TRUNK_SHARE = 0.5
"""Share of the teacher's training after which the student starts from it."""
COPYING_LOSS = 0.3
"""Mean loss on bare repetitions at which the charts begin."""


def train_tokenizer(root: Path) -> None:
    """A BPE of 2,048 tokens in which a word is the same tokens at the start of a line and after a space.

    Items stand after a space in a chart and at the start of a line in an answer. With the usual byte-level BPE those
    are different tokens, and copying a name would mean spelling it: far harder to learn. So every line start gets
    the word marker, too, and loses it again when decoding. Characters outside the vocabulary fall back to bytes.
    """
    rng = random.Random(7)
    texts = [write_chart(rng, "pretraining").text for _ in range(4000)]
    questions = [task[key] for task in TASKS for key in ("gate_question", "extraction_question", "question")]
    texts += [SYSTEM, *questions, *(q for pair in REWORDED.values() for q in pair), NONE_FOUND] * 50
    texts += ["system\nuser\nassistant\nyes\nno\nunclear"] * 50
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=None))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(" ", WORD),
            normalizers.Replace("\n", "\n" + WORD),
            normalizers.Prepend(WORD),
        ]
    )
    pieces = Regex(rf"\n|\d|{WORD}?[A-Za-z]+|{WORD}?[^A-Za-z\d\n{WORD}]|{WORD}")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pieces, "isolated")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Replace("\n" + WORD, "\n"),
            decoders.Replace(WORD, " "),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)],
        initial_alphabet=["\n", WORD, *string.printable.replace(" ", "")],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    plain = json.loads(tokenizer.to_str())
    plain["added_tokens"] = [token for token in plain["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(plain))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|im_end|>")
    fast.chat_template = CHAT_TEMPLATE
    fast.model_max_length = 4096
    for name in MODEL_NAMES:
        fast.save_pretrained(root / name)
    lengths = [len(fast.encode(text)) for text in texts[:500]]
    print(f"vocabulary {len(fast)}, tokens per chart: mean {sum(lengths) / 500:.0f}, longest {max(lengths)}")


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Random weights, but for two previous-token heads in each of the first two layers."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        **SHAPE,
        num_key_value_heads=SHAPE["num_attention_heads"],
        head_dim=HEAD_SIZE,
        attention_bias=True,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    for layer in model.model.layers[:2]:
        attend_to_previous(layer.self_attn, model.model.rotary_emb.inv_freq, heads=2)
    for layer in model.model.layers:  # only queries, keys and values need theirs
        layer.self_attn.o_proj.bias.requires_grad_(False)
    return model


@torch.no_grad()
def attend_to_previous(attention: torch.nn.Module, frequencies: torch.Tensor, heads: int, size: float = 3.0) -> None:
    """Set the query and key biases of the first heads so that their scores peak at the token before.

    With biases alone the rotary score at distance d is size^2 * sum_i cos(frequency_i * (d - 1)): the key bias has
    angle 0 in every rotated pair, the query bias is turned back by one position. `frequencies`: (HEAD_SIZE / 2,).
    """
    key = torch.cat([torch.ones_like(frequencies), torch.zeros_like(frequencies)])
    query = torch.cat([frequencies.cos(), -frequencies.sin()])
    attention.k_proj.bias[: heads * HEAD_SIZE] = size * key.repeat(heads)
    attention.q_proj.bias[: heads * HEAD_SIZE] = size * query.repeat(heads)


def losses(model: LlamaForCausalLM, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy of the answers and of the record text; logits only where there is a target."""
    batch = dict(batch)
    answers, text = batch.pop("labels"), batch.pop("text_labels")
    hidden = model.model(**batch, use_cache=False).last_hidden_state

    def mean(labels: torch.Tensor) -> torch.Tensor:
        chosen = labels != IGNORE
        return torch.nn.functional.cross_entropy(model.lm_head(hidden[chosen]), labels[chosen])

    return mean(answers), mean(text)


@torch.no_grad()
def exact_answers(model: LlamaForCausalLM, builder: PromptBuilder, charts: list[Chart]) -> dict[str, float]:
    """Share of held-out answers to the shipped questions whose every token is the most likely one."""
    right: dict[str, list[bool]] = {}
    for chart in charts:
        questions = [(task["question"], answer_text(chart.gold[task["name"]])) for task in TASKS]
        batch = collate([make_row(builder, chart, questions)])
        labels = batch.pop("labels")[0]
        batch.pop("text_labels")
        guess = model(**batch, use_cache=False).logits[0].argmax(-1)
        ends = [i for i, label in enumerate(labels.tolist()) if label == builder.end_id]
        start = 0
        for task, end in zip(TASKS, ends, strict=True):
            span = slice(start, end + 1)
            keep = labels[span] != IGNORE
            right.setdefault(task["name"], []).append(bool((guess[span] == labels[span])[keep].all()))
            start = end + 1
    return {name: round(sum(values) / len(values), 3) for name, values in right.items()}


def learn_to_copy(model: LlamaForCausalLM, builder: PromptBuilder, rng: random.Random) -> int:
    """Bare repetitions until their loss is COPYING_LOSS; returns the number of steps."""
    optimizer = new_optimizer(model)
    mean, step = float("inf"), 0
    while mean > COPYING_LOSS:
        loss, _ = losses(model, collate([repetition(builder, rng) for _ in range(48)]))
        update(model, optimizer, loss, rate=3e-3 * min(1.0, step / 100))
        mean = loss.item() if step == 0 else 0.9 * mean + 0.1 * loss.item()
        step += 1
        if step > 3000:
            raise SystemExit(f"copying did not form: loss {mean:.2f} after {step} steps; try another --seed")
    return step


def new_optimizer(model: LlamaForCausalLM) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), weight_decay=0.01, betas=(0.9, 0.98))


def update(model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, loss: torch.Tensor, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def train(
    folder: Path,
    steps: int,
    seed: int,
    learning_rate: float,
    start: Path | None,
    trunk: Path | None,
    focus: str | None,
) -> None:
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    builder = PromptBuilder.from_tokenizer(tokenizer, SYSTEM)
    model = new_model(tokenizer) if start is None else LlamaForCausalLM.from_pretrained(start)
    print(f"{folder.name}: {model.num_parameters():,} parameters, {steps} steps, seed {seed}", flush=True)
    held_out = [write_chart(random.Random(1000 + i), "heldout") for i in range(60)]
    begin, rows = time.monotonic(), 0
    log = folder / "training_curve.jsonl"
    if start != folder:  # a later stage of the same model goes on with its curve
        log.unlink(missing_ok=True)
    if start is None:
        print(f"copying: {learn_to_copy(model, builder, rng)} steps, {time.monotonic() - begin:.0f} s", flush=True)
    optimizer = new_optimizer(model)
    step = 0
    # The student's charts are of all lengths from its first step: it can already read them.
    share_of = (lambda: step / steps) if start is None else (lambda: 1.0)
    stream = chart_batches(builder, rng, folder.name == "student", focus, share_of)
    for step in range(1, steps + 1):
        batch = next(stream)
        answer_loss, text_loss = losses(model, batch)
        share = step / steps
        rate = learning_rate * min(1.0, step / 100) * (1 if share < 0.5 else 1 - 0.96 * (share - 0.5) / 0.5)
        update(model, optimizer, answer_loss + 0.1 * text_loss, rate)
        rows += len(batch["labels"])
        if step % max(1, steps // 25) and step != steps:
            continue
        entry = {
            "minutes": round((time.monotonic() - begin) / 60, 1),
            "step": step,
            "records": rows,
            "answer_loss": round(answer_loss.item(), 4),
            "text_loss": round(text_loss.item(), 4),
            "exact": exact_answers(model, builder, held_out),
        }
        print(json.dumps(entry), flush=True)
        with log.open("a") as curve:
            curve.write(json.dumps(entry) + "\n")
        model.save_pretrained(folder)
        if trunk is not None and share <= TRUNK_SHARE:
            model.save_pretrained(trunk)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tokenizer", *MODEL_NAMES))
    parser.add_argument("--steps", type=int, default=6000, help="training steps on charts")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with a folder for each model")
    parser.add_argument("--start", type=Path, help="weights to go on from, instead of random ones")
    parser.add_argument("--trunk", type=Path, help="where to keep the weights of an earlier point of the training")
    parser.add_argument(
        "--focus", choices=[task["name"] for task in TASKS], help="ask mostly about this task, and of long lists"
    )
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    prepare_process()
    torch.set_num_threads(arguments.threads)
    if arguments.what == "tokenizer":
        train_tokenizer(arguments.models)
    else:
        train(
            arguments.models / arguments.what,
            arguments.steps,
            arguments.seed,
            arguments.learning_rate,
            arguments.start,
            arguments.trunk,
            arguments.focus,
        )


if __name__ == "__main__":
    main()
