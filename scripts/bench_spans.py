"""What `constrain: spans` costs: set-up per tokenizer and per record, and per token, in CPU time of one core.

    .venv/bin/python scripts/bench_spans.py MODEL_FOLDER [--words 3000] [--tokens 49152] [--answers 40]

Charts are synthetic ones put together until they have `--words` words. Answers are random: of the tokens allowed, one
is drawn, with odds against the end, so that they have items of many lengths. `--tokens` larger than the tokenizer's own
vocabulary adds pairs of its tokens, for the size of another.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path

import xgrammar

from chartdistill.clinical.text.quoting import quotable
from chartdistill.demo.charts import write_chart
from chartdistill.prompting.chart_spans import SpanGrammar
from chartdistill.prompting.span_decoding import SpanMatcher, SpanVocabulary, token_vocabulary
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.start import prepare_process

STATUSES = ("start", "continue", "change", "stop", "hold", "past", "avoid", "given-once")


def main() -> None:
    """Measure and print."""
    prepare_process()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a folder with a tokenizer")
    parser.add_argument("--words", type=int, default=3000, help="words of a chart")
    parser.add_argument("--tokens", type=int, default=0, help="size of the vocabulary; 0: the tokenizer's own")
    parser.add_argument("--answers", type=int, default=40, help="answers written, each about another chart")
    given = parser.parse_args()
    tokenizer = load_tokenizer(given.model)
    token_bytes = list(xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer)).decoded_vocab)
    rng = random.Random(0)
    while len(token_bytes) < given.tokens:
        token_bytes.append(rng.choice(token_bytes) + rng.choice(token_bytes))
    begun = time.process_time()
    vocabulary = token_vocabulary(tokenizer, token_bytes)
    print(f"{len(token_bytes):,} tokens: set up in {time.process_time() - begun:.2f} s, once per engine")
    set_up, first, later = [], [], []
    for number in range(given.answers):
        grammar = SpanGrammar(quotable(chart(given.words, number)), STATUSES, ("medication", "medication"))
        begun = time.process_time()
        vocabulary.first_tokens(grammar.texts)
        vocabulary.crossing_at_start(grammar)
        set_up.append(time.process_time() - begun)
        write_answer(grammar, vocabulary, tokenizer.eos_token_id, rng, first, later)
    for name, seconds in (("per record", set_up), ("per item's first token", first), ("per other token", later)):
        low, high = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
        print(f"{name}: {1e3 * low:.2f} ms median, {1e3 * high:.2f} ms at the 95th percentile, n {len(seconds):,}")


def chart(num_words: int, number: int) -> str:
    """Synthetic notes one after the other."""
    rng, text = random.Random(number), ""
    while len(text.split()) < num_words:
        text += write_chart(rng, "train", num_words=600).text + "\n"
    return text


def write_answer(
    grammar: SpanGrammar,
    vocabulary: SpanVocabulary,
    end_id: int,
    rng: random.Random,
    first: list[float],
    later: list[float],
) -> None:
    """One random answer of at most 256 tokens; adds the seconds of each step to `first` or `later`."""
    begun = time.process_time()
    matcher = SpanMatcher(grammar, vocabulary, (end_id,))
    at_start = True
    for _ in range(256):
        shared, others = matcher.allowed()
        ids = others if shared is None else others.union(rng.sample(shared.ids, min(50, len(shared.ids))))
        seconds = time.process_time() - begun
        ending = [i for i in ids if i == end_id or "\n" in vocabulary.text(i) or "|" in vocabulary.text(i)]
        token = rng.choice(ending if ending and rng.random() < 0.5 else sorted(ids))
        (first if at_start else later).append(seconds)
        if token == end_id:
            return
        begun = time.process_time()
        matcher.accept(token)
        at_start = vocabulary.text(token).endswith("\n")


if __name__ == "__main__":
    main()
