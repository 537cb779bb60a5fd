"""The offline bundle: installed with no network at all, and refused when anything in it was touched."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bundle
from chartdistill.errors import ModelError
from places import ROOT
from small_project import make_project
from wheels import make_wheel


@pytest.fixture
def carried(tmp_path: Path) -> tuple[Path, Path]:
    """A small project with our install scripts, and a bundle for it."""
    project, folder = tmp_path / "project", tmp_path / "a stick" / "bundle"
    make_project(project)
    (folder / "wheels").mkdir(parents=True)
    wheel = make_wheel(folder / "wheels", "carried", "License-Expression: MIT")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (project / "requirements-cpu.lock").write_text(f"carried==1.0 --hash=sha256:{digest}\n")
    shutil.copy(project / "requirements-cpu.lock", folder)
    bundle.list_licences(folder, {})
    bundle.write_sums(folder)
    return project, folder


def install(project: Path, folder: Path, *around: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"BUNDLE": str(folder), "PYTHON": sys.executable}
    command = [*around, "bash", str(project / "scripts/install.sh")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s)


@pytest.mark.slow
def test_it_installs_where_there_is_no_network(carried: tuple[Path, Path]) -> None:
    project, folder = carried
    isolated = str(project / "scripts/isolated.sh")
    if subprocess.run([isolated, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow network namespaces")
    done = install(project, folder, isolated)
    assert done.returncode == 0, done.stderr
    assert "NOT SIGNED OFF" in done.stdout
    python = project / ".venv/bin/python"
    said = subprocess.run(
        [python, "-c", "import carried; print(carried.WORD)"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "carried over\n"


@pytest.mark.slow
def test_an_environment_from_a_bundle_is_made_again_from_it_or_left_alone(carried: tuple[Path, Path]) -> None:
    project, folder = carried
    assert install(project, folder).returncode == 0
    setup = ["bash", str(project / "scripts/setup.sh")]
    environment = {n: v for n, v in os.environ.items() if n != "BUNDLE"} | {"PYTHON": sys.executable}

    def set_up(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(setup, env=environment | more, capture_output=True, text=True, check=False)

    (project / ".venv/by-hand").touch()
    future = (project / "pyproject.toml").stat().st_mtime + 10_000
    os.utime(project / "pyproject.toml", (future, future))
    done = set_up()
    assert done.returncode == 0, done.stderr
    assert (project / ".venv/by-hand").exists(), "no package has changed, so nothing was thrown away"
    (project / ".venv/requirements-cpu.lock").unlink()
    done = set_up()
    assert done.returncode == 0, done.stderr
    assert not (project / ".venv/by-hand").exists(), "one that was not made to its end is made again"
    assert (project / ".venv/.ready").stat().st_mtime == future, "else make would do so each time"
    folder.rename(folder.with_name("carried away"))
    done = set_up()
    assert done.returncode == 2 and "nothing was changed" in done.stderr and f"from the bundle {folder}" in done.stderr
    assert (project / ".venv/bin/python").exists()
    (project / "notes").mkdir()
    done = set_up(VENV="notes")
    assert done.returncode == 2 and "is no virtual environment" in done.stderr and (project / "notes").exists()


def test_a_touched_bundle_is_refused(carried: tuple[Path, Path]) -> None:
    project, folder = carried
    wheel = folder / "wheels/carried-1.0-py3-none-any.whl"
    whole = wheel.read_bytes()
    wheel.write_bytes(whole + b"x")
    assert install(project, folder).returncode == 3
    wheel.write_bytes(whole)
    make_wheel(folder / "wheels", "stowaway", "License: ?")
    done = install(project, folder)
    assert done.returncode == 3
    assert "not listed in SHA256SUMS: wheels/stowaway" in done.stderr
    (folder / "wheels/stowaway-1.0-py3-none-any.whl").unlink()
    (project / "requirements-cpu.lock").write_text("other==1.0\n")
    assert "made for another version" in install(project, folder).stderr
    (folder / "SHA256SUMS").unlink()
    assert "has no SHA256SUMS" in install(project, folder).stderr
    assert not (project / ".venv").exists()


@pytest.mark.slow
def test_a_bundle_for_another_python_is_refused_before_anything_is_installed(carried: tuple[Path, Path]) -> None:
    project, folder = carried
    have = f"{sys.version_info.major}.{sys.version_info.minor}"
    (folder / bundle.PYTHON).write_text("3.9\n")
    bundle.write_sums(folder)
    done = install(project, folder)
    assert done.returncode == 2
    assert "the bundle is for Python 3.9" in done.stderr and f"FOR_PYTHON={have}" in done.stderr
    assert not (project / ".venv").exists()
    (folder / bundle.PYTHON).write_text(f"{have}\n")
    (folder / "models/small").mkdir(parents=True)
    (folder / "models/small/config.json").write_text("{}")
    bundle.write_sums(folder)
    done = install(project, folder)
    assert done.returncode == 0, done.stderr
    [link] = [line for line in done.stdout.splitlines() if "ln -sfn" in line]
    subprocess.run(["bash", "-c", link], cwd=project, check=True)
    assert (project / "models/small/config.json").read_text() == "{}"


def test_what_is_not_listed_or_leads_elsewhere_is_refused(carried: tuple[Path, Path]) -> None:
    project, folder = carried
    link = folder / "models"
    link.symlink_to("/etc")
    done = install(project, folder)
    assert done.returncode == 3 and "not listed in SHA256SUMS: models/etc" in done.stderr
    with pytest.raises(SystemExit, match="was not made with models"):
        bundle.sign_off(folder, "A. Reader")
    link.unlink()
    (folder / "wheels/SHA256SUMS").write_text("a name of its own is no way in")
    assert "not listed in SHA256SUMS: wheels/SHA256SUMS" in install(project, folder).stderr
    with pytest.raises(SystemExit, match=r"was not made with wheels/SHA256SUMS"):
        bundle.sign_off(folder, "A. Reader")


def test_make_takes_the_name_of_a_new_bundle_for_no_bundle_to_install_from(tmp_path: Path) -> None:
    project = tmp_path / "a project"
    (project / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", project)
    for name in ("requirements-cpu.lock", "requirements-cuda.lock", "pyproject.toml"):
        (project / name).touch()
    for name in ("environment.py", "pip_settings.py"):
        (project / "scripts" / name).touch()
    # They stand for the real ones, and say what they were given.
    (project / "scripts/python").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > called\n')
    (project / "scripts/python").chmod(0o755)
    (project / "scripts/setup.sh").write_text(
        'env > seen; mkdir -p "$VENV/bin"; cp scripts/python "$VENV/bin/python"; touch "$VENV/.ready"\n'
    )
    command = ["make", "bundle", f"BUNDLE={tmp_path}/my stick/bundle", "TARGET=cpu", "FOR_PYTHON=3.12"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = (project / "seen").read_text().splitlines()
    assert not [line for line in seen if line.startswith(("BUNDLE=", "TARGET="))]
    wanted = ["scripts/bundle.py", f"{tmp_path}/my stick/bundle", "--target", "cpu", "--python", "3.12"]
    assert (project / "called").read_text().splitlines() == wanted


def test_licences_are_listed_as_the_wheels_name_them(tmp_path: Path) -> None:
    make_wheel(tmp_path, "expression", "License-Expression: Apache-2.0\nLicense: other")
    make_wheel(tmp_path, "free", "License: BSD")
    make_wheel(tmp_path, "classified", "Classifier: License :: OSI Approved :: MIT License")
    make_wheel(tmp_path, "silent", "Summary: nothing")
    assert {name: licence for name, _, licence in bundle.licences(tmp_path)} == {
        "expression": "Apache-2.0",
        "free": "BSD",
        "classified": "MIT License",
        "silent": "NOT NAMED: look into the wheel",
    }


def test_a_model_is_listed_with_its_licence_and_taken_only_if_it_is_safe(tmp_path: Path, tiny_model: Path) -> None:
    source, models = tmp_path / "small", tmp_path / "bundle/models"
    shutil.copytree(tiny_model, source)
    (source / "README.md").write_text("---\nlicense: mit\n---\n")
    (source / "optimizer.pt").write_bytes(b"a pickle")
    bundle.collect_model(str(source), models)
    assert (models / "small/model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    assert not (models / "small/optimizer.pt").exists()
    with pytest.raises(SystemExit, match="already at"):
        bundle.collect_model(str(source), models)
    for asked, said in (
        (["some/model"], "name the revision too"),
        (["some/model@main"], "name the revision too"),
        ([str(source), f"another/small@{'a' * 40}"], "two models would lie in models/small"),
    ):
        with pytest.raises(SystemExit, match=said):
            bundle.check_asked(asked)
    bundle.check_asked([str(source), f"some/model@{'a' * 40}"])
    weights = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(weights[:-10])
    with pytest.raises(ModelError, match="it was cut off"):
        bundle.collect_model(str(source), tmp_path / "cut off")
    note = source / ".cache/huggingface/download/model.safetensors.metadata"
    note.parent.mkdir(parents=True)
    note.write_text(f"{'a' * 40}\n{hashlib.sha256(weights).hexdigest()}\n1.0\n")
    (source / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(SystemExit, match=r"damaged: model\.safetensors"):
        bundle.collect_model(str(source), tmp_path / "damaged")
    (source / "model.safetensors").write_bytes(weights)
    bundle.collect_model(str(source), tmp_path / "whole")
    (source / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="only pickle files"):
        bundle.collect_model(str(source), tmp_path / "other")
    (tmp_path / "bundle/wheels").mkdir()
    make_wheel(tmp_path / "bundle/wheels", "silent", "Summary: nothing")
    assert bundle.list_licences(tmp_path / "bundle", {"small": "path/to/small"}) == 1
    lines = (tmp_path / "bundle/LICENCES.tsv").read_text().splitlines()
    assert lines[1:] == ["silent\t1.0\tNOT NAMED: look into the wheel", "small\tpath/to/small\tmit"]


@pytest.mark.slow
def test_who_has_read_the_licences_is_written_down_and_said(carried: tuple[Path, Path]) -> None:
    project, folder = carried
    wheel = folder / "wheels/carried-1.0-py3-none-any.whl"
    whole = wheel.read_bytes()
    wheel.write_bytes(whole + b"x")
    with pytest.raises(SystemExit, match="not as it was made"):
        bundle.sign_off(folder, "A. Reader")
    wheel.write_bytes(whole)
    bundle.sign_off(folder, "A. Reader\n")
    assert "# signed off by A. Reader on 2" in (folder / "LICENCES.tsv").read_text()
    assert "signed off by A. Reader" in install(project, folder).stdout


@pytest.mark.skipif("CHARTDISTILL_BUNDLE_TEST" not in os.environ, reason="CHARTDISTILL_BUNDLE_TEST=1: downloads 1 GB")
@pytest.mark.timeout(5400)
def test_the_whole_cpu_bundle(tmp_path: Path) -> None:
    """Build it, unpack its own copy of the repository, install it and run the demo where there is no network."""
    folder, project = tmp_path / "bundle", tmp_path / "chartdistill"
    subprocess.run([sys.executable, ROOT / "scripts/bundle.py", folder, "--target", "cpu"], check=True)
    subprocess.run(["tar", "xf", folder / "chartdistill.tar.gz", "-C", tmp_path], check=True)
    isolated = str(project / "scripts/isolated.sh")
    done = install(project, folder, isolated, timeout_s=1800)
    assert done.returncode == 0, done.stderr
    # As there: nothing of this environment.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    command = [isolated, ".venv/bin/python", "-m", "chartdistill", "run", "configs/demo.yaml"]
    ran = subprocess.run([*command, "--run-dir", str(tmp_path / "run")], cwd=project, env=environment, check=False)
    assert ran.returncode in (0, 10), "10: all is done, and a trust gate is missed"
    assert (tmp_path / "run/report/report.html").is_file()
