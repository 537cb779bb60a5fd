"""`import-model`: a GGUF file becomes the model that it is, or nothing and a sentence."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chartdistill import cli
from chartdistill.errors import ChartDistillError, InputError, ModelError
from chartdistill.runtime import whole_folder as whole_folder_module
from chartdistill.runtime.gguf_file import DIGITS_APART, read_gguf
from chartdistill.runtime.gguf_model import IMPORT_NOTE, import_gguf, sha256
from chartdistill.runtime.model_folder import check_model, licence, load_tokenizer
from chartdistill.runtime.whole_folder import whole_folder
from gguf_files import make_model, make_tokenizer, write_gguf
from places import ROOT

pytest.importorskip("gguf")
TEXTS = ["a  25 mg", "Pt. 67 y/o\n\n  12.5 mg   q.d.", "in  2 weeks,\t10"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    return make_model(tokenizer.get_vocab_size())


@pytest.fixture(scope="module")
def file(model: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", model, tokenizer)


@pytest.fixture(scope="module")
def imported(file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    folder, said = tmp_path_factory.mktemp("models") / "Tiny", []
    # Beside the file lies what must not be looked at.
    (file.parent / "config.json").write_text('{"model_type": "mamba"}')
    (file.parent / "adapter_config.json").write_text('{"base_model_name_or_path": "nowhere"}')
    text = file.parent / "words.txt"
    text.write_text("Apache License\nVersion 2.0\n")
    note = import_gguf(file, folder, text, any_answers=True, say=said.append)
    return folder, note, said


def test_the_folder_is_the_model_of_the_file(imported: Any, model: Any, tokenizer: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = imported[0]
    check_model(folder)
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    ids = torch.tensor([[5, 9, 70, 12, 33]])
    rounded = copy.deepcopy(model)
    rounded.load_state_dict({name: value.to(torch.bfloat16) for name, value in model.state_dict().items()})
    with torch.no_grad():
        assert torch.allclose(again(ids).logits, rounded(ids).logits, atol=1e-4)
    found = load_tokenizer(folder)
    for text in TEXTS:
        assert found.encode(text, add_special_tokens=False) == tokenizer.encode(text).ids
    assert found.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False).startswith("<|im_start|>user")
    assert found.eos_token == "<|im_end|>" and found.model_max_length == 512


def test_the_note_says_what_it_was_made_from(imported: Any, file: Path) -> None:
    folder, note, said = imported
    assert note == json.loads((folder / IMPORT_NOTE).read_text())
    assert note["source"] == {"name": "tiny.gguf", "bytes": file.stat().st_size, "sha256": sha256(file)}
    assert set(note["result"]) == {path.name for path in folder.iterdir()} - {IMPORT_NOTE}
    assert all(sha256(folder / name) == value for name, value in note["result"].items())
    assert len(note["answers"]) == 3 and all(note["answers"].values())
    assert licence(folder) == "apache-2.0" and (folder / "LICENSE").read_text().startswith("Apache")
    for path in folder.iterdir():
        assert str(file.parent).encode() not in path.read_bytes(), f"{path.name} holds a path of this machine"
    assert said[0].startswith("converting") and "is ready" in said[-1]


def test_what_is_done_is_not_done_again(imported: Any, file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Tiny"
    shutil.copytree(imported[0], folder)
    said: list[str] = []
    assert import_gguf(file, folder, say=said.append) == imported[1]
    assert len(said) == 1 and "nothing to do" in said[0]
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer\.json was changed or removed"):
        import_gguf(file, folder)


def test_quantised_weights_come_out_as_they_were_stored(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    import gguf
    import torch
    from safetensors.torch import load_file

    file = write_gguf(tmp_path / "q8.gguf", model, tokenizer, quantised=True)
    import_gguf(file, tmp_path / "Q8", any_answers=True)
    found = load_file(tmp_path / "Q8" / "model.safetensors")
    value = model.state_dict()["model.layers.1.mlp.down_proj.weight"].float().numpy()
    kind = gguf.GGMLQuantizationType.Q8_0
    stored = torch.from_numpy(gguf.dequantize(gguf.quantize(value, kind), kind)).to(torch.bfloat16)
    assert torch.equal(found["model.layers.1.mlp.down_proj.weight"], stored)


def test_a_model_that_answers_nonsense_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"only 0 of its 3 answers are right.*--any-answers"):
        import_gguf(file, tmp_path / "Tiny")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"architecture": "clip"}, ModelError, r"no GGUF file of architecture 'clip'; allowed: .*llama"),
        ({"template": None}, ModelError, "no chat template.*instruct"),
        ({"split": None}, ModelError, "does not say how its tokenizer cuts text.*newer file"),
        ({"split": "new-bpe"}, ModelError, "says 'new-bpe'.*allowed: .*smollm"),
        ({"kind": "adapter"}, ModelError, "of type 'adapter'"),
        ({"parts": 3}, InputError, "one of 3 parts.*llama-gguf-split --merge"),
        ({"extra": "rope_freqs.weight"}, ModelError, "does not read all of its weights"),
        ({"without": "blk.1.ffn_up.weight"}, ModelError, r"missing_keys: model\.layers\.1\.mlp\.up_proj"),
        ({"template": "{{ raise_exception('no') }}"}, ModelError, "chat template fails"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_would_be_another_model_is_refused(
    model: Any, tokenizer: Any, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", model, tokenizer, **changes)
    with pytest.raises(kind, match=message):
        import_gguf(file, tmp_path / "models" / "Tiny", any_answers=True)
    assert not list((tmp_path / "models").iterdir() if (tmp_path / "models").exists() else [])


def test_a_vocabulary_that_does_not_hold_together_is_refused(
    imported: Any, model: Any, tokenizer: Any, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", model, tokenizer, merges=[("zz", "qq")])
    with pytest.raises(ModelError, match=r"no tokenizer of its vocabulary \(.*out of vocabulary\).*safetensors"):
        import_gguf(file, tmp_path / "models" / "Tiny", any_answers=True)
    folder = shutil.copytree(imported[0], tmp_path / "Copy")
    for damaged in ('{"version": "1.0", "model": {"type": "none"}}', '{"added_tokens": [], "model": {"type": "none"}}'):
        (folder / "tokenizer.json").write_text(damaged)
        with pytest.raises(ModelError, match=r"the tokenizer in .*Copy cannot be loaded \(.*copy them again"):
            load_tokenizer(folder)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.04, 0.1, 0.3, 0.6, 0.9, 0.999])
def test_a_file_that_is_cut_short_is_refused(file: Path, tmp_path: Path, share: float) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[: max(4, int(file.stat().st_size * share))])
    with pytest.raises(InputError, match=r"cut off|ends early or is damaged"):
        read_gguf(cut)


def test_weights_of_an_unknown_type_are_said_to_be_that(file: Path, tmp_path: Path) -> None:
    content, name = bytearray(file.read_bytes()), b"output_norm.weight"
    kind = content.index(name) + len(name) + struct.calcsize("<IQ")  # behind its number of dimensions, and the one
    content[kind : kind + 4] = struct.pack("<I", 999)
    (tmp_path / "new.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"weights of type 999, which .*another quantisation"):
        read_gguf(tmp_path / "new.gguf")


@pytest.mark.parametrize("content", [b"", b"GG", b"version https://git-lfs", b"<!doctype html>", b"PK\x03\x04"])
def test_what_is_no_gguf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(content)
    with pytest.raises(InputError, match="not a GGUF file: it begins with"):
        read_gguf(file)


def _entry(name: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack("<IQQ", 1, 0, 0), "of version 1; versions 2 and 3 are read"),
        (struct.pack("<IQQ", 99, 0, 0), "of version 99; versions 2 and 3 are read"),
        (struct.pack("<IQQ", 3, 0, 1) + _entry("a", 9, struct.pack("<IQ", 4, 2**60)), "a list of .* entries"),
        (struct.pack("<IQQ", 3, 0, 1) + _entry("a", 9, struct.pack("<IQ", 8, 2**20)), "entry 1 goes beyond its end"),
        (struct.pack("<IQQ", 3, 0, 2**62) + _entry("a", 8, struct.pack("<Q", 0)), "entry 2 goes beyond its end"),
        (struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**63), "entry 1 goes beyond its end"),
        (struct.pack("<IQQ", 3, 0, 1) + _entry("a", 9, struct.pack("<IQ", 9, 1) * 9999), "unknown type 9"),
        (struct.pack("<IQQ", 3, 0, 1) + _entry("a", 77, b""), "unknown type 77"),
    ],
)
def test_counts_that_the_file_has_no_room_for_are_refused_at_once(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF" + content)
    with pytest.raises(InputError, match=message):
        read_gguf(file)


@pytest.mark.parametrize("name", ["split.count", "general.license", "tokenizer.chat_template"])
def test_metadata_of_another_kind_are_refused(tmp_path: Path, name: str) -> None:
    wrong = struct.pack("<I", 7) if name != "split.count" else struct.pack("<Q", 1) + b"x"
    entries = _entry(name, 8 if name == "split.count" else 4, wrong)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + entries
    head += struct.pack("<Q", 1) + b"w" + struct.pack("<IQIQ", 1, 4, 0, 0)
    file = tmp_path / "x.gguf"
    file.write_bytes(head + bytes(-len(head) % 32 + 64))
    with pytest.raises(InputError, match=f"its {name} is of type"):
        read_gguf(file)


def test_what_is_not_there_or_taken_is_refused(imported: Any, file: Path, tmp_path: Path) -> None:
    for wrong in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(InputError, match=r"cannot be read.*Name a \.gguf file"):
            import_gguf(wrong, tmp_path / "Tiny")
    with pytest.raises(InputError, match="--licence"):
        import_gguf(file, tmp_path / "Tiny", licence=tmp_path / "none.txt")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    a_file, dangling, other = tmp_path / "a file", tmp_path / "link", tmp_path / "other"
    a_file.write_text("mine")
    dangling.symlink_to(tmp_path / "nowhere")
    shutil.copytree(imported[0], other)
    (other / IMPORT_NOTE).write_text((other / IMPORT_NOTE).read_text().replace(sha256(file), "0" * 64))
    for folder in (taken, a_file, dangling, other):
        with pytest.raises(InputError, match="there already, and was not made from this file"):
            import_gguf(file, folder)
    assert (taken / "notes.txt").read_text() == a_file.read_text() == "mine"


def test_an_empty_folder_is_filled(file: Path, tmp_path: Path) -> None:
    (tmp_path / "Tiny").mkdir()
    import_gguf(file, tmp_path / "Tiny", any_answers=True)
    check_model(tmp_path / "Tiny")


def test_a_link_to_an_empty_folder_and_the_current_folder_are_filled(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "Tiny").symlink_to(tmp_path / "disk")
    import_gguf(file, tmp_path / "Tiny", any_answers=True)
    check_model(tmp_path / "disk")
    assert (tmp_path / "Tiny").is_symlink()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    import_gguf(file, Path(), any_answers=True)
    check_model(tmp_path / "here")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Tiny", "disk", "here"]


def test_who_ends_takes_nothing_of_who_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, later, replace = tmp_path / "Tiny", contextlib.ExitStack(), os.replace

    def replaced(work: Path, place: Path) -> None:
        replace(work, place)
        monkeypatch.undo()
        (later.enter_context(whole_folder(folder)) / "begun").touch()  # another process, at once

    with whole_folder(folder) as work:
        (work / "made").touch()
        monkeypatch.setattr(os, "replace", replaced)
    assert (tmp_path / ".Tiny.partial" / "begun").exists() and (folder / "made").exists()
    with pytest.raises(InputError, match="another process is making"), whole_folder(folder):
        pass
    with pytest.raises(OSError, match="not empty"):
        later.close()
    assert [path.name for path in folder.iterdir()] == ["made"]
    assert [path.name for path in tmp_path.iterdir()] == ["Tiny"]


def test_a_working_folder_that_becomes_the_finished_one_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, work, lock = tmp_path / "Tiny", tmp_path / ".Tiny.partial", fcntl.flock

    def locked(held: int, how: int) -> None:
        if not folder.exists():  # the other process ends between our look and our lock
            (work / "made").touch()
            os.replace(work, folder)
        lock(held, how)

    monkeypatch.setattr(fcntl, "flock", locked)
    with contextlib.suppress(OSError), whole_folder(folder) as ours:
        assert list(ours.iterdir()) == []
        (ours / "ours").touch()
    assert [path.name for path in folder.iterdir()] == ["made"]


def test_what_another_process_made_in_the_meantime_is_left(
    imported: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, said, hold = tmp_path / "Tiny", [], whole_folder_module._hold

    def held(*arguments: Any) -> int:
        shutil.copytree(imported[0], folder)
        return hold(*arguments)

    monkeypatch.setattr(whole_folder_module, "_hold", held)
    assert import_gguf(file, folder, say=said.append) == imported[1]
    assert "in the meantime" in said[-1] and [path.name for path in tmp_path.iterdir()] == ["Tiny"]


@pytest.mark.slow
def test_a_full_disk_is_said_and_nothing_is_left(file: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from chartdistill.runtime.gguf_model import import_gguf\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "import_gguf(Path(sys.argv[1]), Path(sys.argv[2]), any_answers=True)"
    )
    command = [sys.executable, "-c", code, str(file), str(tmp_path / "Tiny")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ArtefactError: the disk is full while writing" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_import_leaves_nothing_that_looks_finished(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "Tiny"
    command = [sys.executable, str(ROOT / "tests/material/gguf_files.py"), str(file), str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "written\n"
    with pytest.raises(InputError, match="another process is making"):
        import_gguf(file, folder, any_answers=True)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not folder.exists() and [path.name for path in folder.parent.iterdir()] == [".Tiny.partial"]
    import_gguf(file, folder, any_answers=True)
    assert [path.name for path in folder.parent.iterdir()] == ["Tiny"]


def test_the_command_line_says_what_it_does(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["import-model", str(file), str(tmp_path / "Tiny"), "--any-answers"])
    assert "import-model: converting" in capsys.readouterr().err
    for arguments, code in (([str(tmp_path / "none.gguf"), "x"], InputError.exit_code),):
        with pytest.raises(SystemExit) as ended:
            cli.main(["import-model", *arguments])
        assert ended.value.code == code
    assert issubclass(InputError, ChartDistillError)


def test_the_splits_that_transformers_knows_are_left_to_it() -> None:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    assert not DIGITS_APART & set(GGUF_PRE_TOKENIZER_SPLITS)
