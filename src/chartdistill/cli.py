"""The command line: `chartdistill run CONFIG`, each verb alone, `predict`, and `audit`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chartdistill import __version__
from chartdistill.errors import ChartDistillError
from chartdistill.runtime import privacy
from chartdistill.runtime.processes import end_with_launcher
from chartdistill.runtime.run_folder import private_umask

if TYPE_CHECKING:
    from chartdistill.config import Run

_VERBS = {
    "prepare": "read and clean the charts, find near-duplicates, split",
    "label": "let the teacher answer every task for every record",
    "curate": "keep good labels, reject the others with a reason",
    "train": "tune the student's adapter on the kept labels",
    "evaluate": "compare teacher, base and student on held-out records",
    "report": "write report.json, report.md and report.html",
}


NO_GO = 9
"""Exit code of `doctor` when the run cannot succeed here."""

_SCORED = """\
GOLD.jsonl, one record a line ([]: there is none; no task: no gold):
  {"id": "c1", "gold": {"medication": [{"text": "aspirin", "status": "stop"}], "tests": []}, "text": "..."}
PREDICTIONS.jsonl, an answer or a record a line:
  {"record": "c1", "task": "medication", "completion": "aspirin | stop"}
  {"record": "c1", "task": "medication", "items": [{"text": "aspirin", "status": "stop"}]}
  {"id": "c1", "tasks": {"medication": {"items": []}, "tests": {"items": null, "failure": "bad_format"}}}
