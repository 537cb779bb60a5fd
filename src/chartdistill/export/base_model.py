"""What an export is made from, in words that mean the same on any machine; and that no path of this one is in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chartdistill.config import Run
from chartdistill.errors import ArtefactError
from chartdistill.runtime.gguf_model import sha256
from chartdistill.runtime.model_folder import licence
from chartdistill.runtime.run_folder import read_manifest

_TEXT = (".json", ".md", ".jinja", ".txt")


def origin(run: Run, model: Path) -> dict[str, Any]:
    """Base model, its revision, licence and weights, and the training, for export.json."""
    trained = read_manifest(run.dir / "adapter") or {}
    return {
        "base_model": run.public_name("student"),
        "base_revision": run.config.student.revision,
        "base_licence": licence(model),
        "base_sha256": {path.name: sha256(path) for path in sorted(model.glob("*.safetensors"))},
        "trained_over_4_bits": bool((trained.get("options") or {}).get("load_in_4bit")),
        "trained_in": trained.get("dtype"),
        "training": trained.get("fingerprint"),
    }


def require_portable(folder: Path, own: Iterable[Path]) -> None:
    """Refuse an export in which a path of this machine stands: it says who its user is, and means nothing elsewhere.

    Args:
        own: folders of this machine that were worked with.

    Raises:
        ArtefactError: the file, and the path.
    """
    # A path of one name (/data) may well be a word of the model's.
    told = {str(form) for path in own for form in (path.absolute(), path.resolve()) if len(form.parts) > 2}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as stream:
            # Of weights the head, which is where names and notes stand.
            head = stream.read() if file.suffix in _TEXT or not file.suffix else stream.read(1 << 20)
        if found := next((path for path in told if path.encode() in head), None):
            raise ArtefactError(
                f"{file.name} of the export would hold a path of this machine ({found}). Take it out of the file that "
                "it comes from (the base model's folder, the system text, a task), and export again."
            )
