"""The verb with the real engine and the demo's teacher, which was trained to answer and cannot write charts."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from chartdistill.clinical.lexica.made_up_drugs import drug_name
from chartdistill.config import Run, load_run
from chartdistill.engines import TransformersEngine
from chartdistill.records.prepare import prepare
from chartdistill.records.sources import source_for
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.run_folder import RowWriter, read_rows
from chartdistill.schema import Item, Record, Vocabulary, VocabularyEntry, WorkedExample
from chartdistill.synthesis.plans import Plan
from chartdistill.synthesis.synthesize import Attempt, SyntheticChart, _Work, synthesize
from labelling_run import silent
from places import ROOT
from thinking_model import save_chain

CHART = (
    "HISTORY OF PRESENT ILLNESS: The patient comes for a follow-up visit. Her sister takes {decoy}. "
    "PLAN: Discontinue {old} and try {new} instead. Return in two weeks."
)


def made(folder: Path, **options: Any) -> Run:
    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    values |= {
        "run_dir": str(folder / "run"),
        "tasks": [str(ROOT / "configs/tasks/medication.yaml")],
        "records": [{"type": "synthetic", "pool": "train", "count": 12, "seed": 4}],
        "synthesize": {"count": 6, "drugs": "made_up", "max_tokens": 48, **options},
    }
    for role in ("teacher", "student"):
        values[role] = {
            "model": str(ROOT / f"src/chartdistill/demo/models/{role}"),
            "engine": {"type": "transformers", "dtype": "float32"},
        }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    run = load_run(path)
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    return run


def test_a_teacher_that_cannot_write_is_rejected_with_reasons_and_goes_on_where_it_was(tmp_path: Path) -> None:
    run = made(tmp_path)
    manifest = synthesize(run, silent)
    assert manifest is not None
    counts = manifest["counts"]
    attempts = list(read_rows(run.dir / "synthetic/attempts.jsonl", Attempt))
    assert counts["plans"] == 6 == counts["kept"] + counts["rejected"] == len(attempts)
    assert [one.plan.number for one in attempts] == list(range(6)) and len({one.seed for one in attempts}) == 6
    assert counts["rejected"] == sum(bool(one.reasons) for one in attempts) > 0
    assert sum(counts["by_reason"].values()) >= counts["rejected"] and all(one.tokens for one in attempts)
    kept = list(read_rows(run.dir / "synthetic/charts.jsonl", SyntheticChart))
    assert len(kept) == counts["kept"]

    more = made(tmp_path, count=8)
    path = more.dir / "synthetic/attempts.jsonl"
    path.write_bytes(path.read_bytes()[:-30])  # killed while it wrote
    again = synthesize(more, silent)
    assert again is not None and again["counts"]["plans"] == 8
    after = list(read_rows(path, Attempt))
    assert after[:5] == attempts[:5] and len(after) == 8, "what was tried is not tried again"
    stamp = path.stat().st_mtime_ns
    assert synthesize(more, silent) is not None and path.stat().st_mtime_ns == stamp


def test_what_the_teacher_reads_decides(tmp_path: Path) -> None:
    """Charts written by hand from plans, read by the real model: one as planned, others not."""
    run = made(tmp_path)
    options = run.config.synthesize
    assert options is not None
    work = _Work(run, options)
    names = {"old": "Velotrexin", "new": "Dormaxal", "decoy": "Quilanide"}
    findings = (Item(text=names["old"], status="stop"), Item(text=names["new"], status="start"))

    def attempt(key: str, findings: tuple[Item, ...], decoys: tuple[Item, ...] = ()) -> Attempt:
        plan = Plan(number=0, style="s", specialty="s", num_words=30, findings={"medication": findings},
                    decoys=decoys, lines=())  # fmt: skip
        return Attempt(key=key, plan=plan, seed=0, text=CHART.format(**names))

    asked = [
        attempt("as planned", findings, (Item(text=names["decoy"]),)),
        attempt("other status", (findings[0], Item(text=names["new"], status="hold"))),
        attempt("one more planned", (*findings, Item(text="Bestorol", status="past"))),
        attempt("one less planned", findings[:1]),
        attempt("decoy", findings, (Item(text=names["new"]),)),
    ]
    with run.open_teacher() as generator:
        read = {one.key: one for one in work._read(generator, asked)}
    assert read["as planned"].reasons == (), read["as planned"].reading
    assert read["other status"].reasons == ("plan_not_read", "not_planned")
    assert read["one more planned"].reasons == ("plan_not_read",)
    assert read["one less planned"].reasons == ("not_planned",)
    assert read["decoy"].reasons == ("decoy_read",)
    chart = work.chart(read["as planned"])
    assert chart.provenance.kind == "synthetic" and chart.split == "train"

    (tmp_path / "charts.jsonl").write_text(chart.line() + "\n")
    source = source_for(tmp_path / "charts.jsonl").model_copy(update={"split_field": "split"})
    prepare([source], tmp_path / "other", run.config.prepare)
    assert '"split":"train"' in (tmp_path / "other/records.jsonl").read_text(), "any run takes them as training charts"


def test_a_chart_that_a_model_writes_is_read_and_judged(tmp_path: Path) -> None:
    """Written by a model whose weights were set by hand to write just this, read by the demo's teacher."""
    run = made(tmp_path)
    options = run.config.synthesize
    assert options is not None
    work, rng = _Work(run, options), random.Random(1)
    tokenizer = load_tokenizer(ROOT / "src/chartdistill/demo/models/teacher")
    while True:  # until no token comes twice, since each hangs on the one before alone
        old, new = drug_name(rng, "train"), drug_name(rng, "train")
        text = f"Discontinue {old} and try {new} instead."
        ids = tokenizer.encode(text, add_special_tokens=False)
        before = work._writer.tail_ids[-1]
        if len({before, *ids}) == len(ids) + 1 and old != new:
            break
    end = tokenizer.eos_token_id
    writer = save_chain(tmp_path / "writer", tokenizer, dict(pairwise([before, *ids, end])), end)
    drugs = (Item(text=old, status="stop"), Item(text=new, status="start"))
    plans = [
        Plan(number=number, style="s", specialty="s", num_words=6, findings={"medication": items}, lines=("x",))
        for number, items in enumerate((drugs, drugs[:1], (drugs[0], Item(text=new, status="hold"))))
    ]
    with TransformersEngine(dtype="float32").open(writer) as generator:
        told: list[int] = []
        written = work._written(generator, plans, told.append)
    assert told[-1] == 3, "progress is shown while they are written"
    assert [one.text for one in written] == [text] * 3 and not any(one.reasons for one in written)
    with run.open_teacher() as generator:
        read = [one.reasons for one in work._read(generator, written)]
    assert read == [(), ("not_planned",), ("plan_not_read", "not_planned")]


