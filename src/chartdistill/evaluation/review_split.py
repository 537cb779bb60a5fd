"""What of `predict`'s answers goes to a person: `--min-confidence`, `--review-file`.

In: the line of one chart, as `predict` writes it. Out: two lines, one to keep and one for review, or none. What must
hold: each item stands in exactly one of them; what has no confidence, what failed, and what the chart does not bear out
(`grounded` is false: it, or its numbers, stand nowhere there) is for review, however sure; a line that is kept says how
much of its chart is not in it (`in_review`), so that the rest is never read as "nothing found"; both files stay in
step, whenever the process is killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from filecmp import cmp
from pathlib import Path
from types import TracebackType
from typing import Any

from chartdistill.errors import ConfigError
from chartdistill.runtime.outputs import ResumableLines, left_beside, require_writable

IN_REVIEW = "in_review"
"""Of a kept line, and of each of its tasks: items and answers that are in the review file."""


def require_both(least: float | None, review: Path | None) -> None:
    """That a threshold comes with a place for what is below it.

    Raises:
        ConfigError: one without the other, or a threshold that is no probability.
    """
    if (least is None) != (review is None):
        missing = "--review-file FILE, for what is less sure" if review is None else "--min-confidence P, from 0 to 1"
        raise ConfigError(f"--min-confidence and --review-file go together; add {missing}.")
    if least is not None and not 0 <= least <= 1:
        raise ConfigError(f"--min-confidence is {least:g}; it is a probability, from 0 to 1, e.g. 0.95.")


def require_review_place(review: Path, out: Path, overwrite: bool, read: Sequence[Path | None]) -> None:
    """That the review file can be written, and is not the other one.

    Raises:
        ArtefactError: what is wrong with the place.
    """
    require_writable("--review-file", review, overwrite or _is_copied(review, out), read=read)
    if review.resolve() == out.resolve():
        raise ConfigError(f"--out and --review-file both name {out}; give one of them another file.")
    if review.resolve().is_relative_to(out.resolve()):
        raise ConfigError(f"--review-file {review} lies in {out}, a folder that is made anew; give it another place.")


def _is_copied(review: Path, out: Path) -> bool:
    """Whether it is what a call put there that was killed before it could put `out` in its place: the lines of both are
    still beside them."""
    kept, other = (Path(os.path.realpath(path)) for path in (review, out))
    return kept.is_file() and any(
        cmp(kept, lines, shallow=False)
        and other.with_name(f".{other.name}{lines.name.removeprefix(f'.{kept.name}')}") in left_beside(other, "partial")
        for lines in left_beside(kept, "partial")
    )


def divide(line: dict[str, Any], least: float) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """One chart's line -> what is kept of it, and what is for review (None: nothing)."""
    head = {"id": line["id"], "source": line["source"]}
    if "failure" in line:
        return {**head, "tasks": {}, IN_REVIEW: 1}, {**head, "failure": line["failure"], "reason": "failed"}
    kept: dict[str, Any] = {}
    review: dict[str, Any] = {}
    number = 0
    for task, answer in line["tasks"].items():
        if answer["items"] is None:
            review[task] = {**answer, "reason": "failed"}
            number += 1
            continue
        reasons = [_reason(item, least) for item in answer["items"]]
        sure = [item for item, reason in zip(answer["items"], reasons, strict=True) if reason is None]
        moved = [
            {**item, "reason": reason}
            for item, reason in zip(answer["items"], reasons, strict=True)
            if reason is not None
        ]
        kept[task] = {**answer, "items": sure}
        if moved:
            kept[task][IN_REVIEW] = len(moved)
            review[task] = {**{name: of for name, of in answer.items() if name != "dropped"}, "items": moved}
            number += len(moved)
    found = {**head, "tasks": kept}
    if not number:
        return found, None
    return {**found, IN_REVIEW: number}, {**head, "tasks": review}


def _reason(item: dict[str, Any], least: float) -> str | None:
    """Why an item is for a person; None: it is sure enough, and stands in the chart."""
    confidence = item["confidence"]
    if item["span"] is None:  # a confidence comes from the model's own probabilities, and can be high without a chart
        return "not found in the chart"
    if not item["grounded"]:
        return "numbers not found in the chart"
    if confidence is None:
        return "no confidence"
    return None if confidence >= least else f"confidence below {least:g}"


class DividedLines:
    """`ResumableLines`, or two of them: one line a chart in `out`, and one in `review` for each chart that has anything
    there. Takes up both where a kill left them: what was written of `review` alone is thrown away.

    Attributes:
        num_lines: charts that are done.
        counts: of all lines, those found too: `failed` answers; `kept` and `review` items, zero without `review`.
    """

    def __init__(self, out: Path, review: Path | None, least: float | None, mark: str) -> None:
        self._least = least
        self._out = ResumableLines(out, mark)
        self._review = None if review is None else ResumableLines(review, mark)
        self._open = ExitStack()
        self.num_lines = 0
        self.counts = {"kept": 0, "review": 0, "failed": 0}

    def __enter__(self) -> DividedLines:
        with self._open as opened:
            opened.enter_context(self._out)
            self.num_lines = self._out.num_lines
            if self._review is None:
                for text in self._out.read():
                    self._count_failed(json.loads(text))
            else:
                opened.enter_context(self._review)
                self._keep_in_step(self._review)
            self._open = opened.pop_all()
        return self

    def _keep_in_step(self, review: ResumableLines) -> None:
        in_review = 0
        for text in self._out.read():
            line = json.loads(text)
            in_review += IN_REVIEW in line
            self._count(line)
        if review.num_lines < in_review:  # of a file that was lost, or that is no file: begin anew
            self.num_lines = in_review = 0
            self.counts = dict.fromkeys(self.counts, 0)
            self._out.keep(0)
        review.keep(in_review)
        for text in review.read():
            self._count_review(json.loads(text))

    def write(self, lines: Sequence[dict[str, Any]]) -> None:
        """Add the lines of whole charts; they are on disk when this returns."""
        if self._least is None or self._review is None:
            self._out.write([json.dumps(line) for line in lines])
            for line in lines:
                self._count_failed(line)
            return
        divided = [divide(line, self._least) for line in lines]
        review = [line for _, line in divided if line is not None]
        self._review.write([json.dumps(line) for line in review])
        self._out.write([json.dumps(line) for line, _ in divided])
        for line, _ in divided:
            self._count(line)
        for line in review:
            self._count_review(line)

    def _count(self, kept: dict[str, Any]) -> None:
        self.counts["kept"] += sum(len(answer["items"]) for answer in kept["tasks"].values())

    def _count_review(self, line: dict[str, Any]) -> None:
        self._count_failed(line)
        self.counts["review"] += sum(len(answer.get("items") or ()) for answer in line.get("tasks", {}).values())

    def _count_failed(self, line: dict[str, Any]) -> None:
        answers = [line] if "failure" in line else list(line["tasks"].values())
        self.counts["failed"] += sum(answer.get("items") is None for answer in answers)

    def place_review(self) -> None:
        """Put the review file in its place, before `out`, which says that both are complete; its lines stay until `out`
        is there, so that a kill between the two costs nothing."""
        if self._review is not None:
            self._review.place()

    def finish(self) -> None:
        """Put both files in their places: they are complete."""
        self.place_review()
        self._out.finish()
        if self._review is not None:
            self._review.drop()

    @property
    def so_far(self) -> Path:
        """The file of what is kept, until `finish`."""
        return self._out.so_far

    def drop(self) -> None:
        """Remove the lines of both: what was to be made of them is made."""
        self._out.drop()
        if self._review is not None:
            self._review.drop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
