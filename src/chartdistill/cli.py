"""The command line: what each verb of `command_line` calls, and what is said of errors."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from chartdistill.command_line import NO_GO, build_parser, completion
from chartdistill.errors import ArtefactError, ChartDistillError, ConfigError
from chartdistill.runtime import privacy, progress, quiet
from chartdistill.runtime.outputs import require_writable, whole_file
from chartdistill.runtime.processes import end_with_launcher
from chartdistill.runtime.run_folder import private_umask

if TYPE_CHECKING:
    from chartdistill.config import Run


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Exit codes: `command_line.EXIT_CODES`."""
    arguments = build_parser().parse_args(argv)
    quiet.quieten(arguments.verbose)
    end_with_launcher()
    private_umask()
    # As an exception, so that engines are shut down on the way out; otherwise theirs would outlive this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _dispatch(arguments)
    except ChartDistillError as error:
        _fail(error, error.exit_code)
    except BrokenPipeError:  # who read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.filename is None or quiet.is_verbose():
            raise
        # Of a file or folder that no verb expected to be so.
        _fail(f"{error.filename}: {error.strerror}. Check the path, and its permissions.", ArtefactError.exit_code)
    except KeyboardInterrupt:
        print("chartdistill: interrupted; what was finished is kept, run the same command to go on.", file=sys.stderr)
        sys.exit(130)


def _fail(said: object, exit_code: int) -> NoReturn:
    progress.announce("error", message=str(said), exit_code=exit_code)
    print(f"chartdistill: {said}", file=sys.stderr)
    sys.exit(exit_code)


def _dispatch(arguments: argparse.Namespace) -> None:
    # Before any library is imported: they read the offline variables once, at import.
    privacy.enforce()
    # CUDA counts cards by speed unless told; `doctor` and the checks between verbs count as nvidia-smi does.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    # What compiles kernels looks for tools of this environment (ninja) as if it were activated.
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    if arguments.command == "completion":
        print(completion(arguments.shell))
        return
    if arguments.command == "audit":
        from chartdistill.curation.audit import run_audit

        run_audit(arguments.file, arguments.out, arguments.json, arguments.vocabulary, arguments.overwrite)
        return
    if arguments.command == "init":
        from chartdistill.new_config.init import init

        sys.exit(0 if init(arguments.folder, vars(arguments), arguments.overwrite) else NO_GO)
    if arguments.command == "score":
        _score(arguments)
        return
    if arguments.command == "import-model":
        _import_model(arguments)
        return
    if arguments.command == "erase":
        from chartdistill.erasure.erase import confirm_on_terminal, erase

        confirm = (lambda question: True) if arguments.yes else confirm_on_terminal
        erase(
            arguments.folders, arguments.record, arguments.group, arguments.near_duplicates, arguments.dry_run, confirm
        )
        return
    if arguments.command == "study":
        from chartdistill.study.study import study

        study(arguments.config)
        return
    if arguments.command == "review":
        from chartdistill.review.command import run_review

        run_review(arguments)
        return
    if arguments.command == "serve":
        from chartdistill.serving.serve import serve

        sys.exit(serve(arguments))
    if arguments.command == "export":
        from chartdistill.export.export import run_export

        run_export(arguments)
        return
    from chartdistill.config import load_run

    run = _trained_run(arguments) or load_run(arguments.config, _records(arguments), arguments.run_dir)
    if run.config.privacy.allowed_hosts:
        privacy.enforce(run.config.privacy.allowed_hosts)
    # `datasets` and others cache in the home folder by default; charts stay in the run folder.
    os.environ["HF_DATASETS_CACHE"] = os.path.abspath(run.dir / "cache")
    if arguments.command == "doctor":
        from chartdistill.doctor import parse_cards
        from chartdistill.doctor.diagnosis import diagnose
        from chartdistill.doctor.page import show

        planned = parse_cards(arguments.cards) if arguments.cards else None
        found = diagnose(run, planned, arguments.hashes)
        print(found.as_json() if arguments.json else show(found, arguments.config, arguments.quiet))
        sys.exit(0 if found.go else NO_GO)
    if arguments.command == "predict":
        _predict(arguments, run)
        return
    if getattr(arguments, "dry_run", False):
        from chartdistill.reporting.terminal import plan

        if arguments.json:
            print(json.dumps(plan(run), indent=2, default=str))
        else:
            from chartdistill.doctor.plan import show_plan

            print(show_plan(run, plan(run), arguments.config, arguments.first, arguments.last))
        return
    from chartdistill.pipeline import run_all, run_verb
    from chartdistill.reporting.terminal import print_summary

    if arguments.command == "run":
        if arguments.json:
            progress.announce_events()
        run_all(run, arguments.first, arguments.last)
    elif arguments.command == "curate" and arguments.readmit:
        _curate_again(run, arguments.readmit)
    elif arguments.command == "label" and arguments.shard is not None:
        _label_shard(run, arguments.shard, arguments.quiet)
        return
    else:
        run_verb(run, arguments.command)
    reported = arguments.command == "report" or (arguments.command == "run" and arguments.last == "report")
    if not arguments.quiet and not progress.announces():
        print_summary(run, with_report=reported)
    if reported:
        from chartdistill.reporting.report import require_approval
        from chartdistill.runtime.run_folder import read_manifest

        made = read_manifest(run.dir / "report") or {}
        progress.announce("report", folder=str(run.dir / "report"), trust_gates=made.get("trust_gates"))
        require_approval(made)


