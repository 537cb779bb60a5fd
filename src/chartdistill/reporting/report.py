"""The last verb: what a run shows, what it does not, whether the student may be used, and ten records to look at.

In: the finished stages of one run folder; only `prepare` must have finished. Out: report/report.json (figures),
report.md (the same, readable), report.html (the same with plots and examples; the only one that may hold record text),
and beside the adapter its model card and, in its manifest, whether the trust gates approve it. What must hold: every
figure is the one `evaluate` wrote, with its n; what is missing is said to be missing; no record text and no item text
is written anywhere unless all records are synthetic or the config asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chartdistill import __version__
from chartdistill.config import Run
from chartdistill.demo.embedded import is_embedded
from chartdistill.errors import ModelError, TrustGateError
from chartdistill.evaluation import (
    APPROVAL,
    NOT_JUDGED,
    REGISTRATIONS,
    Judgement,
    TrustGate,
    approval,
    compare_timing,
    judge_gates,
    read_registrations,
)
from chartdistill.metrics.catalogue import CATALOGUE, ROBUSTNESS_METRICS
from chartdistill.reporting.findings import Findings, state_findings
from chartdistill.reporting.markdown import render_markdown
from chartdistill.reporting.model_card import CARD, render_card
from chartdistill.reporting.page import render_page
from chartdistill.reporting.run_facts import Models
from chartdistill.reporting.run_results import (
    STAGES,
    RunResults,
    input_files,
    read_results,
    stage_manifest,
    training_summary,
)
from chartdistill.run_config import Role
from chartdistill.runtime.model_folder import licence
from chartdistill.runtime.run_folder import (
    amend_manifest,
    begin,
    fingerprint,
    is_done,
    require_manifest,
    unfinish,
    write_manifest,
    write_text,
)
from chartdistill.schema import Task


def report_run(run: Run) -> dict[str, Any]:
    """Write the report of a config's run and return its manifest."""
    config = run.config
    try:
        named = licence(run.model_folder("student"))
    except ModelError:  # the report needs no model; only its licence is then not known
        named = None
    teacher, student = _name(run, "teacher"), _name(run, "student")
    models = Models(teacher, config.teacher.revision, student, config.student.revision, named)
    return report(run.dir, run.tasks, config.name, config.gates, config.report.include_text, models)


def _name(run: Run, role: Role) -> str:
    """What a model is called where the machine's folders are not known: `teacher` would say nothing of an embedded
    model."""
    name = run.public_name(role)
    try:
        embedded = (role != "teacher" or run.teacher_labels is None) and is_embedded(run.model_folder(role))
    except ModelError:
        return name
    return f"chartdistill-demo-{name}" if embedded else name


def report(
    run_dir: Path,
    tasks: Sequence[Task],
    title: str,
    gates: Sequence[TrustGate] = (),
    include_text: bool | None = None,
    models: Models | None = None,
) -> dict[str, Any]:
    """Write the report of a run and return its manifest, whose `verdict` is the one sentence to read aloud.

    Nothing is done when the report was made from the same inputs. `include_text`: whether report.html shows record
    text and items; None: only when all records are synthetic.

    Raises:
        ArtefactError: `prepare` has not finished, or the folder cannot be written.
        InputError: a stage's file is not what the stage writes.
    """
    require_manifest(run_dir / "records", "prepare")
    folder, adapter = run_dir / "report", run_dir / "adapter"
    registrations = run_dir / REGISTRATIONS
    files = [*input_files(run_dir), *([registrations] if registrations.exists() else [])]
    inputs = [part for path in files for part in (str(path.relative_to(run_dir)), path)]
    mark = fingerprint(
        title, [task.model_dump() for task in tasks], __version__, [gate.model_dump() for gate in gates], include_text,
        models, [stage_manifest(run_dir / stage) for stage in STAGES], *inputs,
    )  # fmt: skip
    if is_done(folder, mark):
        return require_manifest(folder, "report")
    started = begin(folder)
    results = read_results(run_dir, tasks, title)
    findings = state_findings(results)
    timing = compare_timing(read_registrations(run_dir), gates, results.scored_records.values())
    judgement = Judgement(judge_gates(gates, results.scores), timing, results.scored_on_synthetic)
    shows_text = 0 < results.num_records == results.num_synthetic if include_text is None else include_text
    pages = {
        "report.json": _as_json(build_figures(results, findings, judgement)),
        "report.md": render_markdown(results, findings, judgement),
        "report.html": render_page(results, findings, judgement, shows_text, models, include_text),
    }
    unfinish(folder)
    for name, text in pages.items():
        write_text(folder / name, text)
    if "adapter" in results.manifests:
        write_text(adapter / CARD, render_card(results, findings, judgement, models, adapter))
        amend_manifest(adapter, APPROVAL, approval(judgement, gates, evaluation_mark(run_dir)))
    return write_manifest(
        folder, mark, started,
        verdict=findings.verdict, claims=len(findings.claims), limits=len(findings.limits), shows_text=shows_text,
        trust_gates=judgement.as_json(),
    )  # fmt: skip


def evaluation_mark(run_dir: Path) -> str | None:
    """What the scores of a run are known by; None when there are none."""
    manifest = stage_manifest(run_dir / "predictions")
    return None if manifest is None else manifest["fingerprint"]


def require_approval(manifest: Mapping[str, Any]) -> None:
    """Stop with an exit code of its own when the report's manifest says that a trust gate was not passed, or was set
    after the answers existed.

    Raises:
        TrustGateError: names each such gate, and what was changed, in a sentence.
    """
    judged = manifest.get("trust_gates") or {}
    verdicts, late = judged.get("verdicts", []), judged.get("warnings", []) if judged.get("withheld") else []
    missed = [verdict["sentence"] for verdict in verdicts if verdict["state"] != "passed"]
    if missed or late:
        lines = "\n".join(f"  - {sentence}" for sentence in (*missed, *late))
        what = f"{len(missed)} of {len(verdicts)} trust gates not passed" if missed else "approval withheld"
        advice = (
            " Better labels, more records or another student may pass; the limits stand under `gates:` in the config."
        )
        if late:  # then no better student helps: each line says what does
            advice = ""
        raise TrustGateError(
            f"{what}:\n{lines}\nEverything is written, and the adapter is marked not-approved.{advice}"
        )


def build_figures(results: RunResults, findings: Findings, judgement: Judgement = NOT_JUDGED) -> dict[str, Any]:
    """The content of report.json. A stage that has not finished is null."""
    written = {} if results.scores is None else results.scores.model_dump(mode="json")
    costs = written.get("costs", {})
    return {
        "title": results.title,
        "verdict": findings.verdict,
        "trust_gates": judgement.as_json(),
        "gold": written.get("gold"),
        "arms": {arm: {**figures, "cost": costs[arm]} for arm, figures in written.get("arms", {}).items()},
        "differences": written.get("differences", {}),
        **{
            name: written.get(name)
            for name in ("p_values", "gates", "overlap", "interventions", "matching", "confidence")
        },
        "label_quality": written.get("labels"),
        "records": results.counts("records"),
        "labels": results.counts("labels"),
        "curated": results.counts("curated"),
        "training": training_summary(results),
        "claims": list(findings.claims),
        "limits": list(findings.limits),
        "metrics": {metric.name: metric.meaning for metric in (*CATALOGUE, *ROBUSTNESS_METRICS)},
    }


def _as_json(value: object) -> str:
    """JSON text that refuses NaN and infinity: they are not figures."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
