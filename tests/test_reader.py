"""The Python interface, without an engine: what it is given that is no chart."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import chartdistill
from chartdistill.errors import InputError


@pytest.fixture
def reader() -> chartdistill.Reader:
    """Finds nothing in any chart."""
    from chartdistill.reader import Reader

    made = Reader.__new__(Reader)
    made._student = SimpleNamespace(read=lambda texts: [{} for _ in texts])  # type: ignore[assignment]
    return made


def test_one_chart_is_not_taken_for_a_list_of_its_characters(reader: chartdistill.Reader) -> None:
    with pytest.raises(TypeError, match="several charts, not one str"):
        reader.read_all("Takes Velorim.")
    assert len(reader.read_all(["Takes Velorim.", ""])) == 2


@pytest.mark.parametrize("given", [None, b"", b"Takes Velorim.", 0])
def test_what_is_no_text_is_said_by_its_kind(reader: chartdistill.Reader, given: object) -> None:
    with pytest.raises(TypeError, match=f"a chart must be a str, not {type(given).__name__}"):
        reader.read(given)  # type: ignore[arg-type]


def test_half_of_a_character_is_named_before_a_tokenizer_meets_it(reader: chartdistill.Reader) -> None:
    with pytest.raises(InputError, match="chart 2 of 2 has half of a surrogate pair"):
        reader.read_all(["Takes Velorim.", b"Caf\xe9".decode(errors="surrogateescape")])
