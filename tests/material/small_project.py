"""A small project with our set-up scripts, to try them without gigabytes."""

from __future__ import annotations

import shutil
from pathlib import Path

from places import ROOT

BACKEND = '''
"""A build backend of a few lines, so that the test needs no setuptools in the new environment."""
import base64, hashlib, zipfile
def build_editable(folder, settings=None, metadata=None):
    name = "small-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("small-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n")
        wheel.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("small-1.dist-info/RECORD", "")
    return name
def get_requires_for_build_editable(settings=None):
    return []
'''


def make_project(project: Path) -> None:
    """Everything but lock files."""
    (project / "scripts").mkdir(parents=True)
    for name in ("setup.sh", "environment.py", "pip_settings.py", "install.sh", "isolated.sh"):
        shutil.copy(ROOT / "scripts" / name, project / "scripts")
    (project / "backend.py").write_text(BACKEND)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "small"\nversion = "1"\n'
    )
