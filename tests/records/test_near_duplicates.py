"""Clusters: near-duplicates together, unrelated notes apart, whatever the order."""

from __future__ import annotations

import os
import random
import unicodedata
from pathlib import Path

import pytest

from chartdistill.demo.charts import write_chart
from chartdistill.records.cleaning import clean
from chartdistill.records.near_duplicates import ClusterBuilder, body_hash, cluster_records


def note(seed: int, num_words: int = 200) -> list[str]:
    """Words of a note that shares no run of five words with any other."""
    rng = random.Random(seed)
    return ["".join(rng.choices("bcdfghklmnprstaeiou", k=6)) for _ in range(num_words)]


def edited(words: list[str], num_edits: int, seed: int) -> str:
    """The note with some words replaced, evenly spread."""
    words = list(words)
    step = len(words) // num_edits
    for position in range(num_edits):
        words[position * step] = f"edit{seed}x{position}"
    return " ".join(words)


def test_case_punctuation_and_layout_do_not_count() -> None:
    builder = ClusterBuilder()
    assert builder.add("PLAN: Rest,\nfluids.") == builder.add("plan rest - fluids")
    assert builder.add("plan rest") != builder.add("plan fluids")


def test_near_duplicates_share_a_cluster() -> None:
    original = note(1)
    copies = [
        " ".join(original),
        edited(original, 4, 1),
        " ".join(original[:110]),  # cut short: contained in the first
        " ".join(note(2, 60) + original),  # carried forward under a new opening
    ]
    assert len(set(cluster_records(copies))) == 1


def test_overlap_below_the_thresholds_does_not_join() -> None:
    first, second = note(1), note(2)
    # 86 of 196 shingles shared: Jaccard 0.28, containment 0.44.
    assert len(set(cluster_records([" ".join(first), " ".join(first[:90] + second[:110])]))) == 2


def test_links_join_through_others() -> None:
    words = note(1, 400)
    windows = [" ".join(words[start : start + 200]) for start in (0, 50, 100, 150, 200)]
    assert len(set(cluster_records([windows[0], windows[-1]]))) == 2
    assert len(set(cluster_records(windows))) == 1


def test_template_text_does_not_glue_notes() -> None:
    form = note(0, 150)
    filled = [" ".join(form + note(seed, 60)) for seed in range(1, 61)]
    # Jaccard of two filled forms is about 0.55: only the words filled in tell them apart.
    assert len(set(cluster_records(filled))) == 60
    assert len(set(cluster_records(filled[:2]))) == 1


def test_copies_among_template_notes_are_found() -> None:
    form = note(0, 150)
    bodies = [note(seed, 120) for seed in range(1, 61)]
    texts = [" ".join(form + body) for body in bodies]
    texts += [" ".join(form[:100]) + " " + edited(body, 6, seed) for seed, body in enumerate(bodies)]
    ids = cluster_records(texts)
    assert ids[:60] == ids[60:]
    assert len(set(ids)) == 60


def test_a_large_family_stays_whole() -> None:
    families = [note(seed, 120) for seed in range(6)]
    texts = [edited(words, 3, copy) for words in families for copy in range(100)]
    ids = cluster_records(texts)
    assert len(set(ids)) == 6
    assert all(len(set(ids[start : start + 100])) == 1 for start in range(0, 600, 100))


def test_order_and_repetition_change_no_id() -> None:
    texts = [edited(note(seed), 3, copy) for seed in range(20) for copy in range(3)]
    by_text = dict(zip(texts, cluster_records(texts), strict=True))
    shuffled = random.Random(5).sample(texts * 2, 2 * len(texts))
    assert cluster_records(shuffled) == [by_text[text] for text in shuffled]


@pytest.mark.parametrize("texts", [[], [""], ["", "..."], ["cough"], ["cough", "fever"], ["a b c d e", "a b c d f"]])
def test_tiny_texts_cluster_by_their_words(texts: list[str]) -> None:
    words = {" ".join(text.replace(".", "").split()) for text in texts}
    assert len(set(cluster_records(texts))) == len(words)


def test_independent_synthetic_charts_stay_apart() -> None:
    texts = [write_chart(random.Random(seed), "train").text for seed in range(700)]
    assert len(set(cluster_records(texts))) == 700


@pytest.mark.skipif("CHARTDISTILL_CHARTS" not in os.environ, reason="needs a folder of real charts")
def test_real_charts_have_fewer_clusters_than_bodies() -> None:
    files = sorted(Path(os.environ["CHARTDISTILL_CHARTS"]).rglob("*.txt"))
    builder = ClusterBuilder()
    bodies = {builder.add(clean(file.read_text(encoding="utf-8", errors="replace")).text) for file in files}
    assert len(set(builder.clusters().values())) < len(bodies) < len(files)


def as_web(text: str) -> str:
    """With a soft hyphen in each long word, as web pages break lines."""
    return " ".join(f"{word[:3]}\u00ad{word[3:]}" if len(word) > 5 else word for word in text.split(" "))


def as_pdf(text: str) -> str:
    for letters, one in (("ffi", "\ufb03"), ("ff", "\ufb00"), ("fi", "\ufb01"), ("fl", "\ufb02")):
        text = text.replace(letters, one)
    return text.replace("fibrillation", "fibril-\nlation").replace("furosemide", "furose-\n mide")


FRENCH = (
    "Le patient \u00e2g\u00e9 de soixante-dix ans a \u00e9t\u00e9 hospitalis\u00e9 apr\u00e8s une chute \u00e0 "
    "l\u2019h\u00f4pital. Diab\u00e8te \u00e9quilibr\u00e9, hypertension trait\u00e9e."
)
KOREAN = "\ud658\uc790\ub294 \ub2f9\ub1e8\ubcd1 \uc9c4\ub2e8\uc744 \ubc1b\uc558\ub2e4"
ENGLISH = (
    "He first felt difficulty in flexing his fingers. Office follow-up confirmed fibrillation; fluoxetine was stopped, "
    "and furosemide was continued at a fixed dose. Final findings: fluid in the left flank, fibrosis, reflux, five."
)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (FRENCH, unicodedata.normalize("NFD", FRENCH)),
        (ENGLISH, as_pdf(ENGLISH)),
        (ENGLISH, as_web(ENGLISH)),
        (ENGLISH, ENGLISH.replace("flank", "fl\u200bank").replace("five", "\uff46\uff49\uff56\uff45")),
        (ENGLISH, ENGLISH.replace("-", "\u2011").replace(" ", "\u00a0")),
        (KOREAN, unicodedata.normalize("NFD", KOREAN)),
        (
            "\uff92\uff84\uff8e\uff99\uff90\uff9d \uff71\uff91\uff9b\uff7c\uff9e\uff8b\uff9f\uff9d",
            "\u30e1\u30c8\u30db\u30eb\u30df\u30f3 \u30a2\u30e0\u30ed\u30b8\u30d4\u30f3",
        ),
        (
            "GRO\u1e9eE und Stra\u00dfe sind hier genannt worden.",
            "Gr\u00f6\u00dfe und STRASSE sind hier genannt worden.",
        ),
        ("Gave 5 \u00b5g of drug at 37 \u2103 today to him.", "Gave 5 \u03bcg of drug at 37 \u00b0C today to him."),
    ],
)
def test_a_chart_in_other_characters_is_the_same_chart(text: str, other: str) -> None:
    assert text != other
    assert body_hash(text) == body_hash(other)
    assert len(set(cluster_records([text, other]))) == 1