def test_a_chart_that_was_kept_is_held_against_the_charts_that_the_run_has_now(tmp_path: Path) -> None:
    """A record that came later, of any split, may be what the teacher wrote down."""
    run = made(tmp_path, count=2)
    assert run.config.synthesize is not None
    work, rng = _Work(run, run.config.synthesize), random.Random(2)
    texts = [" ".join(f"word{rng.randrange(10**6)}" for _ in range(60)) for _ in work.plans]
    kept = [
        Attempt(key=work.key(plan), plan=plan, seed=0, text=text) for plan, text in zip(work.plans, texts, strict=True)
    ]
    path, records = run.dir / "synthetic/attempts.jsonl", run.dir / "records/records.jsonl"
    with RowWriter(path) as out:
        out.write(*kept)
    assert work.attempts(path, records, silent) == kept, "nothing has changed"
    first = next(iter(read_rows(records, Record)))
    with RowWriter(records, append=True) as out:
        out.write(first.model_copy(update={"id": "later", "text": texts[1], "split": "test"}))
    again = work.attempts(path, records, silent)
    assert [one.reasons for one in again] == [(), ("copied", "near_duplicate")]
    assert list(read_rows(path, Attempt)) == again


def test_a_run_that_asks_for_none_gets_none(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.config = run.config.model_copy(update={"synthesize": None})
    assert synthesize(run, silent) is None and not (run.dir / "synthetic").exists()


def test_other_examples_and_names_are_another_reading(tmp_path: Path) -> None:
    run = made(tmp_path)
    assert run.config.synthesize is not None

    def key(**changes: Any) -> str:
        tasks = [task.model_copy(update=changes) for task in run.tasks]
        work = _Work(Run(run.config, run.base, tasks), run.config.synthesize)  # type: ignore[arg-type]
        return work.key(work.plans[0])

    examples = [
        (WorkedExample(chart=f"Takes {name} daily.", answer=f"{name} | continue"),) for name in ("Velorim", "Dorvane")
    ]
    names = Vocabulary(entries=(VocabularyEntry(name="Velorim", kind="drug"),), digest="of Velorim")
    keys = [key(), *(key(examples=one) for one in examples), key(vocabulary=names)]
    assert keys[0] == key() and len(set(keys)) == 4
