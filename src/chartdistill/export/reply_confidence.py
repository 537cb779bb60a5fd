"""How sure the student is of each item: from a reply of vLLM's chat completions and `calibration.json`.

    python confidence.py TASK < reply.json

`reply.json`: what `/v1/chat/completions` answered to a request with `"logprobs": true`, temperature 0 and the prompt of
README.md. Printed: a JSON array of {"item", "confidence"}, the items as they stand in the answer. A confidence is the
calibrated probability that text and status of the item are right, as `chartdistill predict` gives it; null where it is
not known: the task had too few validation items, or the tokens are not those of the text. An answer that breaks the
format is refused, but "none" in other words than the exact ones passes for an item here; `predict` refuses that too.

Needs Python alone. `export` puts this file, as confidence.py, beside the calibration.
"""

from __future__ import annotations

import json
import math
import sys
from bisect import bisect_right
from pathlib import Path
from typing import Any

NONE_FOUND = "None found"
LOWEST_SCORE = -30.0
STEP = 1e-4


def confidences(
    reply: dict[str, Any], task: str, calibration: dict[str, Any], prompt: dict[str, Any]
) -> list[dict[str, Any]]:
    """Of each item of a reply, in order.

    Args:
        reply: of `/v1/chat/completions`.
        calibration: what `calibration.json` says.
        prompt: what `prompt.json` says.

    Raises:
        ValueError: the reply has no log-probabilities, or the answer was cut or breaks the format.
    """
    if task not in prompt["questions"]:
        raise ValueError(f"there is no task {task!r}; there are {', '.join(prompt['questions'])}")
    choice, end, statuses = reply["choices"][0], prompt["decoding"]["stop"][0], prompt["statuses"][task]
    if choice["finish_reason"] != "stop":
        raise ValueError("the answer did not end (raise max_tokens)")
    said = (choice.get("logprobs") or {}).get("content")
    if not said:
        raise ValueError('the reply has no log-probabilities. Ask with "logprobs": true.')
    answer = str(choice["message"]["content"]).removesuffix(end).strip()
    if answer == NONE_FOUND:
        return []
    items = [line.strip() for line in answer.split("\n")]
    for item in items:
        fields = [field.strip() for field in item.split("|")]
        if not all(fields) or len(fields) != (2 if statuses else 1) or (statuses and fields[1] not in statuses):
            raise ValueError("the answer breaks the format")
    tokens = said[:-1] if said[-1]["token"] == end else said
    lines = _lines([(token["token"], token["logprob"]) for token in tokens])
    known = task in calibration["tasks"] and [_letters(line[0]) for line in lines] == [_letters(one) for one in items]
    found: dict[str, float | None] = {}
    for place, item in enumerate(items):
        found.setdefault(item, _confidence(lines[place], task, calibration) if known else None)
    return [{"item": item, "confidence": found[item]} for item in items]


_Line = tuple[str, list[float], list[float]]
"""What was written, and the log-probabilities of the tokens of its text and of its status. The line break before an
item is of its text."""


def _lines(tokens: list[tuple[str, float]]) -> list[_Line]:
    lines: list[_Line] = [("", [], [])]
    for token, logprob in tokens:
        own, *others = token.split("\n")
        if own or not others:
            lines[-1] = _with(lines[-1], own, logprob)
        lines += [_with(("", [], []), other, logprob) for other in others]
    while lines and not lines[0][0].strip():
        del lines[0]
    while lines and not lines[-1][0].strip():
        del lines[-1]
    return lines


def _with(line: _Line, written: str, logprob: float) -> _Line:
    before, text, status = line
    (status if "|" in before or written.partition("|")[2].strip() else text).append(logprob)
    return before + written, text, status


def _letters(text: str) -> str:
    return "".join(one for one in text if one.isascii() and not one.isspace())


def _confidence(line: _Line, task: str, calibration: dict[str, Any]) -> float:
    _, text, status = line
    of_text = 0.0
    if text:
        whole = math.fsum(text)
        of_text = {"sum": whole, "lowest": min(text), "mean": whole / len(text)}[calibration["score"]]
    score = max(LOWEST_SCORE, of_text + math.fsum(status))
    curve = calibration["curves"].get(task) or calibration["curves"]["all"]
    return min(max(round(_probability(score, curve), 4), STEP), 1 - STEP)


def _probability(score: float, curve: dict[str, Any]) -> float:
    if curve["kind"] == "platt":
        # Beyond 700 the exponential has no number any more, and the probability is none that is told from nought.
        return 1 / (1 + math.exp(min(700.0, -(curve["slope"] * score + curve["intercept"]))))
    knots = curve["knots"]
    place = bisect_right([at for at, _ in knots], score)
    if place in (0, len(knots)):
        return float(knots[max(0, place - 1)][1])
    (low, below), (high, above) = knots[place - 1], knots[place]
    return float(below + (above - below) * (score - low) / (high - low))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python confidence.py TASK < reply.json")
    here = Path(__file__).parent
    kept = [json.loads((here / name).read_text(encoding="utf-8")) for name in ("calibration.json", "prompt.json")]
    try:
        print(json.dumps(confidences(json.load(sys.stdin), sys.argv[1], *kept), indent=1, ensure_ascii=False))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        sys.exit(f"confidence.py: {error if isinstance(error, ValueError) else 'standard input is no such reply'}")
