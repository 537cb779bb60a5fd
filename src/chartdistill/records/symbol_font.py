"""The font Symbol: letters that a reader saw as Greek and as signs.

RTF and HTML write "50 µg" as the letter m in that font: taken for a letter it is 50 mg, a thousand times the dose.
Encoding: the Symbol character set of Adobe's PostScript Language Reference, appendix E.
"""

from __future__ import annotations

_GREEK = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖαβχδεφγηιϕκλμνοπθρστυϖωξψζ",
        strict=True,
    )
)
_SIGNS = {
    0xA2: "′", 0xA3: "≤", 0xA4: "/", 0xA5: "∞", 0xAB: "↔", 0xAC: "←", 0xAD: "↑", 0xAE: "→", 0xAF: "↓", 0xB0: "°",
    0xB1: "±", 0xB2: "″", 0xB3: "≥", 0xB4: "×", 0xB7: "•", 0xB8: "÷", 0xB9: "≠", 0xBB: "≈", 0xD7: "⋅",
}  # fmt: skip
_PRIVATE = 0xF000
"""Word writes such characters as U+F000 plus their code."""
_SAME = frozenset(" !#%&()+,./0123456789:;<=>?[]_{|}\t\r\n")


def in_symbol_font(char: str) -> str:
    """What a reader saw for this character; U+FFFD where that is not known."""
    code = ord(char)
    if _PRIVATE <= code <= _PRIVATE + 0xFF:
        code -= _PRIVATE
    if chr(code) in _SAME:
        return chr(code)
    return _GREEK.get(chr(code)) or _SIGNS.get(code) or ("−" if code == 0x2D else "\ufffd")
