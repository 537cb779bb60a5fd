"""What the search after an erasure says of archives that it cannot look into."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chartdistill.erasure.erase import LeftoverError, erase
from chartdistill.erasure.search import search
from erasure_run import GONE, SECRET, write_run


@pytest.mark.parametrize("packed", [False, True])
def test_a_locked_archive_is_no_proof_however_deep_it_lies(packed: bool, tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("chart.txt", "words of a chart")
    locked = bytearray(made.getvalue())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.find(mark) + flags] |= 1  # encrypted
    (tmp_path / "kept.bin").write_bytes(gzip.compress(bytes(locked)) if packed else bytes(locked))
    assert "cannot be opened" in left_in(tmp_path)["kept.bin"]


def left_in(folder: Path) -> dict[str, str]:
    traces: Any = SimpleNamespace(words_in=lambda _: False, id_in=lambda _: False, named_by=lambda _: False)
    return {path.name: why for path, why in search(folder, traces, lambda _: False).left.items()}


def test_what_is_cut_or_spoilt_is_no_proof(tmp_path: Path) -> None:
    text = "words of a chart " * 200
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chart.txt", text)
    whole = made.getvalue()
    spoilt = bytearray(whole)
    spoilt[45:55] = b"\xff" * 10
    deep = text.encode()
    for _ in range(6):
        deep = gzip.compress(deep)
    files = {
        "cut.gz": gzip.compress(text.encode())[:-12], "cut.bz2": bz2.compress(text.encode())[:-5],
        "cut.xz": lzma.compress(text.encode())[:-9], "cut.zip": whole[:-30], "spoilt.zip": bytes(spoilt),
        "spoilt.zip.gz": gzip.compress(bytes(spoilt)), "headless.zip": b"xy" + whole[2:],
        "headless.zip.gz": gzip.compress(b"xy" + whole[2:]), "deep.gz": deep, "cut.parquet": b"PAR1" + b"\0" * 40,
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "whole.zip").write_bytes(whole)
    (tmp_path / "ones.bin").write_bytes(b"\xff" * 64)
    (tmp_path / "words.txt").write_text("BZh or PK begin these words")
    left = left_in(tmp_path)
    assert left.keys() == files.keys()
    assert all(why.startswith("cannot be read") for why in left.values()), left


def test_what_is_packed_in_a_form_that_is_not_unpacked_here_is_no_proof(tmp_path: Path) -> None:
    heads = {
        "7z": b"7z\xbc\xaf\x27\x1c\x00\x04", "rar": b"Rar!\x1a\x07\x01\x00", "zst": b"\x28\xb5\x2f\xfd\x24\x00",
        "lz4": b"\x04\x22\x4d\x18\x64\x40", "Z": b"\x1f\x9d\x90", "parquet": b"PARE\x15\x00",
    }  # fmt: skip
    for kind, head in heads.items():
        (tmp_path / f"kept.{kind}").write_bytes(head + b"\x00" * 20)
        (tmp_path / f"kept.{kind}.gz").write_bytes(gzip.compress(head + b"\x00" * 20))
    (tmp_path / "words.txt").write_text("PAR, 7z and Rar begin these words")
    left = left_in(tmp_path)
    assert len(left) == 2 * len(heads) and all("is not unpacked here" in why for why in left.values())


def test_a_folder_that_cannot_be_looked_into_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "closed").mkdir()
    look = os.scandir

    def refused(path: Any) -> Any:  # as the system does it to any user but root
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert left_in(tmp_path) == {"closed": "cannot be read (Permission denied)"}


def test_a_link_out_of_the_folder_is_no_proof_and_one_within_it_is_no_hindrance(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/notes.txt").write_text(SECRET)
    (run / "rounds/1").mkdir(parents=True)
    (run / "rounds/1/records").symlink_to(run / "records")
    (run / "gone").symlink_to(tmp_path / "nowhere")
    for name, target in (("moved", "elsewhere"), ("notes", "elsewhere/notes.txt")):
        (run / name).symlink_to(tmp_path / target)
        with pytest.raises(LeftoverError, match=rf"1 file: .*/{name}"):
            erase([run], [GONE], say=lambda line: None)
        (run / name).unlink()
    erase([run], [GONE], say=lambda line: None)
