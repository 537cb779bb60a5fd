"""What the search after an erasure says of archives that it cannot look into."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chartdistill.erasure.search import search


@pytest.mark.parametrize("packed", [False, True])
def test_a_locked_archive_is_no_proof_however_deep_it_lies(packed: bool, tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("chart.txt", "words of a chart")
    locked = bytearray(made.getvalue())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.find(mark) + flags] |= 1  # encrypted
    (tmp_path / "kept.bin").write_bytes(gzip.compress(bytes(locked)) if packed else bytes(locked))
    traces: Any = SimpleNamespace(words_in=lambda _: False, id_in=lambda _: False, named_by=lambda _: False)
    left = search(tmp_path, traces, lambda _: False).left
    assert "cannot be opened" in left[tmp_path / "kept.bin"]
