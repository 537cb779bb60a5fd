"""The command line: what each verb of `command_line` calls, and what is said of errors.

Nearly all is imported in functions: a verb waits for no library that it does without, and Ctrl-C is answered with a
sentence while they are imported, too.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chartdistill.errors import ArtefactError, ChartDistillError
from chartdistill.runtime import quiet

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_INTERRUPTED = 130
_TOLD_TO_END = 143


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Exit codes: `command_line.EXIT_CODES`."""
    sys.unraisablehook = _end_again
    try:
        code = _run(argv)
    except KeyboardInterrupt:
        # From here to the end of this process it has been answered; pressed again, it would be a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("chartdistill: interrupted; what was finished is kept, run the same command to go on.", file=sys.stderr)
        code = _INTERRUPTED
    if code:
        sys.exit(code)


def _end_again(lost: UnraisableHookArgs) -> None:
    """Ctrl-C or SIGTERM that Python dropped, because it came in a callback or a `__del__` (an import has many), comes
    again a moment later."""
    ended = isinstance(lost.exc_value, SystemExit) and lost.exc_value.code == _TOLD_TO_END
    if lost.exc_type is not KeyboardInterrupt and not ended:
        sys.__unraisablehook__(lost)
        return
    again = threading.Timer(0.05, interrupt_main, (signal.SIGTERM if ended else signal.SIGINT,))
    again.daemon = True
    again.start()


def _run(argv: Sequence[str] | None) -> int:
    from chartdistill.command_line import build_parser
    from chartdistill.runtime.processes import end_with_launcher
    from chartdistill.runtime.run_folder import private_umask
    from chartdistill.runtime.start import prepare_process

    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A sign that this terminal has none for, or a path that is no UTF-8, is written as its escape, as in errors.
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = build_parser().parse_args(argv)
    prepare_process(arguments.verbose)
    end_with_launcher()
    private_umask()
    # As an exception, so that engines are shut down on the way out; otherwise theirs would outlive this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TOLD_TO_END))
    try:
        code = _call(arguments)
        sys.stdout.flush()  # at Python's own end nobody would say why it cannot be written
        return code
    except ChartDistillError as error:
        return _failed(error, error.exit_code)
    except BrokenPipeError:  # who read our output has gone
        _print_no_more()
        return 141
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # of an open file
            _print_no_more()
            said = f"the disk is full where this command writes ({error.strerror}). Free space and run it again."
            return _failed(said, ArtefactError.exit_code)
        if error.filename is None or quiet.is_verbose():
            raise
        # Of a file or folder that no verb expected to be so.
        said = f"{error.filename}: {error.strerror}. Check the path, and its permissions."
        return _failed(said, ArtefactError.exit_code)


def _print_no_more() -> None:
    """What is still to be written to standard output goes nowhere: there it would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(said: object, exit_code: int) -> int:
    from chartdistill.runtime import progress
    from chartdistill.runtime.processes import say_exit_code

    progress.announce("error", message=str(said), exit_code=exit_code)
    print(f"chartdistill: {said}", file=sys.stderr)
    say_exit_code(exit_code)
    return exit_code


def _call(arguments: argparse.Namespace) -> int:
    """Call the verb; the exit code of one that ends well, or has one of its own."""
    from chartdistill.command_line import NO_GO, completion

    match arguments.command:
        case "completion":
            print(completion(arguments.shell))
        case "init":
            from chartdistill.new_config.init import init

            return 0 if init(arguments.folder, vars(arguments), arguments.overwrite) else NO_GO
        case "doctor":
            from chartdistill.commands.doctor import run_doctor

            return 0 if run_doctor(arguments) else NO_GO
        case "import-model":
            from chartdistill.runtime.gguf_model import import_gguf

            import_gguf(arguments.file, arguments.folder, arguments.licence, arguments.any_answers, _say_of_import)
        case "audit":
            from chartdistill.curation.audit import run_audit

            run_audit(arguments.file, arguments.out, arguments.json, arguments.vocabulary, arguments.overwrite)
        case "review":
            from chartdistill.review.command import run_review

            run_review(arguments)
        case "predict":
            from chartdistill.commands.predict import run_predict

            run_predict(arguments)
        case "serve":
            from chartdistill.serving.serve import serve

            return serve(arguments)
        case "score":
            from chartdistill.commands.score import run_score

            run_score(arguments)
        case "export":
            from chartdistill.export.export import run_export

            run_export(arguments)
        case "erase":
            from chartdistill.commands.erase import run_erase

            run_erase(arguments)
        case "rounds":
            from chartdistill.commands.config_run import named_run
            from chartdistill.rounds.rounds import rounds

            rounds(named_run(arguments))
        case "study":
            from chartdistill.study.study import study

            study(arguments.config)
        case _:
            from chartdistill.commands.stages import run_stages

            run_stages(arguments)
    return 0


def _say_of_import(line: str) -> None:
    print(f"import-model: {line}", file=sys.stderr)
