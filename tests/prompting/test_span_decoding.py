"""Answers that can only quote their chart: what is admitted, and which tokens may come next, for several tokenizers."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

import pytest
import xgrammar
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.text.grounding import locate
from chartdistill.clinical.text.quoting import quotable
from chartdistill.config import load_task
from chartdistill.errors import ConfigError
from chartdistill.prompting.answer_format import NONE_FOUND, parse_lines, plain_key
from chartdistill.prompting.chart_spans import SpanGrammar, chart_words, fold
from chartdistill.prompting.span_decoding import SpanMatcher, SpanVocabulary, token_vocabulary
from chartdistill.prompting.token_table import TokenTable
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.schema import Task
from places import ROOT

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")
DIAGNOSIS = load_task(ROOT / "configs/tasks/diagnosis.yaml")
ABROAD = MEDICATION.model_copy(
    update={"statuses": ("arr\u00eat\u00e9", "arr\u00e8te", "\u505c", "\u505c\u6b62", "stop")}
)
"""Statuses that many tokenizers write in halves of characters."""
TASKS = [MEDICATION, DIAGNOSIS, ABROAD]
CHART = (
    "PLAN: Hold  Coumarol 2.5 mg b.i.d.\n\tTry na\u00efve-T caf\u00e9ol (Zeb\u00f6x), 50% better \u2265 \u00b5g "
    "70/30\r\nAllergies: None. Non-steroidal \u0394\u03a3 |\u00a0Fluxo-\nmide; Crohn\u2019s \u4e2d\u6587 \U0001f48a x"
)
CHARTS = [
    CHART, "Takes aspirin.", "No medications.", "", "| - .", "\U0001f48a", "a b a b a", "NONE FOUND in\n\nurine",
    "(None) Stop \ufb02uoxetine; Stage \u2163, 38\u2103, 5\u339d o\ufb03ce-\n\ufb01lm "
    "\ufb01\u0301x 5\u338e \uff76\uff9e\uff9d \u01c6",
]  # fmt: skip


def byte_level(chart: str) -> PreTrainedTokenizerFast:
    """As GPT-2's, with tokens that hold several words, half characters, and ends of lines together with marks."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<end>"]
    )
    lines = [
        chart,
        chart.lower(),
        chart.upper(),
        "aspirin | stop\nCoumarol | start\nNone found",
        "b.i.d.\n",
        " | stop\n",
    ]
    tokenizer.train_from_iterator(lines * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


@pytest.fixture(scope="module")
def demo_tokenizer() -> Any:
    return load_tokenizer(ROOT / "src/chartdistill/demo/models/student")


@pytest.fixture(scope="module")
def tokenizers_(demo_tokenizer: Any) -> list[tuple[Any, SpanVocabulary]]:
    """One with word markers and bytes for what it lacks, one of bytes."""
    return [(one, vocabulary_of(one)) for one in (demo_tokenizer, byte_level(CHART))]


def vocabulary_of(tokenizer: Any) -> SpanVocabulary:
    known = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer))
    return token_vocabulary(tokenizer, list(known.decoded_vocab))


def grammar(chart: str, task: Task = MEDICATION) -> SpanGrammar:
    return SpanGrammar.of(task, quotable(chart))


def allowed(matcher: SpanMatcher) -> set[int]:
    shared, others = matcher.allowed()
    return others.union(shared.ids if shared else ())


