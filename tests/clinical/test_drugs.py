"""The drug lexicon: what it knows, and what is said where it is missing or another file."""

from __future__ import annotations

import pytest

from chartdistill.clinical.lexica.drugs import drugs, is_installed, lexicon_path, read_lexicon
from chartdistill.errors import InputError


@pytest.mark.skipif(not is_installed(), reason="the drug lexicon is not installed")
def test_the_lexicon_knows_brands_and_their_ingredients() -> None:
    known = drugs()
    assert known.canonical("Tylenol") == known.canonical("acetaminophen") == "acetaminophen"
    assert "tylenol" in known.aliases("Acetaminophen")
    assert known.aliases("Quavolex") == ()
    text = "Start Tylenol and normal saline; digoxin level 2."
    assert [text[start:end] for start, end in known.find(text)] == ["Tylenol", "normal saline"]


def test_a_missing_or_foreign_lexicon_says_what_to_do(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import bz2
    import pickle

    monkeypatch.setattr("chartdistill.clinical.lexica.drugs.PACKAGE", "no_such_package_here")
    with pytest.raises(InputError, match="pip install drug-named-entity-recognition"):
        lexicon_path()
    path = tmp_path / "lexicon.pkl.bz2"
    path.write_bytes(bz2.compress(pickle.dumps({"drug_variant_to_canonical": {"a": ["b"]}})))
    assert read_lexicon(path) == {"a": "b"}
    path.write_bytes(bz2.compress(pickle.dumps(print)))
    with pytest.raises(InputError, match="plain containers only"):
        read_lexicon(path)
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="is not the drug lexicon"):
        read_lexicon(path)
