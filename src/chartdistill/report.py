"""The last verb: what a run shows, what it does not, and ten records to look at.

In: the finished stages of one run folder; only `prepare` must have finished. Out: report/report.json (figures),
report.md (the same, readable) and report.html (the same with plots and examples; the only one with record text). What
must hold: every figure is the one `evaluate` wrote, with its n; what is missing is said to be missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chartdistill import __version__
from chartdistill.report_pages.claims import Findings, state_findings
from chartdistill.report_pages.facts import RunFacts, input_files, read_facts, training_summary
from chartdistill.report_pages.markdown import render_markdown
from chartdistill.report_pages.page import render_page
from chartdistill.report_pages.tables import CHANGED_METRICS, METRICS
from chartdistill.schema import Task
from chartdistill.store import begin, fingerprint, is_done, require_manifest, write_manifest, write_text


def report(run_dir: Path, tasks: Sequence[Task], title: str) -> dict[str, Any]:
    """Write the report of a run and return its manifest, whose `verdict` is the one sentence to read aloud.

    Nothing is done when the report was made from the same inputs.

    Raises:
        ArtefactError: `prepare` has not finished, or the folder cannot be written.
        InputError: a stage's file is not what the stage writes.
    """
    require_manifest(run_dir / "records", "prepare")
    folder = run_dir / "report"
    inputs = [part for path in input_files(run_dir) for part in (str(path.relative_to(run_dir)), path)]
    mark = fingerprint(title, [task.model_dump() for task in tasks], __version__, *inputs)
    if is_done(folder, mark):
        return require_manifest(folder, "report")
    started = begin(folder)
    facts = read_facts(run_dir, tasks, title)
    findings = state_findings(facts)
    write_text(folder / "report.json", _as_json(build_figures(facts, findings)))
    write_text(folder / "report.md", render_markdown(facts, findings))
    write_text(folder / "report.html", render_page(facts, findings))
    return write_manifest(
        folder, mark, started, verdict=findings.verdict, claims=len(findings.claims), limits=len(findings.limits)
    )


def build_figures(facts: RunFacts, findings: Findings) -> dict[str, Any]:
    """The content of report.json. A stage that has not finished is null."""
    scores = facts.scores
    arms: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    written: dict[str, Any] = {}
    if scores is not None:
        written = scores.model_dump(mode="json")
        arms = {arm: {**figures, "cost": scores.costs[arm]} for arm, figures in written["arms"].items()}
        differences = written["differences"]
    return {
        "title": facts.title,
        "verdict": findings.verdict,
        "gold": None if scores is None else scores.gold,
        "arms": arms,
        "differences": differences,
        **{name: written.get(name) for name in ("p_values", "gates", "overlap", "interventions", "matching")},
        "records": facts.counts("records"),
        "labels": facts.counts("labels"),
        "curated": facts.counts("curated"),
        "training": training_summary(facts),
        "claims": list(findings.claims),
        "limits": list(findings.limits),
        "metrics": {metric.name: metric.meaning for metric in (*METRICS, *CHANGED_METRICS)},
    }


def _as_json(value: object) -> str:
    """JSON text that refuses NaN and infinity: they are not figures."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