@pytest.mark.parametrize(
    "answer",
    [
        NONE_FOUND,
        " None found",
        "Coumarol | stop",
        "coumarol 2.5 MG b.i.d. | hold",
        "coumarol 2.5 mg b.i.d | hold",
        "Hold Coumarol 2.5 mg | stop\n (Zeb\u00f6x) | start",
        "caf\u00e9ol | start\ncafeol | stop",  # another name, letter by letter
        "CAF\u00c9OL (ZEB\u00d6X) | start",
        "50% | start\n70/30 | stop\n\u00b5g 70/30 Allergies | past",
        "Non-steroidal \u03b4\u03c3 | avoid",
        "Fluxomide | continue\nCrohn's | past",
        "Crohn\u2019s \u4e2d\u6587 | past",
    ],
)
def test_words_of_the_chart_are_admitted(answer: str) -> None:
    assert grammar(CHART).admits(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "none found",
        "None found\n",
        "None found | stop",
        "None found\nCoumarol | stop",
        "Coumarol | stop\nNone found",
        "None | avoid",  # the chart's word, and no item
        "Coumarol",
        "Coumarol | halt",
        "Coumarol | Stop",
        "Coumarol |stop",
        "Coumarol  2.5 mg | stop",
        "Coumarol | stop\n",
        "Coumarol | stop\n\nTry | start",
        "Coumarol | stop\ncoumarol | start\nCoumarol | stop\nCOUMAROL | stop\nTry | start",
        "Coumar | stop",
        "oumarol | stop",
        "5 mg | stop",  # of 2.5 mg
        "2 | stop",
        "70 | stop",
        "steroidal | avoid",  # of non-steroidal
        "aspirin | stop",
        "Coumarol aspirin | stop",
        "\u0394\u03a3 Fluxomide | stop",  # a | lies between
        "Fluxo- | stop",
        ". | stop",
        ") | stop",
        " | stop",
        "Zebox ) | stop",
    ],
)
def test_nothing_else_is_admitted(answer: str) -> None:
    assert not grammar(CHART).admits(answer)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_accent_can_be_quoted_however_the_chart_has_it(form: Literal["NFC", "NFD"]) -> None:
    chart = unicodedata.normalize(form, "Known M\u00e9ni\u00e8re disease. Caf\u00e9 au lait spots.")
    for said in ("M\u00e9ni\u00e8re disease", "Meniere disease", "Caf\u00e9", "Caf\u00e9 au lait spots", "Cafe"):
        assert grammar(chart, DIAGNOSIS).admits(said), said
        assert locate(said, chart) is not None, said


@pytest.mark.parametrize("before", ["", "Took ", "(", "\u2264"])
def test_a_number_keeps_the_point_that_it_begins_with(before: str) -> None:
    chart = f"{before}.5 mg of Coumarol, then Coumarol .25 mg..1 ml"
    for answer in (".5 mg of Coumarol | start", "Coumarol .25 mg | stop", ".25 mg | start"):
        assert grammar(chart).admits(answer), answer
    for answer in ("5 mg of Coumarol | start", "25 mg | stop", "25 | start", "5 | start"):
        assert not grammar(chart).admits(answer), answer


def test_a_task_without_statuses_lists_items_alone() -> None:
    lines = grammar("Has gout. No gout in the hand; asthma", DIAGNOSIS)
    assert lines.admits("gout\nasthma") and lines.admits("gout.\nGout in the hand")
    assert not lines.admits("gout | past") and not lines.admits("gout" + "\nGOUT." * 4) and not lines.admits("No")


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ("Coumarol | stop\nTry | start\ncoumarol | start", "Coumarol | stop\nTry | start"),
        ("b.i.d. | stop\nB.I.D | stop", "b.i.d. | stop"),
        ("Coumarol | stop\ncoumarol | hold\n Try | start\nTRY | start", "Coumarol | stop\n Try | start"),
        ("Coumarol | stop\nCoumarol 2.5 mg | stop", "Coumarol | stop\nCoumarol 2.5 mg | stop"),
        ("Coumarol | stop", "Coumarol | stop"),
        (NONE_FOUND, NONE_FOUND),
    ],
)
def test_lines_that_repeat_an_item_are_taken_off(answer: str, left: str) -> None:
    """So a model that has no more to say need not go on with the next words of the chart."""
    assert grammar(CHART).admits(answer) and grammar(CHART).without_repeats(answer) == left
    assert grammar(CHART).admits(left)


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("gout\nasth", "gout"),
        ("gout\nGout in", "gout\nGout in"),
        ("gout\n", "gout"),
        ("gou", ""),
        ("None fou", ""),
        ("gout", "gout"),
        (NONE_FOUND, NONE_FOUND),
    ],
)
def test_half_an_item_where_an_answer_was_cut_is_no_item(written: str, left: str) -> None:
    """ "asth" stands nowhere in the chart as a word, and would count as invented."""
    assert grammar("Has gout. No gout in the hand; asthma", DIAGNOSIS).without_half_item(written) == left


def test_half_a_line_with_a_status_stays_an_answer_that_breaks_the_format() -> None:
    assert grammar(CHART).without_half_item("Coumarol | stop\nTry | sta") == "Coumarol | stop\nTry | sta"


def test_where_no_item_is_left_only_none_or_the_end_is() -> None:
    assert grammar("").admits(NONE_FOUND) and not grammar("").admits("")
    assert grammar("Aspirin", DIAGNOSIS).admits("aspirin")
    tried = SpanMatcher(grammar("Aspirin", DIAGNOSIS), of_texts(["A", "spirin", "\n", "None found", "N"]), [99])
    assert tried.allowed()[1] | set(tried.allowed()[0].ids if tried.allowed()[0] else ()) == {0, 3, 4}
    tried.accept(0), tried.accept(1)
    for _ in range(3):
        assert allowed(tried) == {2, 99}
        for token in (2, 0, 1):
            tried.accept(token)
    assert allowed(tried) == {99}, "the third line that repeats an item is the last"


