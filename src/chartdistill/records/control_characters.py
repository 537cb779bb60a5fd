"""Characters that no reader sees and no model was taught -> what stood there, or a mark that something is lost.

One rule for all sources. A control character in a word is mostly what an export made of a ligature or a sign that it
did not know (`speci\\0c`, `50 \\0g`): dropping it would leave another word, or another unit, so it becomes U+FFFD, one
for each run. At the edge of a line, and where a terminal coloured its text, nothing is lost with it.
"""

from __future__ import annotations

import re

from chartdistill.records.edits import Edit

LOST = "\ufffd"
"""Stands for a character that is lost."""
# C1 controls are Windows-1252 that was read as ISO 8859-1 (U+0092 for a curly quote): HTML readers see them so, too.
_CONTROL = re.compile(
    "(?P<colour>\x1b\\[[0-9;]{0,12}[A-Za-z])"
    "|(?P<line>[\x0b\x0c\x1c-\x1f\x85])"
    "|(?P<windows>[\x80-\x84\x86-\x9f])"
    "|(?P<lost>[\x00-\x08\x0e-\x1b\x7f\ufffe\uffff]+)"
)


def control_edits(text: str) -> list[Edit]:
    """What takes all control characters but tab, newline and carriage return out of a text."""
    return [(match.start(), match.end(), _instead(match, text)) for match in _CONTROL.finditer(text)]


def _instead(match: re.Match[str], text: str) -> str:
    if match["colour"]:
        return ""
    if match["line"]:
        return "\n"
    if match["windows"]:
        return match[0].encode("latin-1").decode("cp1252", "replace")
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
    return "" if before in ("", "\n", "\r") or after in ("", "\n", "\r") else LOST