def _records(arguments: argparse.Namespace) -> Path | None:
    """--records, but for the `-` of `predict`, which is no path."""
    return None if arguments.command == "predict" and str(arguments.records) == "-" else arguments.records


def _trained_run(arguments: argparse.Namespace) -> Run | None:
    """The run of a folder as its student was trained, where `predict -` names no config."""
    if arguments.command != "predict" or str(arguments.config) != "-":
        return None
    if arguments.run_dir is None:
        raise ConfigError("predict - needs --run-dir DIR: the folder of a run whose student is trained.")
    from chartdistill.run_file import read_run

    return read_run(arguments.run_dir)


def _predict(arguments: argparse.Namespace, run: Run) -> None:
    from chartdistill.evaluation.predict import Student, predict

    if "-" in (str(arguments.config), str(arguments.records)) and arguments.records in (None, Path("-")):
        from chartdistill.evaluation.one_chart import answer

        if arguments.min_confidence is not None or arguments.review_file is not None:
            raise ConfigError(
                "--min-confidence and --review-file divide the charts of --records PATH; of one chart on standard "
                "input the answer says how sure each item is. Leave them out, or give --records PATH."
            )
        if arguments.out is not None:
            require_writable("--out", arguments.out, arguments.overwrite, read=(run.dir,))
        form = arguments.format or ("jsonl" if arguments.json else None)
        if sys.stdin.isatty():
            print("paste a chart, then Ctrl-D on a line of its own", file=sys.stderr)
        data = sys.stdin.buffer.read()
        with Student(run, arguments.filters) as student:
            for line in student.warnings:
                print(f"chartdistill predict: warning: {line}", file=sys.stderr)
            if student.no_confidence:
                print(f"chartdistill predict: items have no confidence: {student.no_confidence}", file=sys.stderr)
            said = answer(student, data, run.tasks, form)
        if arguments.out is None:
            print(said, end="")
            return
        with whole_file(arguments.out) as stream:
            stream.write(said)
        return
    if arguments.out is None:
        raise ConfigError("predict needs --out FILE; one chart is read and answered with `--records -`.")
    with progress.StageBar("predict") as bar:
        count = predict(
            run, arguments.records, arguments.out, arguments.filters, arguments.overwrite, bar,
            arguments.min_confidence, arguments.review_file, arguments.format or "jsonl",
        )  # fmt: skip
    print(f"{count} records answered in {arguments.out}", file=sys.stderr)


def _import_model(arguments: argparse.Namespace) -> None:
    from chartdistill.runtime.gguf_model import import_gguf

    def say(line: str) -> None:
        print(f"import-model: {line}", file=sys.stderr)

    import_gguf(arguments.file, arguments.folder, arguments.licence, arguments.any_answers, say)


def _score(arguments: argparse.Namespace) -> None:
    from chartdistill.config import load_task
    from chartdistill.evaluation.score import score_files
    from chartdistill.evaluation.score_summary import write_summary

    read = (arguments.predictions, arguments.gold, *arguments.against, arguments.same_as, arguments.vocabulary)
    for option, path in (("--out", arguments.out), ("--unmatched", arguments.unmatched)):
        if path is not None:
            require_writable(option, path, arguments.overwrite, read=read)
    if None not in (arguments.out, arguments.unmatched) and arguments.out.resolve() == arguments.unmatched.resolve():
        raise ArtefactError(f"--out and --unmatched both name {arguments.out}; give one of them another file.")
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
        with whole_file(arguments.out) as stream:
            stream.write(json.dumps(figures, indent=1) + "\n")
    print(write_summary(figures))
    if arguments.unmatched is not None:
        number = len(arguments.unmatched.read_text(encoding="utf-8").splitlines())
        what = "for `same` write true or false, and give the file back with --same-as" if number else "nothing to judge"
        print(f"{number} unmatched pairs in {arguments.unmatched}: {what}.")


def _label_shard(run: Run, shard: str, quiet: bool) -> None:
    """The verb `label` for one shard, `I/N`."""
    from chartdistill.labelling import Shard
    from chartdistill.pipeline import run_shard

    one = Shard.parse(shard)
    counts = run_shard(run, one)
    if quiet:
        return
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
    from chartdistill.runtime.run_folder import lock

    with lock(run.dir), progress.StageBar("curate", unit="labels") as bar:
        curate(run.dir, run.tasks, run.config.filters, bar, readmit)