def of_texts(texts: Sequence[str]) -> SpanVocabulary:
    return SpanVocabulary([text.encode() for text in texts], ())


def brute_force(matcher: SpanMatcher, vocabulary: SpanVocabulary, size: int, end: int, control: set[int]) -> set[int]:
    """Each token tried by itself, character by character."""
    state = matcher._state
    assert state is not None
    found = {end} if state.may_end else set()
    for token in set(range(size)) - control - {end}:
        now = state
        for character in vocabulary.text(token) or "\n\n":
            now = None if now is None else now.then(character)
        if now is not None:
            found.add(token)
    return found


@pytest.mark.parametrize("task", TASKS, ids=["medication", "diagnosis", "statuses beyond ASCII"])
@pytest.mark.parametrize("which", [0, 1], ids=["word markers", "bytes"])
@pytest.mark.slow
def test_the_tokens_allowed_are_exactly_those_that_lead_to_an_answer(
    tokenizers_: list[tuple[Any, SpanVocabulary]], which: int, task: Task
) -> None:
    tokenizer, vocabulary = tokenizers_[which]
    control = {i for i, token in tokenizer.added_tokens_decoder.items()}
    rng = random.Random(7)
    for chart in CHARTS:
        for _ in range(6):
            matcher = SpanMatcher(grammar(chart, task), vocabulary, [tokenizer.eos_token_id])
            for _ in range(25):
                found = allowed(matcher)
                assert found == brute_force(matcher, vocabulary, len(tokenizer), tokenizer.eos_token_id, control)
                token = drawn(found, vocabulary, rng)
                matcher.accept(token)
                if token == tokenizer.eos_token_id:
                    break


def drawn(ids: set[int], vocabulary: SpanVocabulary, rng: random.Random) -> int:
    """Half the time one that leads on in the answer, or half a character, which are few."""
    rare = [i for i in ids if not (text := vocabulary.text(i)).isascii() or "|" in text or "\n" in text]
    return rng.choice(sorted(rare if rare and rng.random() < 0.5 else ids))


@example(chart="1\u00ad\n1", seed=2, which=0, task=TASKS[0])  # a soft hyphen that breaks no word
@settings(max_examples=60)
@given(
    chart=st.one_of(
        st.sampled_from(CHARTS),
        st.text(st.sampled_from("aB1.5/ \n-|(\u00e9\u03a3\u0130\u212a\u00ad\u200b\u0301\u4e2dxN%'\u2019"), max_size=60),
        st.text(max_size=30),
    ),
    seed=st.integers(0, 2**32),
    which=st.integers(0, 1),
    task=st.sampled_from(TASKS),
)
def test_a_random_model_can_only_quote(
    tokenizers_: list[tuple[Any, SpanVocabulary]], chart: str, seed: int, which: int, task: Task
) -> None:
    """Random logits: whatever is drawn, an answer that ends is in the format and each item stands in the chart."""
    tokenizer, vocabulary = tokenizers_[which]
    rng = random.Random(seed)
    matcher, ids = SpanMatcher(grammar(chart, task), vocabulary, [tokenizer.eos_token_id]), []
    while len(ids) < 60 and matcher.is_open:
        found = allowed(matcher)
        assert found, "a dead end"
        at_end = tokenizer.eos_token_id in found and rng.random() < 0.3
        ids.append(tokenizer.eos_token_id if at_end else drawn(found, vocabulary, rng))
        matcher.accept(ids[-1])
    if matcher.is_open:
        return
    text = tokenizer.decode(ids[:-1]).strip(" ")
    assert grammar(chart, task).admits(text)
    items = parse_lines(grammar(chart, task).without_repeats(text), task)
    assert items is not None
    assert len({plain_key(item.text) for item in items}) == len(items)
    for item in items:
        place = entity_of(task).locate(item.text, chart, threshold=101)
        assert place is not None and place.how == "exact", item.text


