"""Small wheels, to try what installs them."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path


def make_wheel(folder: Path, name: str, metadata: str, version: str = "1.0") -> Path:
    """A package of one module, as a wheel that any installer takes.

    Args:
        metadata: further lines of its METADATA.
    """
    about = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}\n"
    files = {
        f"{name}.py": "WORD = 'carried over'\n",
        f"{name}-{version}.dist-info/METADATA": about,
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        f"{len(text)}\n"
        for path, text in files.items()
    )
    place = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(place, "w") as archive:
        for path, text in {**files, f"{name}-{version}.dist-info/RECORD": record}.items():
            archive.writestr(path, text)
    return place
