r"""RTF taken for text -> the text that a reader saw.

In: any text. Out: the edits that take control words, groups of fonts and pictures, and page headers out, and put in the
characters that `\'e9`, `\u233?` or `\emdash` stand for; none where no RTF begins. Format: Microsoft, Rich Text Format
Specification 1.9.1. Record systems write braces that do not pair, so text behind the last one is read on for as long as
control words follow. (The library striprtf gives the text without offsets, and ends at such a brace.)
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from chartdistill.records.edits import Edit
from chartdistill.records.markup import STRUCK_OUT, power
from chartdistill.records.symbol_font import in_symbol_font

_BEGIN = "{\\rtf"
_TOKEN = re.compile(
    r"\\(?P<word>[A-Za-z]{1,32})(?P<number>-?\d{1,10})? ?"
    r"|\\'(?P<byte>[0-9A-Fa-f]{2})"
    r"|\\(?P<sign>[^A-Za-z])"
    r"|(?P<brace>[{}])"
    r"|(?P<newline>[\r\n]+)"
    r"|(?P<text>[^\\{}\r\n]+)"
    r"|(?P<rest>\\)",
    re.DOTALL,
)
_CONTROL_WORD = re.compile(r"\\[a-z]+")
_UNSEEN = frozenset(
    "fonttbl colortbl stylesheet info pict header headerl headerr headerf footer footerl footerr footerf themedata "
    "colorschememapping datastore generator listtable listoverridetable rsidtbl latentstyles xmlnstbl objdata fldinst "
    "filetbl revtbl ftnsep ftnsepc aftnsep aftnsepc nonshppict".split()
)
"""Groups that are no text of the document's body."""
_CHARACTERS = {
    "par": "\n", "line": "\n", "sect": "\n", "page": "\n", "column": "\n", "row": "\n", "nestrow": "\n",
    "softline": "\n", "tab": "\t", "cell": "\t", "nestcell": "\t", "emdash": "—", "endash": "–", "emspace": " ",
    "enspace": " ", "qmspace": " ", "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”",
}  # fmt: skip
_END_OF_ROW = re.compile(r"(?:[{}\s]|\\(?!row|nestrow)[A-Za-z]+-?\d* ?){0,200}\\(?:nest)?row\b")
_SIGNS = {"~": " ", "_": "-", "{": "{", "}": "}", "\\": "\\", "\n": "\n", "\r": "\n"}
_CODE_PAGES = {
    77: "mac_roman", 128: "cp932", 129: "cp949", 134: "cp936", 136: "cp950", 161: "cp1253", 162: "cp1254",
    163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250",
    254: "cp437", 255: "cp850",
}  # fmt: skip
"""Of a font's `\\fcharset`; 0 and 1 are the document's own."""
_SYMBOL = 2
_DOCUMENT_CODE_PAGES = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850"}


@dataclass(frozen=True, slots=True)
class _Format:
    """What holds within a group."""

    unseen: bool = False
    in_fonts: bool = False
    font: int | None = None
    fallback: int = 1
    """Characters that stand in for one `\\u`, for readers that do not know it."""
    struck: bool = False
    hidden: bool = False


@dataclass
class _Document:
    """What holds for the rest of the document."""

    code_page: str = "cp1252"
    default_font: int | None = None
    charsets: dict[int, int] = field(default_factory=dict)
    """Font -> its character set."""


def rtf_edits(text: str) -> list[Edit]:
    """The edits that make plain text of RTF, in order; empty where there is none."""
    start = text.find(_BEGIN)
    return list(_Reader(text, start).edits()) if start >= 0 else []


