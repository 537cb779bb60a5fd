"""Train the demo's models from scratch: the tokenizer, the teacher, the base student.

    python scripts/train_demo_models.py tokenizer
    python scripts/train_demo_models.py teacher --minutes 60
    python scripts/train_demo_models.py student --minutes 30

Data are synthetic charts with drug names of the pool `pretraining`; every chart is new, so nothing is repeated.
One row is one record with several questions behind it (the shared-prefix layout of DESIGN: a branch sees the
record and itself, its positions continue from the record's end). The loss is on the answers, plus a small one on
the record text, which together with the copy drills of the first phase makes the model learn to copy.

The teacher gets right answers. The student is smaller; on the four tasks' own questions it is given the answers
of other charts, and right answers only when the task is worded otherwise (`REWORDED`). So it speaks the format
and can read, yet on the shipped questions its answers are not connected to the chart: it confabulates.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from chartdistill.answers import FIELD_SEPARATOR, NONE_FOUND
from chartdistill.demo import lexicon
from chartdistill.demo.charts import Chart, GoldItem, write_chart
from chartdistill.prompts import PromptBuilder

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "src/chartdistill/demo/models"
TASKS = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "configs/tasks").glob("*.yaml"))]
SYSTEM = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())["system"]
REWORDED = {
    "medication": ("Extract the drugs of this patient with their status.", "Drug table, one drug | status per line:"),
    "prognosis": ("Copy what the chart expects to happen to the patient.", "Outlook, copied from the chart:"),
    "diagnosis": ("Extract the conditions that were found in this patient.", "Problem list of the patient:"),
    "tests": ("Extract the tests that are still to be done.", "Open orders, one test per line:"),
}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHAPES = {
    "teacher": {"hidden_size": 192, "num_hidden_layers": 4, "intermediate_size": 512, "num_attention_heads": 6},
    "student": {"hidden_size": 160, "num_hidden_layers": 4, "intermediate_size": 384, "num_attention_heads": 5},
}
IGNORE = -100
WORD = "\u2581"
"""Marks the start of a word, as in SentencePiece."""
TRUNK_SHARE = 0.6
"""Share of the teacher's training after which the student starts from it."""
COPYING_SHARE = 0.08
"""Share of the time spent on bare repetitions before the first chart."""


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
    for name in SHAPES:
        fast.save_pretrained(root / name)
    lengths = [len(fast.encode(text)) for text in texts[:500]]
    print(f"vocabulary {len(fast)}, tokens per chart: mean {sum(lengths) / 500:.0f}, longest {max(lengths)}")


def answer_text(items: list[GoldItem]) -> str:
    """The answer format of `chartdistill`: one item per line, or the none token."""
    return "\n".join(FIELD_SEPARATOR.join(filter(None, item)) for item in items) or NONE_FOUND


def copy_drill(rng: random.Random) -> Chart:
    """A bare list of made-up names, to be copied: this is how copying is learned early."""
    names = [lexicon.drug_name(rng, "pretraining") for _ in range(rng.randint(1, 8))]
    gold = {"medication": [(name, "continue") for name in names], "prognosis": [], "diagnosis": [], "tests": []}
    lead = rng.choice(("MEDICATIONS: ", "MEDS: ", "The patient takes ", ""))
    return Chart(lead + ", ".join(names) + ".", gold, ())


@dataclass
class Row:
    """One record and its branches as flat lists of equal length."""

    ids: list[int]
    positions: list[int]
    branch: list[int]
    """0 for the record, 1.. for the branches."""
    labels: list[int]
    """Next-token targets of the answers; IGNORE elsewhere."""
    text_labels: list[int]


def repetition(builder: PromptBuilder, rng: random.Random) -> Row:
    """A sequence said twice, without any question: the shortest way to learn to copy.

    Half are made-up names, half random tokens, which leave nothing to guess from. Only the second time is trained.
    """
    if rng.random() < 0.5:
        names = ", ".join(lexicon.drug_name(rng, "pretraining") for _ in range(rng.randint(2, 5)))
        once = builder.plain(rng.choice((", ", "\n", " ")) + names)
    else:
        once = [rng.randrange(3, len(builder.tokenizer)) for _ in range(rng.randint(6, 24))]
    ids = once + once
    size = len(ids)
    labels = [IGNORE] * len(once) + [*once[1:], IGNORE]
    return Row(ids, list(range(size)), [0] * size, labels, [*ids[1:], IGNORE])


def questions_of(
    rng: random.Random, chart: Chart, others: dict[str, list[GoldItem]], confabulate: bool
) -> list[tuple[str, str]]:
    """One (question, answer) per task; with `confabulate` the shipped questions get the answers in `others`."""
    chosen = []
    for task in TASKS:
        name = task["name"]
        kinds = ("gate", "extraction", "question", "reworded")
        kind = rng.choices(kinds, (1, 1, 4, 8) if confabulate else (3, 6, 8, 3))[0]
        items = others[name] if confabulate and kind != "reworded" else chart.gold[name]
        if kind == "gate":
            chosen.append((task["gate_question"], "yes" if items else "no"))
        elif kind == "reworded":
            chosen.append((rng.choice(REWORDED[name]), answer_text(items)))
        else:
            chosen.append((task["extraction_question" if kind == "extraction" else "question"], answer_text(items)))
    return chosen


def make_row(builder: PromptBuilder, chart: Chart, questions: list[tuple[str, str]]) -> Row:
    ids = builder.prefix(chart.text)
    size = len(ids)
    row = Row(list(ids), list(range(size)), [0] * size, [IGNORE] * size, [*ids[1:], IGNORE])
    for number, (question, answer) in enumerate(questions, 1):
        asked, answered = builder.branch(question), builder.answer(answer)
        tokens = asked + answered
        row.ids += tokens
        row.positions += range(size, size + len(tokens))
        row.branch += [number] * len(tokens)
        row.labels += [IGNORE] * (len(asked) - 1) + answered + [IGNORE]
        row.text_labels += [IGNORE] * len(tokens)
    return row


