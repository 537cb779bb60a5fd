"""report: figures as written, what lacks is said to lack, record text in the page alone and inert there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chartdistill.errors import ArtefactError, InputError
from chartdistill.evaluation.scores import Scores
from chartdistill.metrics import AGREEMENT, METRICS, difference, score_arm
from chartdistill.metrics.bootstrap import undefined
from chartdistill.metrics.catalogue import BY_NAME
from chartdistill.reporting.findings import state_findings
from chartdistill.reporting.report import report
from chartdistill.reporting.run_results import read_results
from chartdistill.reporting.tables import write_cell
from chartdistill.runtime.run_folder import write_text
from chartdistill.schema import Item, Prediction
from page_text import Page, read
from report_run import ARMS, NUM_RECORDS, TASKS, invent_scores, write_manifest, write_rows, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("run"))
    report(folder, TASKS, "Trial run", include_text=True)
    return folder


def test_json_holds_the_figures_as_written(run: Path) -> None:
    written = json.loads((run / "predictions" / "scores.json").read_text())
    figures = json.loads(read(run, "report.json"))
    assert figures["arms"] == written["arms"]
    assert figures["differences"] == written["differences"]
    assert figures["records"]["read"] == NUM_RECORDS + 4
    assert figures["curated"]["kept"] + figures["curated"]["rejected"] == figures["curated"]["read"]
    assert figures["training"]["last_step"] == 120
    assert figures["training"]["lowest_validation_step"] == 120
    assert figures["training"]["step_of_the_kept_adapter"] == 90
    assert "| step of the kept adapter | 90 |" in read(run, "report.md")


def test_every_figure_has_its_n(run: Path) -> None:
    figures = json.loads(read(run, "report.json"))
    cells = [
        cell
        for arm in figures["arms"].values()
        for task, found in arm.items()
        if task != "cost"
        for cell in found.values()
    ]
    assert len(cells) > 200
    assert all(isinstance(cell["n"], int) for cell in cells)
    page = read(run, "report.html")
    shown = re.findall(r"<td class=\"(?:good|bad|even|plain)\" data-column.*?</td>", page)
    assert len(shown) > 300
    assert all(re.search(r"<span>n \d+", cell) for cell in shown)
    rows = [line for line in read(run, "report.md").splitlines() if line.startswith("| Joint F1 (")]
    assert len(rows) == 5
    assert all(row.count(", n ") == 5 for row in rows)


def test_page_and_markdown_show_the_written_values(run: Path) -> None:
    found = json.loads(read(run, "report.json"))["arms"]["student"]["tests"]
    joint, confabulation = found["joint_f1"], found["confabulation_rate"]
    as_text = f"{joint['value']:.3f} ({joint['low']:.3f} to {joint['high']:.3f}, n {joint['n']}"
    assert as_text in read(run, "report.md")
    assert f"{100 * confabulation['value']:.1f}% ({100 * confabulation['low']:.1f} to" in read(run, "report.md")
    span = f"{joint['low']:.3f} to {joint['high']:.3f} · <span>n {joint['n']}"
    assert f"<b>{joint['value']:.3f}</b><small class='span'>{span}".replace("'", '"') in read(run, "report.html")


def test_undefined_value_is_named_and_never_a_number(run: Path) -> None:
    assert "not defined (n 0 (few), 2 unscored) (no record without prognosis)" in read(run, "report.md")
    assert "no record without prognosis" in Page(read(run, "report.html")).text
    cell = write_cell(undefined("nothing listed", unscored=0), BY_NAME["precision"])
    assert (cell.value, cell.note) == ("not defined", "(nothing listed)")
    assert not re.search(r"\d", cell.value + cell.interval)
    assert any(
        "abstention" in limit and "Not defined" in limit for limit in json.loads(read(run, "report.json"))["limits"]
    )


def test_verdict_and_claims_follow_the_intervals(run: Path) -> None:
    figures = json.loads(read(run, "report.json"))
    assert "better than the base student and not shown to differ from the teacher" in figures["verdict"]
    assert "24 held-out records" in figures["verdict"]
    values, gain, gap = figures["claims"][:3]
    assert values.startswith("All tasks, joint F1")
    assert values.count("95% interval") == values.count("n 212") == 3
    assert gain.startswith("All tasks, joint F1: distilled student is better than base student (+0.")
    assert gap.startswith("All tasks, joint F1: no difference shown between distilled student and teacher (")
    worst = figures["differences"]["student-teacher"]["all"]["joint_f1"]["low"]
    assert gap.endswith(
        f"n 212 in 24 clusters, 15 differ, corrected p 0.900); distilled student may be as much as {-worst:.3f} worse."
    )
    assert "better" not in " ".join(claim for claim in figures["claims"] if not claim.startswith("All tasks"))
    assert any(limit.startswith("This page makes 6 verdicts on differences") for limit in figures["limits"])


def test_a_difference_that_is_not_defined_is_none_that_stands_with_an_interval(run: Path, tmp_path: Path) -> None:
    write_run(tmp_path)
    scores = invent_scores(gold=True)
    nowhere = undefined("no records without gold items", unscored=0).model_dump()
    scores["differences"]["student-base"]["prognosis"]["abstention_specificity"] = nowhere
    write_text(tmp_path / "predictions" / "scores.json", json.dumps(scores))
    report(tmp_path, TASKS, "Undefined")
    said = (json.loads(read(folder, "report.json"))["limits"] for folder in (run, tmp_path))
    counts = [re.search(r"All other differences, (\d+) of headline metrics", " ".join(limits)) for limits in said]
    assert [found and int(found[1]) for found in counts] == [24, 23]


@pytest.mark.parametrize("changed", [(), ("curated",), ("labels", "curated")])
def test_scores_of_labels_that_were_made_again_are_said_to_be_older(tmp_path: Path, changed: tuple[str, ...]) -> None:
    write_run(tmp_path)
    stages = ("records", "labels", "curated", "adapter")
    write_manifest(tmp_path / "predictions", seconds=1.0, made_from={stage: stage for stage in stages})
    for stage in changed:
        manifest = json.loads((tmp_path / stage / "manifest.json").read_text())
        write_text(tmp_path / stage / "manifest.json", json.dumps(manifest | {"fingerprint": "another"}))
    results = read_results(tmp_path, TASKS, "Older")
    assert results.scores is not None, "of other labels the student's figures still hold"
    said = [limit for limit in state_findings(results).limits if limit.startswith("The scores are older")]
    folders = " and ".join(f"{stage}/" for stage in changed)
    assert [limit.partition(" now:")[0] for limit in said] == (
        [f"The scores are older than what is in {folders}"] if changed else []
    )


def test_the_first_sentence_does_not_say_what_holm_does_not_bear_out(tmp_path: Path) -> None:
    write_run(tmp_path)
    scores = invent_scores(gold=True)
    scores["p_values"]["student-base"]["all"]["joint_f1"] |= {"p": 0.03, "holm": 0.18}
    write_text(tmp_path / "predictions" / "scores.json", json.dumps(scores))
    report(tmp_path, TASKS, "Weak")
    figures = json.loads(read(tmp_path, "report.json"))
    assert figures["differences"]["student-base"]["all"]["joint_f1"]["low"] > 0
    assert "not shown to differ from the base student" in figures["verdict"]
    assert "better" not in figures["verdict"]
    assert any(limit.startswith("Small n, below 50") for limit in figures["limits"])


def test_without_gold_nothing_is_claimed_about_correctness(tmp_path: Path) -> None:
    report(write_run(tmp_path, gold=False), TASKS, "No gold")
    figures = json.loads(read(tmp_path, "report.json"))
    assert figures["verdict"].startswith("Whether the answers are right is not known")
    assert any(limit.startswith("Correctness cannot be claimed for any task") for limit in figures["limits"])
    claims = " ".join(figures["claims"])
    assert "found in the chart" in claims
    assert "joint F1 to the teacher" in claims
    assert "better" not in claims
    student = figures["arms"]["student"]["all"]["invented_rate"]
    expected = f"{100 * (1 - student['value']):.1f}% (95% interval {100 * (1 - student['high']):.1f} to"
    assert expected in claims
    page = Page(read(tmp_path, "report.html"))
    assert "no gold" in page.text
    assert "Invented" in page.text
    assert "Abstention" not in page.text


def test_tasks_with_and_without_gold_are_told_apart(tmp_path: Path) -> None:
    write_run(tmp_path)
    scores = invent_scores(gold=True)
    scores["gold"]["tests"] = False
    write_text(tmp_path / "predictions" / "scores.json", json.dumps(scores))
    report(tmp_path, TASKS, "Mixed")
    limits = json.loads(read(tmp_path, "report.json"))["limits"]
    assert any(limit.startswith("Correctness cannot be claimed for tests") for limit in limits)
    assert any("Pooled figures of correctness cover only" in limit for limit in limits)


def test_page_is_self_contained_and_inert(run: Path) -> None:
    source = read(run, "report.html")
    page = Page(source)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert not page.handlers
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert "default-src 'none'" in source
    assert not re.search(r"@import|url\(", source)
    assert "Contains record text; handle like the charts." in page.text


def test_hostile_record_is_shown_as_text(tmp_path: Path) -> None:
    write_run(tmp_path)
    answers = [
        Prediction(key="k", record="chart-000", task="medication", arm=arm, completion=f"{name} | start",
                   items=(Item(text=name, status="start"),))
        for arm, name in (("student", "Zzyzxol"), ("base", "<img src=x onerror=alert(1)>"))
    ]  # fmt: skip
    for answer in answers:
        write_rows(tmp_path / "predictions" / f"{answer.arm}.jsonl", answer)
    (tmp_path / "predictions" / "teacher.jsonl").unlink()
    report(tmp_path, TASKS, "<script>alert(1)</script> | title", include_text=True)
    page = Page(read(tmp_path, "report.html"))
    assert '<script>alert("x")</script>' in page.text
    assert "<img src=x onerror=alert(1)>" in page.text
    assert "Zzyzxol" in page.marked
    assert not {"script", "img"}.intersection(page.tags)
    assert not page.handlers
    assert read(tmp_path, "report.md").startswith("# &lt;script>alert(1)&lt;/script> \\| title")


def test_record_text_is_in_the_page_alone(run: Path) -> None:
    page, beside = read(run, "report.html"), read(run, "report.json") + read(run, "report.md")
    results = read_results(run, TASKS, "Trial run")
    sentences = {
        part for record in results.scored_records.values() for part in record.text.split("\n") if len(part) > 25
    }
    assert any(sentence in Page(page).text for sentence in sentences)
    assert not any(sentence in beside for sentence in sentences)
    drugs = {item.text for record in results.scored_records.values() for item in (record.gold or {})["medication"]}
    assert drugs
    assert not any(drug in beside for drug in drugs)


def test_labels_of_a_file_are_nowhere_called_the_answers_of_a_teacher(tmp_path: Path) -> None:
    write_run(tmp_path)
    arm = "labels of Mine.jsonl"
    for name in ("teacher.jsonl", "scores.json"):
        path = tmp_path / "predictions" / name
        text = path.read_text(encoding="utf-8")
        write_text(path, text.replace('"teacher"', f'"{arm}"').replace("student-teacher", f"student-{arm}"))
    source = {"file": "Mine.jsonl", "sha256": "0" * 64, "format": "rows"}
    write_manifest(tmp_path / "labels", counts={"labels": 1, "failures": 0}, source=source)
    report(tmp_path, TASKS, "Labels of a file", include_text=True)
    text = Page(read(tmp_path, "report.html")).text
    assert f"student and {arm} differ" in text
    assert f"{arm}; base student; distilled student" in text
    assert "student and teacher differ" not in text


def test_only_prepare_finished(tmp_path: Path) -> None:
    write_run(tmp_path)
    for stage in ("labels", "curated", "adapter", "predictions"):
        for path in (tmp_path / stage).iterdir():
            path.unlink()
    report(tmp_path, TASKS, "Early")
    figures = json.loads(read(tmp_path, "report.json"))
    assert figures["arms"] == {}
    assert figures["labels"] is figures["curated"] is figures["training"] is None
    assert figures["claims"] == []
    assert sum("is not finished in this run" in limit for limit in figures["limits"]) == 3
    assert any("no scores were found" in limit for limit in figures["limits"])
    page = Page(read(tmp_path, "report.html"))
    assert "No arm has been scored in this run." in page.text
    assert "No predictions on held-out records in this run." in page.text


def test_missing_arm_failures_and_bad_sums_are_told(tmp_path: Path) -> None:
    write_run(tmp_path)
    scores = invent_scores(gold=True)
    del scores["arms"]["base"], scores["differences"]["student-base"]
    for metrics in scores["arms"]["student"].values():
        for metric in metrics.values() if "seconds" not in metrics else ():
            metric["unscored"] = 3
    write_text(tmp_path / "predictions" / "scores.json", json.dumps(scores))
    (tmp_path / "predictions" / "base.jsonl").unlink()
    write_manifest(tmp_path / "records", counts={"read": 9, "kept": 5, "rejected": 3})
    report(tmp_path, TASKS, "Partial")
    limits = json.loads(read(tmp_path, "report.json"))["limits"]
    assert any(limit.startswith("Not scored in this run: base student") for limit in limits)
    assert any(limit.startswith("Distilled student: 3 answers missing (engine failure)") for limit in limits)
    assert any("does not add up: read 9, kept 5, rejected 3" in limit for limit in limits)
    assert "Base student" not in Page(read(tmp_path, "report.html")).text


@pytest.mark.parametrize("by_group", [True, False])
def test_every_page_says_whether_the_split_is_by_patient(tmp_path: Path, by_group: bool) -> None:
    write_run(tmp_path)
    sources = [{"type": "folder", **({"group_folder": 1} if by_group else {})}]
    counts = {"read": 60, "kept": 60, "rejected": 0, "groups": 20, "clusters": 19, "largest_cluster": 4}
    split_by = "group" if by_group else "near_duplicates"
    write_manifest(tmp_path / "records", counts=counts, split_by=split_by, sources=sources)
    report(tmp_path, TASKS, "By patient", include_text=True)
    said = "The split is by group (patient)" if by_group else "other charts of the same patient may stand on both"
    for page in ("report.md", "report.html", "report.json"):
        assert said in read(tmp_path, page)
    # A path whose folder names the patient is left out, with the charts' text beside it or not.
    assert ("notes/" in Page(read(tmp_path, "report.html")).text) == (not by_group)


def test_synthetic_records_are_called_so(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / "records" / "records.jsonl"
    path.write_text(path.read_text().replace('"source":"notes/', '"source":"synthetic:heldout:'))
    findings = state_findings(read_results(tmp_path, TASKS, "Demo"))
    assert "24 held-out synthetic records" in findings.verdict
    assert any("do not carry over to real charts" in limit for limit in findings.limits)


def test_scores_of_the_metrics_drawer_are_taken_over(tmp_path: Path) -> None:
    write_run(tmp_path)
    results = read_results(tmp_path, TASKS, "Scored")
    rows = {arm: [p for found in results.predictions.values() for p in found.values() if p.arm == arm] for arm in ARMS}
    scored = {arm: score_arm(found, results.scored_records, TASKS, resamples=50) for arm, found in rows.items()}
    gap = difference(rows["student"], rows["base"], results.scored_records, TASKS, resamples=50)
    figures = Scores(gold={task.name: True for task in TASKS}, arms=scored, costs={}, differences={"student-base": gap})
    write_text(tmp_path / "predictions" / "scores.json", figures.model_dump_json(exclude={"costs"}))
    report(tmp_path, TASKS, "Scored")
    shown = json.loads(read(tmp_path, "report.json"))
    assert shown["arms"]["student"]["all"]["joint_f1"] == scored["student"]["all"]["joint_f1"].model_dump()
    assert shown["differences"]["student-base"]["tests"]["f1"] == gap["tests"]["f1"].model_dump()
    missed = re.findall(r"</b> misses (\d+)<", read(tmp_path, "report.html"))
    assert missed
    assert all(int(number) > 0 for number in missed)
    assert set(METRICS) | set(AGREEMENT) <= set(BY_NAME)


def test_same_inputs_are_not_reported_twice(tmp_path: Path) -> None:
    write_run(tmp_path)
    first = report(tmp_path, TASKS, "Trial run")
    page = tmp_path / "report" / "report.html"
    stamp = page.stat().st_mtime_ns
    assert report(tmp_path, TASKS, "Trial run") == first
    assert page.stat().st_mtime_ns == stamp
    assert page.stat().st_mode & 0o777 == 0o600
    scores = invent_scores(gold=True)
    scores["arms"]["student"]["all"]["joint_f1"]["value"] = 0.6127
    write_text(tmp_path / "predictions" / "scores.json", json.dumps(scores))
    assert report(tmp_path, TASKS, "Trial run")["verdict"] != first["verdict"]
    assert "0.613" in read(tmp_path, "report.md")


def test_unfit_inputs_are_errors_that_name_the_place(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="chartdistill prepare"):
        report(tmp_path, TASKS, "Nothing")
    write_run(tmp_path)
    path = tmp_path / "predictions" / "scores.json"
    scores = invent_scores(gold=True)
    for spoiled in (
        "{torn",
        json.dumps(scores).replace('"n": 212', '"n": "many"', 1),
        "[]",
        json.dumps({"gold": {}, "arms": {"a": 1}}),
    ):
        write_text(path, spoiled)
        with pytest.raises(InputError, match=r"scores\.json: .*chartdistill evaluate"):
            report(tmp_path, TASKS, "Spoiled")
    scores["arms"]["student"]["all"]["f1"]["value"] = float("nan")
    write_text(path, json.dumps(scores))
    with pytest.raises(InputError, match="finite numbers"):
        report(tmp_path, TASKS, "Spoiled")
    assert not (tmp_path / "report" / "manifest.json").exists()
    write_text(path, json.dumps(invent_scores(gold=True)))
    lost = Prediction(key="k", record="gone", task="tests", arm="student", completion="None found", items=())
    write_rows(tmp_path / "predictions" / "student.jsonl", lost)
    with pytest.raises(InputError, match="'gone'"):
        report(tmp_path, TASKS, "Spoiled")
