"""The grammar of the command line: verbs and options, each with a sentence and an example; what to say of a slip."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from chartdistill import __version__
from chartdistill.errors import NoGoError
from chartdistill.runtime.option_values import port, positive, share
from chartdistill.serving import arguments as serving

STAGES = {
    "prepare": "read and clean the charts, find near-duplicates, split",
    "label": "let the teacher answer every task for every record",
    "curate": "keep good labels, reject the others with a reason",
    "train": "tune the student's adapter on the kept labels",
    "evaluate": "compare teacher, base and student on held-out records",
    "report": "write report.json, report.md and report.html",
}
NO_GO = NoGoError.exit_code
EXIT_CODES = {
    0: "done",
    1: "an error without a code of its own",
    2: "wrong usage, or a config or task file is wrong",
    3: "charts, labels or gold cannot be used",
    4: "a model is missing or unfit",
    5: "a folder or file cannot be written, is in use, lacks an earlier stage, or still holds what was to be erased",
    6: "an engine did not start, died, or failed too often",
    7: "training cannot start or had to stop",
    8: "a connection to another machine was refused",
    NO_GO: "no-go (doctor, run --doctor, init)",
    10: "all is written, but a trust gate is not passed (run, report)",
    11: "not exported: it would answer otherwise than the student (export)",
    130: "interrupted (Ctrl-C)",
    141: "whoever read its output has gone (a closed pipe)",
    143: "told to end (SIGTERM)",
}

_SCORED = """\
GOLD.jsonl, one record a line ([]: there is none; no task: no gold):
  {"id": "c1", "gold": {"medication": [{"text": "aspirin", "status": "stop"}], "tests": []}, "text": "..."}
PREDICTIONS.jsonl, an answer or a record a line:
  {"record": "c1", "task": "medication", "completion": "aspirin | stop"}
  {"record": "c1", "task": "medication", "items": [{"text": "aspirin", "status": "stop"}]}
  {"id": "c1", "tasks": {"medication": {"items": []}, "tests": {"items": null, "failure": "bad_format"}}}
More of it: docs/evaluation.md, "Scoring files"."""


class _Parser(argparse.ArgumentParser):
    """Says of a slip what was probably meant."""

    verbs: Sequence[str] = ()

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; of an unknown option the nearest one is named, also of one before any verb."""
        first = next(iter(sys.argv[1:] if args is None else args), "")
        known = list(self._option_string_actions)
        if self.verbs and first.startswith("-") and not any(one.startswith(first) for one in known):
            self.error(f"unknown: {first}{_meant(first, known)}")
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            verb = self._subparser(getattr(found, "command", None))
            verb.error(f"unknown: {' '.join(rest)}{_meant(rest[0], list(verb._option_string_actions))}")
        return found

    def _subparser(self, name: str | None) -> argparse.ArgumentParser:
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and name in action.choices:
                verb: argparse.ArgumentParser = action.choices[name]
                return verb
        return self

    def error(self, message: str) -> NoReturn:
        """One line of what is wrong, one of where to look; exit code 2."""
        if message.startswith("argument COMMAND: invalid choice: "):
            name = message.split("'")[1]
            message = f"there is no verb {name!r}{_meant(name, self.verbs)}\nVerbs: {', '.join(self.verbs)}"
        elif message.endswith("required: COMMAND"):
            message = f"name a verb, for example: {self.prog} run configs/demo.yaml\nVerbs: {', '.join(self.verbs)}"
        self.exit(2, f"{self.prog}: {message}\nHelp: {self.prog} --help\n")


