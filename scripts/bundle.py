"""Collect everything an air-gapped machine needs into one folder, on a machine with network.

    make bundle BUNDLE=dir [TARGET=cpu|cuda] [MODELS="Qwen/Qwen3-8B-FP8@REVISION path/to/model ..."]
    python scripts/bundle.py dir --target cuda --model Qwen/Qwen3-8B-FP8@220b46e...

In the folder: `wheels/`, the lock file, this repository as an archive, `models/`, `LICENCES.tsv` (package, version,
licence as the package names it: read and sign it off), and `SHA256SUMS` over all of them, written last. Carry it over,
then `make install BUNDLE=dir`: scripts/install.sh checks every hash and installs with no network at all.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SUMS = "SHA256SUMS"


def collect_wheels(target: str, folder: Path, python: str) -> None:
    """Download every wheel of a lock file; each must have the hash that the lock names."""
    lock = ROOT / f"requirements-{target}.lock"
    shutil.copy(lock, folder / lock.name)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--python-version", python, "--dest", str(folder / "wheels")]
    environment = dict(os.environ)
    if target == "cuda":
        environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    for index in ([], ["--extra-index-url", TORCH_CPU_INDEX, "--retries", "1"]):
        # The CPU build of torch: from wherever pip already looks, else from PyTorch's own index.
        done = subprocess.run([*command, *index, "-r", str(lock)], env=environment, capture_output=True, text=True,
                              check=False)  # fmt: skip
        if done.returncode == 0 or target == "cuda":
            break
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise SystemExit("bundle: pip could not collect the wheels:\n" + "\n".join(said[-12:]))


def collect_model(name: str, folder: Path) -> None:
    """Copy a model folder, or download a hub model (`name@revision`), as plain files."""
    source = Path(name)
    if source.is_dir():
        shutil.copytree(source, folder / source.name, symlinks=False)
        return
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    if not revision:
        raise SystemExit(f"bundle: {name}: name the revision too ({name}@COMMIT), or nobody knows what was bundled.")
    place = folder / repository.split("/")[-1]
    snapshot_download(
        repository, revision=revision, local_dir=place, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.model",
                                                                         "*.txt", "LICENSE*", "README.md"]
    )  # fmt: skip


def licences(wheels: Path) -> Iterator[tuple[str, str, str]]:
    """Name, version and licence of each wheel, as its metadata has them (core metadata: License-Expression, else
    License, else the classifiers)."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            [place] = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA")]
            data = HeaderParser().parsestr(archive.read(place).decode("utf-8", "replace"))
        classifiers = [c.rsplit(" :: ", 1)[-1] for c in data.get_all("Classifier", []) if c.startswith("License ::")]
        free = (data["License"] or "").strip().splitlines()
        named = data["License-Expression"] or (free[0][:80] if free else "") or ", ".join(classifiers)
        yield data["Name"], data["Version"], named or "NOT NAMED: look into the wheel"


def write_sums(folder: Path) -> int:
    """Hashes of all files, in the format of `sha256sum`; written last, so that its presence means complete."""
    lines = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS):
        with path.open("rb") as stream:
            lines.append(f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {path.relative_to(folder)}\n")
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    return len(lines)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--python", default="3.11", help="Python of the air-gapped machine")
    parser.add_argument("--model", action="append", default=[], metavar="NAME@REVISION or FOLDER")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"bundle: {folder} is not empty. Name a new folder, so that nothing old is carried along.")
    (folder / "wheels").mkdir(parents=True)
    collect_wheels(arguments.target, folder, arguments.python)
    for name in arguments.model:
        collect_model(name, folder / "models")
    source = ["git", "-C", str(ROOT), "archive", "--format=tar.gz", "--prefix=chartdistill/"]
    subprocess.run([*source, "-o", str((folder / "chartdistill.tar.gz").resolve()), "HEAD"], check=True)
    rows = ["package\tversion\tlicence\n", *("\t".join(row) + "\n" for row in licences(folder / "wheels"))]
    (folder / "LICENCES.tsv").write_text("".join(rows), encoding="utf-8")
    count = write_sums(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"bundle: {folder}: {count} files, {size / 1e9:.2f} GB, {len(rows) - 1} packages; read LICENCES.tsv")


if __name__ == "__main__":
    main()
