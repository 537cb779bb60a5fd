"""The audit of a fine-tuning file: splitting, verdicts, broken lines. All charts are invented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chartdistill.cli import main
from chartdistill.curation.audit import AuditSummary, BrokenLine, LineVerdict, audit, run_audit, take_apart
from chartdistill.errors import InputError
from places import SHARED

DATA = SHARED / "data" / "api_version"
CHART = (
    "Sore Knee,HISTORY:, The patient twisted her knee.,MEDICATIONS:, Lisinopril and Tylenol.,ALLERGIES:, Codeine.,"
    "PROCEDURE:, Knee arthroscopy last year.,ASSESSMENT:, Meniscal tear.,PLAN:, We will obtain an MRI of the knee. She "
    "should do well with exercise.orthopedic, sore knee, meniscal tear, arthroscopy, ligament, cartilage, "
)


def line(task: str, completion: str, chart: str = CHART) -> dict[str, str]:
    return {"prompt": f"{chart}\n\nLIST ALL {task}: ", "completion": f" {completion}"}


def verdicts(path: Path, *lines: object) -> list[LineVerdict | BrokenLine]:
    file = path / "file.jsonl"
    file.write_text("".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return list(audit(file))


@pytest.mark.parametrize(
    ("task", "completion", "reason"),
    [
        ("MEDICATION", "Lisinopril, Tylenol", None),
        ("MEDICATION", "1. Lisinopril\n2. acetaminophen", None),
        ("MEDICATION", "Lisinopril, Bactrim", "invented"),
        ("MEDICATION", "Lisinopril, cartilage", "boilerplate"),
        ("MEDICATION", "Codeine", "allergy"),
        ("MEDICATION", "Knee arthroscopy", "not_a_drug"),
        ("MEDICATION", "None Found", "false_none"),
        ("MEDICATION", "Lisinopril, Tylenol,", "truncated"),
        ("DIAGNOSIS", "The diagnosis is meniscal tear.", None),
        ("DIAGNOSIS", "Knee arthroscopy", "not_a_diagnosis"),
        ("DIAGNOSIS", "sore knee, meniscal tear, arthroscopy, ligament, cartilage", "keyword_dump"),
        ("PROGNOSIS", "The patient should do well with exercise.", None),
        ("PROGNOSIS", "The prognosis is excellent.", "unsupported_forecast"),
        ("PROGNOSIS", "She twisted her knee.", "not_a_forecast"),
        ("TESTS", "MRI of the knee", None),
        ("TESTS", "A knee MRI.", None),
        ("TESTS", "arthroscopy", "already_done"),
        ("TESTS", "", "empty"),
    ],
)
def test_verdicts_on_one_chart(tmp_path: Path, task: str, completion: str, reason: str | None) -> None:
    (found,) = verdicts(tmp_path, line(task, completion))
    assert isinstance(found, LineVerdict)
    assert (found.number, found.task) == (0, task)
    assert found.verdict == ("reject" if reason else "keep")
    assert (reason in found.reasons) if reason else found.reasons == ()
    assert all(one.item is None or one.item.text in completion for one in found.findings)


def test_the_prompt_is_split_and_the_chart_cleaned() -> None:
    parts = take_apart(line("MEDICATION", "Lisinopril"))
    assert parts.task_name == "MEDICATION"
    assert parts.record.text.startswith("Sore Knee\nHISTORY: The patient")
    assert parts.record.text.endswith("well with exercise.")
    assert "cartilage" in parts.removed
    chat = {
        "messages": [
            {"role": "system", "content": "Answer."},
            {"role": "user", "content": line("TESTS", "")["prompt"]},
            {"role": "assistant", "content": "MRI of the knee"},
        ]
    }
    assert take_apart(chat).items == take_apart(line("TESTS", "MRI of the knee")).items
    own = {
        "record": "r",
        "prompt": f"{CHART}\n\nList each drug of the patient as: drug | status.",
        "completion": "A | b",
    }
    assert [item.text for item in take_apart(own).items] == ["A"]


def test_repeated_lines_and_answers_of_other_charts(tmp_path: Path) -> None:
    other = CHART.replace("Lisinopril and Tylenol", "Bactrim").replace("Sore Knee", "Cough")
    found = verdicts(
        tmp_path,
        line("MEDICATION", "Lisinopril, Tylenol"),
        line("MEDICATION", "Lisinopril, Tylenol"),
        line("MEDICATION", "Lisinopril, Tylenol", other),
    )
    assert [one.reasons[:1] for one in found if isinstance(one, LineVerdict)] == [
        (),
        ("duplicate_line",),
        ("carried_over",),
    ]


def test_a_second_spelling_of_none_is_rejected(tmp_path: Path) -> None:
    chart = "Short note. The skin is dry."
    lines = [line("TESTS", text, chart + " " * number) for number, text in enumerate(["None Found"] * 2 + ["None."])]
    assert [one.reasons for one in verdicts(tmp_path, *lines) if isinstance(one, LineVerdict)] == [
        (),
        (),
        ("none_spelling",),
    ]


def test_broken_lines_are_named_and_the_others_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = line("MEDICATION", "Lisinopril, Tylenol")
    found = verdicts(
        tmp_path, good, '{"prompt": "torn\n', [1], {"prompt": "x"}, {"prompt": "no task", "completion": "y"}, good, "\n"
    )
    assert [isinstance(one, BrokenLine) for one in found] == [False, True, True, True, True, False]
    assert [one.number for one in found] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(InputError, match=r"4 lines are broken .*: 2, 3, 4, 5\."):
        run_audit(tmp_path / "file.jsonl")
    shown = capsys.readouterr()
    assert "MEDICATION" in shown.out and "twisted" not in shown.out + shown.err
    assert "Lisinopril" not in shown.out + shown.err


def test_bytes_that_are_not_utf8_and_endless_brackets_break_their_line_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.dumps({"prompt": "Has gout.\n\nLIST ALL DIAGNOSIS: ", "completion": " gout"}).encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + good + b"\n" + good.replace(b"Has", b"Has \xb5") + b"\n" + b"[" * 100_000)
    first, *broken = audit(path)
    assert isinstance(first, LineVerdict), "a byte order mark is no part of the line"
    assert [one.error for one in broken if isinstance(one, BrokenLine)] == [
        "not UTF-8: byte 0xb5 at byte 16; save the file as UTF-8",
        "JSON nested too deep to be read",
    ]


def test_a_missing_or_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(audit(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match="has no lines"):
        verdicts(tmp_path)


def test_the_command_prints_json_and_writes_every_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "file.jsonl", tmp_path / "verdicts.jsonl"
    rows = [line("MEDICATION", "Lisinopril, Bactrim"), line("TESTS", "MRI of the knee")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    main(["audit", str(file), "--json", "--out", str(out)])
    shown = capsys.readouterr()
    printed = [json.loads(text) for text in shown.out.splitlines()]
    assert printed[0] == {
        "line": 0,
        "task": "MEDICATION",
        "verdict": "reject",
        "reasons": ["invented"],
        "items": ["Lisinopril", "Bactrim"],
    }
    assert [row["verdict"] for row in printed] == ["reject", "keep"]
    assert "MEDICATION" in shown.err  # the summary does not mix with the verdicts
    written = [json.loads(text) for text in out.read_text().splitlines()]
    assert [row["line"] for row in written] == [0, 1]
    assert written[0]["findings"][0]["item"]["text"] == "Bactrim"
    assert out.stat().st_mode & 0o077 == 0
    file.write_text("no json\n")
    with pytest.raises(SystemExit) as stopped:
        main(["audit", str(file)])
    assert stopped.value.code == InputError.exit_code


def test_the_summary_counts_lines_and_reasons() -> None:
    summary = AuditSummary()
    for number, reasons in enumerate([("invented", "truncated"), ("invented",), ()]):
        verdict = "reject" if reasons else "keep"
        row = LineVerdict.model_validate(
            {"number": number, "task": "T", "verdict": verdict, "reasons": reasons, "items": ()}
        )
        summary.add(row)
    summary.add(BrokenLine(number=3, error="e"))
    assert summary.text().splitlines()[1].split() == ["T", "3", "1", "2", "invented", "2,", "truncated", "1"]
    assert summary.broken == [3]


@pytest.mark.skipif(not (DATA / "verdicts.jsonl").exists(), reason="the API version's data is not here")
def test_the_goals_on_lines_that_a_person_read() -> None:
    read = [json.loads(text)["verdict"] for text in (DATA / "verdicts.jsonl").read_text().splitlines()]
    ours = {one.number: one.verdict for one in audit(DATA / "completions.jsonl") if isinstance(one, LineVerdict)}
    assert len(ours) == len(read)
    share = {
        verdict: sum(ours[number] == verdict for number, said in enumerate(read) if said == verdict)
        / read.count(verdict)
        for verdict in ("reject", "keep")
    }
    assert share["reject"] >= 0.85
    assert share["keep"] >= 0.90
