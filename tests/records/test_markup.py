"""Markup and control characters: what a reader saw, with the map back to the file; and what only looks like markup."""

from __future__ import annotations

import gc
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.records.cleaning import clean
from chartdistill.schema import Record

FONTS = r"{\fonttbl{\f0\fswiss Arial;}{\f1\fcharset2 Symbol;}{\f2\fcharset204 Arial;}{\f3\fcharset128 Gothic;}}"


def rtf(body: str) -> str:
    return r"{\rtf1\ansi\ansicpg1252\deff0" + FONTS + r"{\colortbl;\red255;}\f0\fs20 " + body + "}"


def found_in(original: str, word: str) -> str:
    """What stands in the file where the cleaned text has a word."""
    cleaned = clean(original)
    start = cleaned.text.index(word)
    record = Record(
        id="r", source="s", text=cleaned.text, cluster="c", split="test", segments=cleaned.segments
    ).original_span(start, start + len(word))
    assert record is not None
    return original[slice(*record)]


@pytest.mark.parametrize(
    ("original", "text"),
    [
        ("<p>Cough.</p><p>Fever.</p>", "Cough.\n\nFever."),
        ("<div>Cough.<div>Fever.</div></div>", "Cough.\nFever."),
        ("Cough.<br/>Fever.<BR>Rash.", "Cough.\nFever.\nRash."),
        ("<ul>\n  <li>Zinc\n    5 mg</li>\n  <li>Iron</li>\n</ul>", "Zinc 5 mg\nIron"),
        ("<table><tr><th>Na</th><td>140</td></tr><tr><td>K</td></tr></table>", "Na\t140\nK"),
        ("<html><head><title>x</title><style>p {color: red}</style></head><body>Cough</body></html>", "Cough"),
        ("<!-- <p>old</p> --><p class='a>b'>Cough <b>now</b></p>", "Cough now"),
        ("Takes\n<b>zinc</b>\ndaily", "Takes\nzinc\ndaily"),  # no tag makes lines here, so newlines do
        ("<p>Takes\n<b>zinc</b>\ndaily</p>", "Takes zinc daily"),
        ("Meds:\nZinc<br>\nIron\nPlan:\nRest", "Meds:\nZinc\nIron\nPlan:\nRest"),  # one slip makes no HTML
        ("Meds:\r\nZinc <br/> Iron\r\n\r\nPlan:\r\nRest</div>", "Meds:\nZinc \n Iron\n\nPlan:\nRest"),
        ("Takes zinc\ndaily.<br>Also\niron.<br>\nRest.<br>", "Takes zinc daily.\nAlso iron.\nRest."),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<p>Hgb <7 and O2 <90% > 5, Dr. <NAME> at <TIME></p>", "Hgb <7 and O2 <90% > 5, Dr. <NAME> at <TIME>"),
        (
            "<p>Zinc 5&nbsp;mg, Hgb&lt7, D&amp;C, 5 &micro;g &#8217; &#x2264; &nbsp</p>",
            "Zinc 5 mg, Hgb<7, D&C, 5 µg ’ ≤",
        ),
        ("Hgb &lt; 7, D&amp;C", "Hgb < 7, D&C"),
        ("&lt;p&gt;Cough&lt;/p&gt;&lt;p&gt;Hgb &amp;lt; 7&lt;/p&gt;", "Cough\n\nHgb < 7"),
        ("<p>Stop <del>zinc</del> iron</p>", "Stop [struck out: zinc] iron"),
        ("<p>10<sup>3</sup> on the 1<sup>st</sup>, O<sub>2</sub></p>", "10^3 on the 1st, O2"),
        (
            "<p><input type='checkbox' checked>Gout <input type=checkbox /> Asthma<input type='text' value='x'></p>",
            "[x] Gout [ ] Asthma",
        ),
        (
            '<td>Smokes</td><td><INPUT TYPE="radio" CHECKED="checked">no<input type="radio" name="checked">yes</td>',
            "Smokes\t[x] no[ ] yes",
        ),
        ('<p>5 <font face="Symbol">m</font>g <span style="font-family: Symbol">&#179;</span></p>', "5 μg ≥"),
        ('Seen by <PHI TYPE="DOCTOR">Lee</PHI> on <DATE>1/2</DATE>', "Seen by Lee on 1/2"),
        ('<?xml version="1.0"?>\n<note><plan>Check BMP</plan><meds>Zinc</meds></note>', "Check BMP\nZinc"),
        ("<note><![CDATA[Hgb <7]]></note>", "Hgb <7"),
        ("Cough</p>", "Cough"),
        ('<o:p>Cough</o:p><a href="x">now</a>', "Coughnow"),
    ],
)
def test_html_and_xml_become_what_a_reader_saw(original: str, text: str) -> None:
    cleaned = clean(original)
    assert cleaned.text == text
    assert "markup" in cleaned.removed