def _meant(typed: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(typed.partition("=")[0], known, n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else ""


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = _Parser(
        prog="chartdistill",
        description="Distil a large open model's reading of patient charts into a small local model, offline.",
        epilog="exit codes:\n" + "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
        + "\n\nexample: chartdistill run configs/demo.yaml\nof one verb: chartdistill VERB --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="verbs", parser_class=_Parser
    )
    _add_init(commands)
    _add_run(commands)
    for name, text in STAGES.items():
        _add_stage(commands, name, text)
    _add_predict(commands)
    _add_serve(commands)
    _add_doctor(commands)
    _add_audit(commands)
    _add_score(commands)
    _add_import(commands)
    _add_rounds(commands)
    _add_study(commands)
    _add_review(commands)
    _add_export(commands)
    _add_erase(commands)
    shell = _verb(
        commands, "completion", "print a script that completes verbs and options in your shell",
        'eval "$(chartdistill completion bash)"',
    )  # fmt: skip
    shell.add_argument("shell", choices=("bash", "zsh"), help="put the line of the example into ~/.bashrc or ~/.zshrc")
    parser.verbs = list(commands.choices)
    return parser


def _verb(commands: Any, name: str, text: str, example: str, more: str = "") -> argparse.ArgumentParser:
    """One verb: `text` is its sentence, `example` a command that works."""
    verb: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example: {example}" + (f"\n\n{more}" if more else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("-v", "--verbose", action="store_true", help="times of day, and what the libraries say")
    return verb


def _of_a_config(verb: argparse.ArgumentParser, quiet: str = "no summary at the end") -> None:
    verb.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file, see configs/")
    verb.add_argument("--records", type=Path, metavar="PATH", help="charts to use instead of the config's")
    verb.add_argument("--run-dir", type=Path, metavar="DIR", help="where to write instead of the config's run_dir")
    verb.add_argument("--quiet", action="store_true", help=quiet)


def _writes(verb: argparse.ArgumentParser, what: str, required: bool = False) -> None:
    verb.add_argument("--out", type=Path, required=required, metavar="FILE", help=what)
    verb.add_argument("--overwrite", action="store_true", help="replace FILE if it is there, once the new one is whole")


def _add_init(commands: Any) -> None:
    verb = _verb(
        commands, "init", "make a config of your own from five answers, asked on a terminal or given as options",
        "chartdistill init mine --records charts/ --hardware auto --tasks medication --gold none --report-text no",
    )  # fmt: skip
    verb.add_argument("folder", type=Path, metavar="FOLDER", help="new: gets config.yaml and tasks/")
    verb.add_argument(
        "--records", metavar="PATH", help="charts: a folder, 'folder/*.note', .jsonl, .csv, .tsv, .parquet"
    )
    verb.add_argument(
        "--hardware", metavar="NAME", help="auto (this machine), cpu, gpu-24gb, gpu-80gb, node-8gpu, l40s:2"
    )
    verb.add_argument("--tasks", metavar="NAMES", help="findings, with commas between: files of configs/tasks/")
    verb.add_argument("--gold", metavar="FILE", help="right answers of a person, see docs/existing-labels.md; or: none")
    verb.add_argument("--report-text", metavar="yes|no", help="whether the report may hold text of the charts")
    verb.add_argument("--overwrite", action="store_true", help="replace config and tasks that are there")


def _add_run(commands: Any) -> None:
    verb = _verb(
        commands, "run", "run all verbs of a config, skipping what is done",
        "chartdistill run configs/cpu-smollm2.yaml --records charts/ --run-dir runs/mine",
    )  # fmt: skip
    _of_a_config(verb)
    verb.add_argument("--from", dest="first", choices=STAGES, default="prepare", help="start here")
    verb.add_argument("--until", dest="last", choices=STAGES, default="report", help="stop after this")
    verb.add_argument("--doctor", action="store_true", help="first see whether it will run here; else begin nothing")
    verb.add_argument("--dry-run", action="store_true", help="print what would be done, with time and memory, and stop")
    verb.add_argument(
        "--json", action="store_true", help="events on standard output, one JSON object a line; of --dry-run the plan"
    )


def _add_stage(commands: Any, name: str, text: str) -> None:
    verb = _verb(commands, name, text, f"chartdistill {name} configs/demo.yaml --run-dir runs/mine")
    _of_a_config(verb)
    if name == "label":
        verb.add_argument(
            "--shard",
            metavar="I/N",
            help="only shard I (from 0) of N, for N machines with one shared run folder; `label` without it then "
            "takes all shards over and asks for what is missing",
        )
    if name == "evaluate":
        verb.add_argument("--shard", help=argparse.SUPPRESS)  # for the processes that `evaluate` starts
    if name == "curate":
        verb.add_argument(
            "--readmit",
            action="append",
            default=[],
            metavar="REASON_OR_ID",
            help="keep what was rejected for this reason code, or this record (`id` or `id:task`); repeatable, "
            "remembered for later runs; `nothing` forgets",
        )


def _add_predict(commands: Any) -> None:
    verb = _verb(
        commands, "predict", "answer the tasks for new charts with a trained adapter",
        "chartdistill predict configs/demo.yaml --run-dir runs/mine --records new_charts/ --out answers.jsonl",
        "one chart: chartdistill predict - --run-dir runs/mine < chart.txt\n"
        "(`-` for CONFIG: as the student was trained; with a config: --records -)",
    )  # fmt: skip
    _of_a_config(verb)
    verb.add_argument(
        "--format", choices=("jsonl", "fhir", "csv", "label-studio", "brat"),
        help="jsonl (the default), or what others read: docs/outputs.md; brat is a folder",
    )  # fmt: skip
    verb.add_argument("--json", action="store_true", help="of one chart on standard input: as JSON")
    _writes(verb, "what to write; a killed call is taken up by the same command")
    verb.add_argument("--filters", action="store_true", help="put the config's filters on the answers")
    verb.add_argument("--min-confidence", type=share, metavar="P", help="keep what is this likely right, 0 to 1")
    verb.add_argument("--review-file", type=Path, metavar="FILE", help="JSONL to write: the others, and what failed")


def _add_serve(commands: Any) -> None:
    text = "answer charts over HTTP with a trained student, beside chat completions"
    serving.add_arguments(_verb(commands, "serve", text, "chartdistill serve runs/mine"))


def _add_doctor(commands: Any) -> None:
    verb = _verb(
        commands, "doctor", "say whether a config will run on this machine: go or no-go",
        "chartdistill doctor configs/gpu-80gb.yaml --cards h100:8",
    )  # fmt: skip
    _of_a_config(verb, quiet="only what is amiss, and the verdict")
    verb.add_argument("--json", action="store_true", help="everything as JSON")
    verb.add_argument("--cards", metavar="NAME[:COUNT]", help="plan for these cards (h100:8), not for this machine's")
    verb.add_argument("--hashes", action="store_true", help="compare the weights with the hashes of their download")


def _add_audit(commands: Any) -> None:
    verb = _verb(
        commands, "audit", "judge a file made for fine-tuning a model behind an API; no model, no config",
        "chartdistill audit train.jsonl --out verdicts.jsonl",
    )  # fmt: skip
    verb.add_argument("file", type=Path, metavar="FILE.jsonl", help="lines with prompt and completion, or messages")
    verb.add_argument("--json", action="store_true", help="one verdict per line on standard output, with the items")
    _writes(verb, "JSONL to write: verdicts with every finding")
    verb.add_argument("--vocabulary", type=Path, metavar="FILE", help="names of your house, see docs/vocabulary.md")


def _add_score(commands: Any) -> None:
    verb = _verb(
        commands, "score", "every metric from two JSONL files, answers and gold; no engine",
        "chartdistill score answers.jsonl gold.jsonl --out figures.json", _SCORED,
    )  # fmt: skip
    verb.add_argument("predictions", type=Path, metavar="PREDICTIONS.jsonl", help="answers of one or more arms")
    verb.add_argument(
        "gold",
        type=Path,
        metavar="GOLD.jsonl",
        help="records with gold; a run's records.jsonl fits (other splits count as MISSING)",
    )
    verb.add_argument("--against", type=Path, nargs="+", default=[], metavar="FILE", help="more arms, for differences")
    verb.add_argument("--tasks", type=Path, nargs="+", metavar="TASK.yaml", help="task files; else found in the gold")
    verb.add_argument("--vocabulary", type=Path, metavar="FILE", help="names of your house, see docs/vocabulary.md")
    verb.add_argument("--same-as", type=Path, metavar="PAIRS.jsonl", help="names that a person judged to be the same")
    verb.add_argument(
        "--unmatched", type=Path, metavar="FILE.jsonl", help="write the pairs that nothing matched, to be judged"
    )
    _writes(verb, "JSON to write")


def _add_import(commands: Any) -> None:
    verb = _verb(
        commands, "import-model", "make a model folder of a GGUF file, as llama.cpp and Ollama use it",
        "chartdistill import-model SmolLM2.gguf models/SmolLM2",
    )  # fmt: skip
    verb.add_argument("file", type=Path, metavar="FILE.gguf", help="an instruct model; any quantisation")
    verb.add_argument("folder", type=Path, metavar="FOLDER", help="new; configs look in models/NAME")
    verb.add_argument("--licence", type=Path, metavar="FILE", help="text of the licence, to go along")
    verb.add_argument("--any-answers", action="store_true", help="take a model that answers simple questions wrongly")


def _add_rounds(commands: Any) -> None:
    verb = _verb(
        commands, "rounds", "let the student teach what was rejected, round after round, as long as it helps",
        "chartdistill rounds mine/config.yaml",
        "the config says how many at most, `rounds: 3`; of the shipped ones none does\n"
        "RUN_DIR/rounds/ holds a run folder for each round and rounds.md; see docs/training.md",
    )  # fmt: skip
    _of_a_config(verb)


def _add_study(commands: Any) -> None:
    verb = _verb(
        commands, "study", "make many runs and one report: who can teach the student, from how much",
        "chartdistill study configs/study-demo.yaml",
    )  # fmt: skip
    verb.add_argument("config", type=Path, metavar="STUDY.yaml", help="see configs/study-demo.yaml")


def _add_review(commands: Any) -> None:
    verb = _verb(
        commands, "review", "look at labels, read held-out charts, try the student: a page on this machine",
        "chartdistill review runs/mine --name Ada",
    )  # fmt: skip
    verb.add_argument("run", type=Path, metavar="RUN", help="a run folder in which `curate` has finished")
    verb.add_argument("--name", help="who reviews: stands beside every decision; asked for where it is left out")
    verb.add_argument("--port", type=port, default=0, metavar="N", help="of 127.0.0.1; else a free one")
    verb.add_argument("--teacher", action="store_true", help="the teacher answers in `Try it` too")
    does = verb.add_mutually_exclusive_group()
    does.add_argument("--export", type=Path, metavar="FILE", help="write all decisions as JSONL, and end")
    does.add_argument(
        "--import", dest="bring_in", type=Path, metavar="FILE", help="add the decisions of another machine, and end"
    )
    does.add_argument("--gold", type=Path, metavar="FILE", help="write the gold that two readers made, and end")
    verb.add_argument("--overwrite", action="store_true", help="replace FILE if it is there")


def _add_export(commands: Any) -> None:
    from chartdistill.export.options import GGUF_TYPES, PROMPTS, TARGETS, Limits

    verb = _verb(
        commands, "export", "take a run's student away, once it answers as it did in training",
        "chartdistill export runs/mine --to ollama --type q8_0 --out student", "More of it: docs/export.md.",
    )  # fmt: skip
    verb.add_argument("run_dir", type=Path, metavar="RUN", help="a run folder in which training is finished")
    verb.add_argument("--to", choices=TARGETS, required=True, help="what to make of it")
    verb.add_argument("--out", type=Path, metavar="FOLDER", help="new; left out: in RUN/exports/")
    verb.add_argument("--type", choices=GGUF_TYPES, default="f16", help="of the matrices in a GGUF file (f16)")
    verb.add_argument("--overwrite", action="store_true", help="replace an earlier export, once the new one is whole")
    verb.add_argument("--config", type=Path, metavar="CONFIG", help="instead of what training left in RUN")
    verb.add_argument(
        "--prompts",
        type=positive,
        default=PROMPTS,
        metavar="N",
        help=f"held-out prompts to compare ({PROMPTS}); none: --no-check",
    )
    verb.add_argument(
        "--max-differing", type=share, default=Limits.max_differing, metavar="SHARE",
        help=f"of answers with other tokens than the student's, beyond which nothing is exported "
        f"({Limits.max_differing})",
    )  # fmt: skip
    verb.add_argument(
        "--max-loss", type=share, default=Limits.max_loss, metavar="F1",
        help=f"of joint F1, beyond which nothing is exported ({Limits.max_loss})",
    )  # fmt: skip
    verb.add_argument("--no-check", action="store_true", help="compare nothing, and say so in the export")


def _add_erase(commands: Any) -> None:
    verb = _verb(
        commands, "erase", "take a patient out of run folders, and prove that nothing is left",
        "chartdistill erase runs/mine --record chart-17 --dry-run",
    )  # fmt: skip
    verb.add_argument("folders", type=Path, nargs="+", metavar="RUN", help="run folders, or folders of studies")
    verb.add_argument("--record", action="append", default=[], metavar="ID", help="of a record; repeatable")
    verb.add_argument(
        "--group", action="append", default=[], metavar="ID",
        help="all charts of a patient, as the sources' group_field or group_folder names them; repeatable",
    )  # fmt: skip
    verb.add_argument("--near-duplicates", action="store_true", help="the near-duplicates of these records too")
    verb.add_argument("--dry-run", action="store_true", help="say what would go, and stop")
    verb.add_argument("--yes", action="store_true", help="do not ask")


def completion(shell: str) -> str:
    """A script for bash, or for zsh by its bashcompinit, that completes verbs and options; files otherwise."""
    parser = build_parser()
    verbs = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices
    cases = "\n".join(
        f"    {name}) words='{' '.join(option for option in verb._option_string_actions if len(option) > 2)}' ;;"
        for name, verb in verbs.items()
    )
    before = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return f"""{before}_chartdistill() {{
  local words='{" ".join(verbs)} --help --version'
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  local current="${{COMP_WORDS[COMP_CWORD]}}"
  [ "$COMP_CWORD" -gt 1 ] && case "$current" in -*) ;; *) words='' ;; esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _chartdistill chartdistill"""