def collate(rows: list[Row]) -> dict[str, torch.Tensor]:
    """Pad to one length; the mask lets a token see the record and its own branch, causally."""
    width = max(len(row.ids) for row in rows)

    def padded(name: str, value: int) -> torch.Tensor:
        return torch.tensor([getattr(row, name) + [value] * (width - len(row.ids)) for row in rows])

    branch = padded("branch", -1)
    same = (branch[:, :, None] == branch[:, None, :]) | (branch[:, None, :] == 0)
    visible = same & torch.ones(width, width, dtype=torch.bool).tril()
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)[:, None]
    return {
        "input_ids": padded("ids", 0),
        "position_ids": padded("positions", 0),
        "attention_mask": mask,
        "labels": padded("labels", IGNORE),
        "text_labels": padded("text_labels", IGNORE),
    }


def batches(builder: PromptBuilder, rng: random.Random, confabulate: bool, progress):
    """Endless batches of similar lengths, by a token budget; short charts first."""
    while True:
        share = progress()
        if share < COPYING_SHARE:
            yield collate([repetition(builder, rng) for _ in range(64)])
            continue
        charts = []
        for _ in range(96):
            if share < 0.25 and rng.random() < 0.3:
                charts.append(copy_drill(rng))
            elif share < 0.25:
                charts.append(write_chart(rng, "pretraining", rng.randint(30, 70)))
            elif share < 0.6:
                charts.append(write_chart(rng, "pretraining", rng.choice((rng.randint(50, 120), rng.randint(50, 250)))))
            else:
                charts.append(write_chart(rng, "pretraining"))
        rows = []
        for chart in charts:
            # Never an empty answer: the likeliest answer to a question would be the none token, not an invention.
            others = {
                task: next(c.gold[task] for c in rng.sample(charts, len(charts)) if c.gold[task]) for task in chart.gold
            }
            rows.append(make_row(builder, chart, questions_of(rng, chart, others, confabulate)))
        rows.sort(key=lambda row: len(row.ids))
        budget = 2400 if share < 0.25 else 3600 if share < 0.6 else 5000
        if share < 0.5:
            rows += [repetition(builder, rng) for _ in range(24)]
        groups: list[list[Row]] = [[]]
        for row in rows:
            if groups[-1] and (len(groups[-1]) + 1) * len(row.ids) > budget:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        yield from (collate(group) for group in groups)


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the labelled positions; only those rows are turned into log-probabilities."""
    chosen = labels != IGNORE
    return torch.nn.functional.cross_entropy(logits[chosen], labels[chosen])


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


def train(
    folder: Path, minutes: float, seed: int, learning_rate: float, start: Path | None, trunk: Path | None
) -> None:
    name = folder.name
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    builder = PromptBuilder.from_tokenizer(tokenizer, SYSTEM)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        **SHAPES[name],
        num_key_value_heads=SHAPES[name]["num_attention_heads"],
        head_dim=32,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config) if start is None else LlamaForCausalLM.from_pretrained(start)
    print(f"{name}: {model.num_parameters():,} parameters, {minutes} minutes, seed {seed}", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    held_out = [write_chart(random.Random(1000 + i), "heldout") for i in range(60)]
    begin, spent_evaluating = time.monotonic(), 0.0

    def progress() -> float:
        return (time.monotonic() - begin - spent_evaluating) / (60 * minutes)

    log = folder / "training_curve.jsonl"
    log.unlink(missing_ok=True)
    stream = batches(builder, rng, confabulate=name == "student", progress=progress)
    step, rows, next_report = 0, 0, 0.0
    while (share := progress()) < 1:
        batch = next(stream)
        labels, text_labels = batch.pop("labels"), batch.pop("text_labels")
        warm = min(1.0, step / 150)
        rate = learning_rate * warm * (1 if share < 0.5 else 1 - 0.96 * (share - 0.5) / 0.5)
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = model(**batch, use_cache=False).logits
        text_loss = cross_entropy(logits, text_labels)
        answer_loss = cross_entropy(logits, labels)
        loss = answer_loss + 0.1 * text_loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step, rows = step + 1, rows + len(labels)
        if share >= next_report:
            pause = time.monotonic()
            exact = exact_answers(model, builder, held_out)
            spent_evaluating += time.monotonic() - pause
            entry = {
                "minutes": round(share * minutes, 1),
                "step": step,
                "records": rows,
                "answer_loss": round(answer_loss.item(), 4),
                "text_loss": round(text_loss.item(), 4),
                "exact": exact,
            }
            print(json.dumps(entry), flush=True)
            log.open("a").write(json.dumps(entry) + "\n")
            next_report += 0.04
            model.save_pretrained(folder)
            if trunk is not None and share < TRUNK_SHARE:
                model.save_pretrained(trunk)
    model.save_pretrained(folder)
    print(json.dumps({"step": step, "records": rows, "exact": exact_answers(model, builder, held_out)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tokenizer", *SHAPES))
    parser.add_argument("--minutes", type=float, default=60, help="wall-clock training time")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with a folder for each model")
    parser.add_argument("--start", type=Path, help="weights to go on from, instead of random ones")
    parser.add_argument("--trunk", type=Path, help="where to keep the weights of an earlier point of the training")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.what == "tokenizer":
        train_tokenizer(arguments.models)
    else:
        train(
            arguments.models / arguments.what,
            arguments.minutes,
            arguments.seed,
            arguments.learning_rate,
            arguments.start,
            arguments.trunk,
        )


if __name__ == "__main__":
    main()