class _Reader:
    """RTF from one place of a text on."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._position = start
        self._document = _Document()
        self._format = _Format()
        self._outer: list[_Format] = []
        self._to_skip = 0
        """Characters of a fallback that are still to come."""
        self._half = ""
        """The first half of a character written as two `\\u`."""
        self._lead = b""
        """The first byte of a character of two bytes."""
        self._was_struck = False

    def edits(self) -> Iterator[Edit]:
        """All of them, in order, disjoint."""
        last_word = max((match.end() for match in _CONTROL_WORD.finditer(self._text, self._position)), default=0)
        while self._position < len(self._text):
            token = _TOKEN.match(self._text, self._position)
            assert token is not None, "every character begins a token"
            self._position = token.end()
            if token["text"]:
                yield from self._plain(token.start(), token.end())
            else:
                instead = self._instead(token)
                yield token.start(), self._position, instead if instead.isspace() else self._marked(instead)
            if token["brace"] == "}" and not self._outer and self._position >= last_word:
                break
        if self._was_struck:
            yield self._position, self._position, STRUCK_OUT[1]

    def _instead(self, token: re.Match[str]) -> str:
        """What stands in the place of a token that is not text."""
        if token["brace"]:
            self._to_skip = 0
            self._enter_or_leave(token["brace"])
            return ""
        if token["newline"] or token["rest"]:
            return ""
        if self._to_skip:
            self._to_skip -= 1
            return ""
        if token["word"]:
            return self._word(token["word"], token["number"])
        if token["byte"]:
            return self._seen(self._decoded(bytes.fromhex(token["byte"])))
        if token["sign"] == "*":
            self._format = replace(self._format, unseen=True)
        return self._seen(_SIGNS.get(token["sign"], ""))

    def _enter_or_leave(self, brace: str) -> None:
        if brace == "{":
            self._outer.append(self._format)
        elif self._outer:
            self._format = self._outer.pop()

    def _word(self, word: str, written: str | None) -> str:
        number = None if written is None else int(written)
        if word == "u" and number is not None:
            self._to_skip = self._format.fallback
            return self._seen(self._unicode(number))
        if word == "bin" and number is not None:
            self._position = min(len(self._text), self._position + max(0, number))
        elif word in _UNSEEN:
            self._format = replace(self._format, unseen=True, in_fonts=word == "fonttbl")
        elif word == "super" and number != 0:
            following = _TOKEN.match(self._text, self._position)
            first = following["text"][:1] if following and following["text"] else ""
            return self._seen(power(self._text_before(), first))
        else:
            self._set(word, number)
        if word in ("cell", "nestcell") and _END_OF_ROW.match(self._text, self._position):
            return ""
        return self._seen(_CHARACTERS.get(word, ""))

    def _text_before(self) -> str:
        """The last character before the control words that end here."""
        before = re.search(
            r"([^\\{}\s])(?:[{}\s]|\\[A-Za-z]+-?\d* ?)*\Z", self._text[max(0, self._position - 80) : self._position]
        )
        return before[1] if before else ""

    def _set(self, word: str, number: int | None) -> None:
        """Control words that change how the rest is read."""
        on = number != 0
        if word == "f":
            self._format = replace(self._format, font=number)
        elif word == "fcharset" and self._format.in_fonts and self._format.font is not None:
            self._document.charsets[self._format.font] = number or 0
        elif word == "deff":
            self._document.default_font = number
        elif word == "uc":
            self._format = replace(self._format, fallback=number or 0)
        elif word in ("strike", "striked"):
            self._format = replace(self._format, struck=on)
        elif word in ("v", "deleted"):
            self._format = replace(self._format, hidden=on)
        elif word == "plain":
            self._format = replace(self._format, font=None, struck=False, hidden=False)
        elif word == "ansicpg":
            self._document.code_page = _known(f"cp{number}")
        elif word in _DOCUMENT_CODE_PAGES:
            self._document.code_page = _DOCUMENT_CODE_PAGES[word]

    def _unicode(self, number: int) -> str:
        char = chr(number % 0x10000)
        if self._half:
            pair, self._half = self._half + char, ""
            return pair.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if "\ud800" <= char <= "\udbff":
            self._half = char
            return ""
        if "\udc00" <= char <= "\udfff":
            return "\ufffd"
        return in_symbol_font(char) if "\uf000" <= char <= "\uf0ff" else char

    def _decoded(self, byte: bytes) -> str:
        data, self._lead = self._lead + byte, b""
        if self._charset() == _SYMBOL:
            return in_symbol_font(chr(data[-1]))
        try:
            return data.decode(_CODE_PAGES.get(self._charset(), self._document.code_page))
        except UnicodeDecodeError:
            if len(data) == 1 and self._charset() in (128, 129, 134, 136):
                self._lead = data
                return ""
            return "\ufffd"

    def _charset(self) -> int:
        font = self._format.font if self._format.font is not None else self._document.default_font
        return 0 if font is None else self._document.charsets.get(font, 0)

    def _plain(self, start: int, end: int) -> Iterator[Edit]:
        """Text: what of it is not seen, or is seen as something else."""
        if self._format.in_fonts and self._text[start:end].startswith("Symbol") and self._format.font is not None:
            self._document.charsets[self._format.font] = _SYMBOL
        if self._format.unseen or self._format.hidden:
            yield start, end, ""
            return
        skipped = min(self._to_skip, end - start)
        self._to_skip -= skipped
        if mark := self._marked("x").removesuffix("x"):
            yield start, start, mark
        if skipped:
            yield start, start + skipped, ""
        if self._charset() == _SYMBOL:
            for place in range(start + skipped, end):
                if (seen := in_symbol_font(self._text[place])) != self._text[place]:
                    yield place, place + 1, seen

    def _seen(self, text: str) -> str:
        return "" if self._format.unseen or self._format.hidden else text

    def _marked(self, text: str) -> str:
        """The text, and before it where crossed-out words begin or end."""
        if not text or self._was_struck == self._format.struck:
            return text
        self._was_struck = self._format.struck
        return STRUCK_OUT[not self._was_struck] + text


def _known(code_page: str) -> str:
    try:
        return codecs.lookup(code_page).name
    except LookupError:
        return "cp1252"