@pytest.mark.parametrize(
    "text",
    [
        "Hgb <7, plt <100 and >50; O2 <90%; pain {7/10}",
        "Seen by <NAME> on <DATE> at <TIME>, <ADDRESS>, HR <HR>, BP <BP>",
        "a<b and b>c, x <y or z>",
        "The end </s> of <s> a turn <|im_end|>",
        "Words <s> between </s> tokens",
        "Hx of <?> and <?dose>, <!!>, <-- here, --> there",
        "Write to <lee@example.org> or <http://example.org/a>",
        "PT&OT; A&P; R&D; AT&T; B&lt",
        r"C:\rtf1\par {\b bold}",
        "A <p> value",
        "\ttab\nand newline",
    ],
)
def test_what_only_looks_like_markup_stays(text: str) -> None:
    cleaned = clean(f"Seen. {text} End.")
    assert (cleaned.text, cleaned.removed) == (f"Seen. {text} End.", ())


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"{\b Plan:}\par Zinc 5 mg\line Iron", "Plan:\nZinc 5 mg\nIron"),
        (r"A. }}\par B. {\i C.}\par", "A. \nB. C."),  # braces that do not pair
        (r"Caf\'e9, 38\'b0C, \ldblquote it\rquote s\rdblquote , a\emdash b\~c\_d", "Café, 38°C, “it’s”, a—b c-d"),
        (r"{\f2\'cf\'f0} {\f3\'83\'41} 50 {\f1 m}g {\f1\'a3} 7", "Пр ア 50 μg ≤ 7"),
        (r"\u8804? 7, \u-10179?\u-8704?, {\uc2\u233\'c3\'a9}t\uc0\u233 t", "≤ 7, 😀, étét"),
        (r"\u-3987\'6dg", "μg"),
        (r"{\*\generator Word;}{\info{\author Lee}}{\header Page 1}Cough{\pict\pngblip 89504e47}", "Cough"),
        (r"{\field{\*\fldinst HYPERLINK x}{\fldrslt seen}} {\v hidden}{\deleted gone}now", "seen now"),
        (r"Stop {\strike zinc 5 mg} iron\strike all\strike0", "Stop [struck out: zinc 5 mg] iron[struck out: all]"),
        (r"10{\super 3}, 1{\super st}", "10^3, 1st"),
        (r"\trowd Na\cell 140\cell\row\trowd K\cell 4\cell\row", "Na\t140\nK\t4"),
        (r"pain \{7/10\}, C:\\x, Hgb <7 & O2 <90%", r"pain {7/10}, C:\x, Hgb <7 & O2 <90%"),
        ("one \r\nline{\\bin4 }}}}", "one line"),
    ],
)
def test_rtf_becomes_what_a_reader_saw(body: str, text: str) -> None:
    cleaned = clean(rtf(body))
    assert cleaned.text == text
    assert "rtf" in cleaned.removed


def test_text_around_rtf_keeps_its_lines() -> None:
    assert clean("NOTE\n" + rtf(r"Cough\par") + "\nFever\nRash").text == "NOTE\nCough\n\nFever\nRash"


@pytest.mark.parametrize(
    ("original", "text"),
    [
        ("speci\0c, \0uoxetine, 50 \x02g", "speci\ufffdc, \ufffduoxetine, 50 \ufffdg"),
        ("a\0\0\0b", "a\ufffdb"),
        ("Hgb \0 7", "Hgb \ufffd 7"),
        ("Zinc\0\0\0\nIron\0", "Zinc\nIron"),
        ("\x02Cough\x03\x1a", "Cough"),
        ("Page one\x0cPage two\x0bline", "Page one\nPage two\nline"),
        ("doesn\x92t \x93eat\x94, 5 \x80", "doesn’t “eat”, 5 €"),
        ("\x1b[1mPlan\x1b[0m: rest", "Plan: rest"),
        ("a\x81b", "a\ufffdb"),
        ("\ufeffCough", "Cough"),
    ],
)
def test_control_characters_leave_what_is_known_or_a_mark(original: str, text: str) -> None:
    assert clean(original).text == text


def test_spans_lead_back_into_the_file() -> None:
    html = "<p>Takes&nbsp;<b>zinc</b> &lt; 5&nbsp;mg</p>"
    assert found_in(html, "zinc") == "zinc"
    assert found_in(html, "zinc < 5 mg") == "zinc</b> &lt; 5&nbsp;mg"
    assert found_in(rtf(r"Caf\'e9 {\b zinc} 5\~mg"), "zinc 5 mg") == r"zinc} 5\~mg"
    assert found_in("speci\0c plan", "speci\ufffdc") == "speci\0c"


_PIECES = st.sampled_from(
    [
        *"<p> </p> <b> </b> <br> <s> </s> < > & &lt; &amp; &gt; &#60; nan , . <!-- --> <pre> </pre> <td>".split(),
        *"<script> </script> \\rtf1 { } \\par \\'e9 \\u60? \\strike \\strike0 \\super \\f1 \\v \\bin3 \\*".split(),
        *("{\\rtf1 ", "\\{", "<sup>", "3", "lt;", "p>", "rtf1", " ", "\n", "\0", "\x92"),
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.lists(_PIECES, max_size=25).map("".join))
def test_any_markup_keeps_its_map_and_is_clean_after_one_call(original: str) -> None:
    cleaned = clean(original)
    for start, original_start, length in cleaned.segments:
        assert cleaned.text[start : start + length] == original[original_start : original_start + length]
    ends = [(start + length, origin + length) for start, origin, length in cleaned.segments]
    assert all(b[0] >= a[0] and b[1] >= a[1] for a, b in zip(ends, cleaned.segments[1:], strict=False))
    again = clean(cleaned.text)
    assert (again.text, again.removed) == (cleaned.text, ())


@pytest.mark.parametrize(
    "unit", ["<", "<a '", "<!--", "<![CDATA[", "&", "<script>", "{\\rtf1 {", "\\'e9", "\0", "<s></s>"]
)
def test_the_time_grows_with_the_length(unit: str) -> None:
    def seconds(size: int) -> float:
        gc.disable()  # which looks through all that other tests of this process have loaded
        try:
            started = time.process_time()
            clean("{\\rtf1 <p><p>" + unit * (size // len(unit)))
            return time.process_time() - started
        finally:
            gc.enable()

    assert seconds(400_000) < 10 * max(seconds(100_000), 0.05)