More of it: docs/evaluation.md, "Scoring files"."""


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(
        prog="chartdistill",
        description="Distil a large open model's reading of patient charts into a small local model, offline.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    everything = commands.add_parser("run", help="run all verbs of a config, skipping what is done")
    everything.add_argument("--from", dest="first", choices=_VERBS, default="prepare", help="start here")
    everything.add_argument("--until", dest="last", choices=_VERBS, default="report", help="stop after this")
    for name, text in _VERBS.items():
        verb = commands.add_parser(name, help=text, description=text)
        _common(verb)
        if name == "label":
            verb.add_argument(
                "--shard",
                metavar="I/N",
                help="only shard I (from 0) of N, for N machines with one shared run folder; `label` without it then "
                "takes all shards over and asks for what is missing",
            )
        if name == "curate":
            verb.add_argument(
                "--readmit",
                action="append",
                default=[],
                metavar="REASON_OR_ID",
                help="keep what was rejected for this reason code, or this record (`id` or `id:task`); repeatable, "
                "remembered for later runs; `nothing` forgets",
            )
    _common(everything)
    everything.add_argument("--dry-run", action="store_true", help="print the resolved plan and stop")
    predict = commands.add_parser("predict", help="answer the tasks for new charts with a trained adapter")
    _common(predict)
    predict.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSONL to write")
    predict.add_argument("--filters", action="store_true", help="put the config's filters on the answers")
    doctor = commands.add_parser("doctor", help="will this config run on this machine? go or no-go")
    _common(doctor)
    doctor.add_argument("--json", action="store_true", help="everything as JSON")
    doctor.add_argument("--cards", metavar="NAME[:COUNT]", help="plan for these cards (h100:8), not for this machine's")
    doctor.add_argument("--hashes", action="store_true", help="compare the weights with the hashes of their download")
    audit = commands.add_parser("audit", help="judge an API version's fine-tuning file; no model, no config")
    audit.add_argument("file", type=Path, metavar="FILE.jsonl", help="lines with prompt and completion, or messages")
    audit.add_argument("--json", action="store_true", help="one verdict per line on standard output, with the items")
    audit.add_argument("--out", type=Path, metavar="FILE", help="JSONL to write: verdicts with every finding")
    audit.add_argument("--vocabulary", type=Path, metavar="FILE", help="names of your house, see docs/vocabulary.md")
    what = "every metric from two JSONL files, answers and gold; no engine"
    score = commands.add_parser(
        "score", help=what, description=what, epilog=_SCORED, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    score.add_argument("predictions", type=Path, metavar="PREDICTIONS.jsonl", help="answers of one or more arms")
    score.add_argument("gold", type=Path, metavar="GOLD.jsonl", help="records with gold; records.jsonl of a run fits")
    score.add_argument("--against", type=Path, nargs="+", default=[], metavar="FILE", help="more arms, for differences")
    score.add_argument("--tasks", type=Path, nargs="+", metavar="TASK.yaml", help="task files; else found in the gold")
    score.add_argument("--vocabulary", type=Path, metavar="FILE", help="names of your house, see docs/vocabulary.md")
    score.add_argument("--same-as", type=Path, metavar="PAIRS.jsonl", help="names that a person judged to be the same")
    score.add_argument(
        "--unmatched",
        type=Path,
        metavar="FILE.jsonl",
        help="write the pairs that nothing matched, for a person to judge",
    )
    score.add_argument("--out", type=Path, metavar="FILE", help="JSON to write")
    text = "make a model folder of a GGUF file, as llama.cpp and Ollama use it"
    gguf = commands.add_parser("import-model", help=text, description=text)
    gguf.add_argument("file", type=Path, metavar="FILE.gguf", help="an instruct model; any quantisation")
    gguf.add_argument("folder", type=Path, metavar="FOLDER", help="new; configs look in models/NAME")
    gguf.add_argument("--licence", type=Path, metavar="FILE", help="text of the licence, to go along")
    gguf.add_argument("--any-answers", action="store_true", help="take a model that answers simple questions wrongly")
    study = commands.add_parser("study", help="many runs, one report: who can teach the student, from how much?")
    study.add_argument("config", type=Path, metavar="STUDY.yaml", help="see configs/study-demo.yaml")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file, see configs/")
    parser.add_argument("--records", type=Path, metavar="PATH", help="charts to use instead of the config's")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="where to write instead of the config's run_dir")
    parser.add_argument("--quiet", action="store_true", help="no summary at the end")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 2 wrong usage or config, others by kind of error (see errors.py).

    10, trust gates not passed or changed after the answers, comes after all is done.
    """
    arguments = build_parser().parse_args(argv)
    end_with_launcher()
    private_umask()
    # As an exception, so that engines are shut down on the way out; otherwise theirs would outlive this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _dispatch(arguments)
    except ChartDistillError as error:
        print(f"chartdistill: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("chartdistill: interrupted; what was finished is kept, run the same command to go on.", file=sys.stderr)
        sys.exit(130)


def _dispatch(arguments: argparse.Namespace) -> None:
    # Before any library is imported: they read the offline variables once, at import.
    privacy.enforce()
    # CUDA counts cards by speed unless told; `doctor` and the checks between verbs count as nvidia-smi does.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    # What compiles kernels looks for tools of this environment (ninja) as if it were activated.
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    if arguments.command == "audit":
        from chartdistill.curation.audit import run_audit

        run_audit(arguments.file, arguments.out, arguments.json, arguments.vocabulary)
        return
    if arguments.command == "score":
        _score(arguments)
        return
    if arguments.command == "import-model":
        _import_model(arguments)
        return
    if arguments.command == "study":
        from chartdistill.study.study import study

        study(arguments.config)
        return
    from chartdistill.config import load_run

    run = load_run(arguments.config, arguments.records, arguments.run_dir)
    if run.config.privacy.allowed_hosts:
        privacy.enforce(run.config.privacy.allowed_hosts)
    # `datasets` and others cache in the home folder by default; charts stay in the run folder.
    os.environ["HF_DATASETS_CACHE"] = str((run.dir / "cache").resolve())
    if arguments.command == "doctor":
        from chartdistill.doctor import parse_cards
        from chartdistill.doctor.diagnosis import diagnose
        from chartdistill.doctor.page import show

        planned = parse_cards(arguments.cards) if arguments.cards else None
        found = diagnose(run, planned, arguments.hashes)
        print(found.as_json() if arguments.json else show(found, arguments.config, arguments.quiet))
        sys.exit(0 if found.go else NO_GO)
    if arguments.command == "predict":
        from chartdistill.evaluation.predict import predict

        count = predict(run, arguments.records, arguments.out, arguments.filters)
        print(f"{count} records answered in {arguments.out}", file=sys.stderr)
        return
    if getattr(arguments, "dry_run", False):
        from chartdistill.reporting.terminal import plan

        print(json.dumps(plan(run), indent=2, default=str))
        return
    from chartdistill.pipeline import run_all, run_verb
    from chartdistill.reporting.terminal import print_summary

    if arguments.command == "run":
        run_all(run, _own_arguments(arguments), arguments.first, arguments.last)
    elif arguments.command == "curate" and arguments.readmit:
        _curate_again(run, arguments.readmit)
    elif arguments.command == "label" and arguments.shard is not None:
        _label_shard(run, arguments.shard)
        return
    else:
        run_verb(run, arguments.command)
    reported = arguments.command == "report" or (arguments.command == "run" and arguments.last == "report")
    if not arguments.quiet:
        print_summary(run, with_report=reported)
    if reported:
        from chartdistill.reporting.report import require_approval
        from chartdistill.runtime.run_folder import read_manifest

        require_approval(read_manifest(run.dir / "report") or {})


def _import_model(arguments: argparse.Namespace) -> None:
    from chartdistill.runtime.gguf_model import import_gguf

    def say(line: str) -> None:
        print(f"import-model: {line}", file=sys.stderr)

    import_gguf(arguments.file, arguments.folder, arguments.licence, arguments.any_answers, say)


def _score(arguments: argparse.Namespace) -> None:
    from chartdistill.config import load_task
    from chartdistill.evaluation.score import score_files
    from chartdistill.evaluation.score_summary import write_summary
    from chartdistill.runtime.run_folder import write_text

    tasks = None if arguments.tasks is None else [load_task(path) for path in arguments.tasks]
    figures = score_files(
        [arguments.predictions, *arguments.against],
        arguments.gold,
        tasks=tasks,
        vocabulary=arguments.vocabulary,
        judged=arguments.same_as,
        unmatched=arguments.unmatched,
    )
    if arguments.out is not None:
        write_text(arguments.out, json.dumps(figures, indent=1) + "\n")
    print(write_summary(figures))
    if arguments.unmatched is not None:
        number = len(arguments.unmatched.read_text(encoding="utf-8").splitlines())
        what = "for `same` write true or false, and give the file back with --same-as" if number else "nothing to judge"
        print(f"{number} unmatched pairs in {arguments.unmatched}: {what}.")


def _label_shard(run: Run, shard: str) -> None:
    """The verb `label` for one shard, `I/N`."""
    from chartdistill.labelling import Shard
    from chartdistill.pipeline import run_shard

    one = Shard.parse(shard)
    counts = run_shard(run, one)
    if counts is None:
        print(f"shard {one}: {run.dir / 'labels'} is complete, nothing to do", file=sys.stderr)
        return
    shown = ", ".join(f"{value} {name}" for name, value in counts.items())
    print(
        f"shard {one}: {shown} in {run.dir / 'labels' / one.file_name}. When all {one.count} are done, run `label` "
        "without --shard.",
        file=sys.stderr,
    )


def _curate_again(run: Run, readmit: Sequence[str]) -> None:
    """The verb `curate`, with what a person re-admits."""
    from chartdistill.curation.curate import curate
    from chartdistill.runtime.progress import StageBar
    from chartdistill.runtime.run_folder import lock

    with lock(run.dir), StageBar("curate", unit="records") as bar:
        curate(run.dir, run.tasks, run.config.filters, bar, readmit)


def _own_arguments(arguments: argparse.Namespace) -> list[str]:
    """The arguments that name this run again, for a child process."""
    own = [str(arguments.config)]
    if arguments.records is not None:
        own += ["--records", str(arguments.records)]
    if arguments.run_dir is not None:
        own += ["--run-dir", str(arguments.run_dir)]
    return own