@settings(max_examples=60)
@given(data=st.data(), which=st.integers(0, 1), task=st.sampled_from(TASKS))
def test_the_tokenizers_own_ids_of_an_answer_are_allowed(
    tokenizers_: list[tuple[Any, SpanVocabulary]], data: st.DataObject, which: int, task: Task
) -> None:
    tokenizer, vocabulary = tokenizers_[which]
    chart = data.draw(st.sampled_from(CHARTS[:2] + CHARTS[6:]))
    words, lines = chart_words(quotable(chart)), list[str]()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.sampled_from(words.starts))
        end = data.draw(st.sampled_from([end for end in words.ends_from(start) if end > start]))
        change = data.draw(st.sampled_from([str, str.upper, str.title]))
        text = words.text[start:end]
        text = changed if fold(changed := change(text)) == text else text
        lines.append(f"{text} | {data.draw(st.sampled_from(task.statuses))}" if task.statuses else text)
    answer = "\n".join(lines)
    if not grammar(chart, task).admits(answer):  # an item twice, or one that says none
        return
    ids = [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
    matcher = SpanMatcher(grammar(chart, task), vocabulary, [tokenizer.eos_token_id])
    for token in ids:
        assert token in allowed(matcher)
        matcher.accept(token)
    assert not matcher.is_open and allowed(matcher) == set()


def test_a_status_may_be_written_in_halves_of_characters(tokenizers_: list[tuple[Any, SpanVocabulary]]) -> None:
    for tokenizer, vocabulary in tokenizers_:
        for status in ABROAD.statuses:
            matcher = SpanMatcher(grammar("Takes aspirin.", ABROAD), vocabulary, [tokenizer.eos_token_id])
            for token in [*tokenizer.encode(f"aspirin | {status}", add_special_tokens=False), tokenizer.eos_token_id]:
                assert token in allowed(matcher), status
                matcher.accept(token)


def test_what_is_not_allowed_is_an_error_and_ends_all() -> None:
    matcher = SpanMatcher(grammar("Takes aspirin.", DIAGNOSIS), of_texts(["aspirin", "gout"]), [9])
    with pytest.raises(ValueError, match="token 1"):
        matcher.accept(1)
    assert not matcher.is_open and allowed(matcher) == set()
    matcher = SpanMatcher(grammar("Takes aspirin.", DIAGNOSIS), of_texts(["aspirin", "gout"]), [9])
    with pytest.raises(ValueError, match="token 9"):
        matcher.accept(9)  # nothing is said yet


def test_every_word_of_a_chart_can_be_listed_and_then_the_answer_ends() -> None:
    chart = " ".join(f"drug{number}" for number in range(90))
    vocabulary = of_texts([f"drug{number}" for number in range(90)] + ["\n", " "])
    matcher, ids = SpanMatcher(grammar(chart, DIAGNOSIS), vocabulary, [999]), []
    for number in range(90):
        assert number in allowed(matcher)
        matcher.accept(number)
        if number < 89:
            assert 90 in allowed(matcher)
            matcher.accept(90)
        ids.append(number)
    assert 999 in allowed(matcher)
    again = SpanMatcher(grammar("drug1 drug2", DIAGNOSIS), vocabulary, [999])
    for token in (1, 90, 2, 90):
        again.accept(token)
    assert allowed(again) == {1, 2, 91}, "one space may begin a line"


def test_a_token_table_knows_tokens_by_their_beginnings() -> None:
    table = TokenTable([b"As", b"asp", b"ASPIRIN |", b"\xce", b"\xce\xb4 a", b"<x>", b"", b"a\tb"], frozenset({5}))
    assert [(at, ids) for at, ids in table.along("aspirin\0", 0)] == [(2, (0,)), (3, (1,))]
    assert [(at, ids) for at, ids in table.along("\u03b4 as\0", 0)] == [(1, (3,)), (3, (4,))]
    assert [text for ways in table.crossing.values() for text, _ in ways] == ["ASPIRIN |"]
    assert list(table.beginnings("Aspirin")) == [0]


def test_a_tokenizer_whose_tokens_are_not_what_it_reads_is_refused(demo_tokenizer: Any) -> None:
    known = xgrammar.TokenizerInfo.from_huggingface(demo_tokenizer, vocab_size=len(demo_tokenizer))
    wrong = [written.replace(b"A", b"B") for written in known.decoded_vocab]
    with pytest.raises(ConfigError, match="constrain: true"):
        token_vocabulary(demo_tokenizer, wrong)


def test_the_grammar_travels_as_plain_values() -> None:
    one = grammar(CHART)
    assert SpanGrammar.from_plain(one.as_plain()) == one


def test_folding_is_as_the_metrics_fold() -> None:
    """Every character that an item may give for one of the chart is the same to `grounding`."""
    from chartdistill.clinical.text.grounding import _fold
    from chartdistill.clinical.text.normalisation import normalise

    for code in range(0x20, 0x20000):
        one = chr(code)
        if one.isalpha() and fold(one) != one:
            read = [_fold(normalise(form).text) for form in (one, fold(one))]
            assert read[0] == read[1], hex(code)
