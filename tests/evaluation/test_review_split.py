"""`predict --min-confidence --review-file`: each item in one file, both files in step after any kill."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chartdistill.errors import ArtefactError, ConfigError
from chartdistill.evaluation.review_split import DividedLines, divide, require_both, require_review_place
from chartdistill.runtime.outputs import ResumableLines


def chart(name: str, *confidences: float | None, failed: bool = False) -> dict[str, Any]:
    items = [
        {"text": f"drug {n}", "status": "start", "confidence": one, "span": [0, 6], "grounded": True}
        for n, one in enumerate(confidences)
    ]
    tasks: dict[str, Any] = {"medication": {"items": items}, "tests": {"items": []}}
    if failed:
        tasks["tests"] = {"items": None, "failure": "bad_format: x"}
    return {"id": name, "source": f"{name}.txt", "tasks": tasks}


def test_each_item_stands_in_one_of_both_with_the_reason() -> None:
    kept, review = divide(chart("a", 0.97, 0.9, None, failed=True), 0.95)
    assert [item["text"] for item in kept["tasks"]["medication"]["items"]] == ["drug 0"]
    assert kept["tasks"]["medication"]["in_review"] == 2 and kept["in_review"] == 3
    assert "tests" not in kept["tasks"], "an answer that failed is not a chart without tests"
    assert review is not None
    assert [item["reason"] for item in review["tasks"]["medication"]["items"]] == [
        "confidence below 0.95", "no confidence",
    ]  # fmt: skip
    assert review["tasks"]["tests"] == {"items": None, "failure": "bad_format: x", "reason": "failed"}


def test_what_does_not_stand_in_the_chart_is_for_review_however_sure() -> None:
    line = chart("a", 0.9999, 0.9999, 0.9999)
    invented, misdosed, right = line["tasks"]["medication"]["items"]
    invented |= {"span": None, "grounded": False}
    misdosed |= {"grounded": False, "not_in_chart": ["40"]}
    kept, review = divide(line, 0.95)
    assert kept["tasks"]["medication"]["items"] == [right] and kept["in_review"] == 2
    assert review is not None
    assert [item["reason"] for item in review["tasks"]["medication"]["items"]] == [
        "not found in the chart", "numbers not found in the chart",
    ]  # fmt: skip


def test_a_chart_with_nothing_to_review_stands_in_one_file_only() -> None:
    line = chart("a", 0.95, 1.0)
    assert divide(line, 0.95) == (line, None)
    assert divide(chart("a"), 0.95)[1] is None
    assert divide(chart("a", 0.0), 0.0)[1] is None, "0 keeps all that has a confidence"
    assert divide(chart("a", None), 0.0)[1] is not None


def test_a_chart_that_could_not_be_read_is_for_review() -> None:
    kept, review = divide({"id": "a", "source": "a.txt", "failure": "empty"}, 0.5)
    assert kept == {"id": "a", "source": "a.txt", "tasks": {}, "in_review": 1}
    assert review == {"id": "a", "source": "a.txt", "failure": "empty", "reason": "failed"}


CHARTS = [chart(str(n), 0.99, 0.2 if n % 3 else 0.98, failed=n % 4 == 1) for n in range(12)]


def whole(folder: Path) -> tuple[str, str, dict[str, int]]:
    folder.mkdir()
    out, review = folder / "out.jsonl", folder / "review.jsonl"
    with DividedLines(out, review, 0.95, "m") as lines:
        lines.write(CHARTS)
        lines.finish()
    return out.read_text(), review.read_text(), lines.counts


@pytest.mark.parametrize("done", [0, 1, 5, 11, 12])
@pytest.mark.parametrize("ahead", [0, 1, 7])
@pytest.mark.parametrize("torn", [False, True])
def test_both_files_are_as_of_an_unbroken_call_wherever_it_was_killed(
    tmp_path: Path, done: int, ahead: int, torn: bool
) -> None:
    """Review is written first: after a kill it can be ahead, and either file can end in half a line."""
    expected = whole(tmp_path / "whole")
    out, review = tmp_path / "out.jsonl", tmp_path / "review.jsonl"
    with DividedLines(out, review, 0.95, "m") as lines:
        lines.write(CHARTS[:done])
    more = [line for line in (divide(one, 0.95)[1] for one in CHARTS[done : done + ahead]) if line is not None]
    with (tmp_path / ".review.jsonl.m.partial").open("a") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in more)
        stream.write('{"id": "' if torn else "")
    with (tmp_path / ".out.jsonl.m.partial").open("a") as stream:
        stream.write('{"id": "' if torn else "")
    assert not out.exists() and not review.exists()
    with DividedLines(out, review, 0.95, "m") as lines:
        assert lines.num_lines == done
        lines.write(CHARTS[done:])
        lines.finish()
    assert (out.read_text(), review.read_text(), lines.counts) == expected
    assert lines.counts["kept"] + lines.counts["review"] == 24 and lines.counts["failed"] == 3
    assert not list(tmp_path.glob(".*.partial"))


@pytest.mark.parametrize("put", ["review", "out", "all"])
def test_a_kill_between_the_two_last_steps_loses_and_doubles_nothing(
    tmp_path: Path, put: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(tmp_path / "whole")
    out, review = tmp_path / "out.jsonl", tmp_path / "review.jsonl"
    with monkeypatch.context() as killed, DividedLines(out, review, 0.95, "m") as lines:
        lines.write(CHARTS)
        killed.setattr(ResumableLines, {"review": "finish", "out": "drop"}.get(put, "no_step"), _kill, raising=False)
        with suppress(KeyboardInterrupt):
            lines.finish()
    assert review.read_text() == expected[1]
    if put != "review":  # both are there, and stay
        assert out.read_text() == expected[0]
        with pytest.raises(ArtefactError, match=r"--review-file .*exists and stays as it is"):
            require_review_place(review, out, False, ())
        return
    require_review_place(review, out, False, ())  # the same command is not refused for what it put there itself
    with DividedLines(out, review, 0.95, "m") as lines:
        assert lines.num_lines == len(CHARTS), "nothing is asked again"
        lines.finish()
    assert (out.read_text(), review.read_text(), lines.counts) == expected
    assert not list(tmp_path.glob(".*.partial"))


def _kill(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_review_file_that_was_changed_since_the_kill_is_not_replaced(tmp_path: Path) -> None:
    out, review = tmp_path / "out.jsonl", tmp_path / "review.jsonl"
    with DividedLines(out, review, 0.95, "m") as lines:
        lines.write(CHARTS)
        lines.place_review()
    review.write_text(review.read_text().replace("drug", "a person's word"))
    with pytest.raises(ArtefactError, match=r"--review-file .*exists and stays as it is"):
        require_review_place(review, out, False, ())


def test_where_the_review_file_was_lost_both_begin_anew(tmp_path: Path) -> None:
    out, review = tmp_path / "out.jsonl", tmp_path / "review.jsonl"
    with DividedLines(out, review, 0.95, "m") as lines:
        lines.write(CHARTS[:6])
    (tmp_path / ".review.jsonl.m.partial").unlink()
    with DividedLines(out, review, 0.95, "m") as lines:
        assert lines.num_lines == 0 and set(lines.counts.values()) == {0}
        lines.write(CHARTS)
        lines.finish()
    assert (out.read_text(), review.read_text(), lines.counts) == whole(tmp_path / "whole")


def test_without_a_threshold_there_is_one_file_as_before(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with DividedLines(out, None, None, "m") as lines:
        lines.write(CHARTS[:6])
    with DividedLines(out, None, None, "m") as lines:  # goes on
        lines.write(CHARTS[6:])
        lines.finish()
    assert lines.counts == {"kept": 0, "review": 0, "failed": 3}, "counts also what was there"
    assert [json.loads(line) for line in out.read_text().splitlines()] == CHARTS
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    out, review = tmp_path / "out.jsonl", tmp_path / "review.jsonl"
    with (
        DividedLines(out, review, 0.95, "m"),
        pytest.raises(ArtefactError, match="another process is writing"),
        DividedLines(tmp_path / "other.jsonl", review, 0.95, "m"),
    ):
        pass


def test_a_pipe_for_either_file_is_written_as_it_comes(tmp_path: Path) -> None:
    review = tmp_path / "review.jsonl"
    with DividedLines(Path("/dev/null"), review, 0.95, "m") as lines:
        lines.write(CHARTS)
        lines.finish()
    assert len(review.read_text().splitlines()) == sum(divide(one, 0.95)[1] is not None for one in CHARTS)
    out = tmp_path / "out.jsonl"
    with DividedLines(out, Path("/dev/null"), 0.95, "m") as lines:
        lines.write(CHARTS)
        lines.finish()
    assert len(out.read_text().splitlines()) == len(CHARTS)


@pytest.mark.parametrize(
    ("least", "review", "said"),
    [
        (0.9, None, "--review-file"), (None, Path("r"), "--min-confidence P"), (1.5, Path("r"), "from 0 to 1"),
        (-0.1, Path("r"), "from 0 to 1"), (float("nan"), Path("r"), "from 0 to 1"), (95.0, Path("r"), "0.95"),
    ],
)  # fmt: skip
def test_a_threshold_needs_a_file_and_is_a_probability(least: float | None, review: Path | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        require_both(least, review)
    require_both(None, None)
    require_both(0.0, Path("r"))


def test_both_names_must_differ_and_nothing_is_lost(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    with pytest.raises(ConfigError, match="both name"):
        require_review_place(tmp_path / "." / "a.jsonl", out, False, ())
    (tmp_path / "b.jsonl").write_text("mine")
    with pytest.raises(ArtefactError, match=r"--review-file .*exists and stays as it is"):
        require_review_place(tmp_path / "b.jsonl", out, False, ())
