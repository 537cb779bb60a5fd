"""What lies in a model folder: sizes from the safetensors headers, completeness, hashes, licence.

A header is 8 bytes with its length (little endian), then JSON that names every tensor with dtype, shape and offsets
(the safetensors format); so a file that was cut off, or belongs to another model, shows without reading the weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chartdistill.doctor.model_shape import ModelShape
from chartdistill.errors import ModelError
from chartdistill.runtime.model_folder import read_json

_MOST_HEADER_BYTES = 100_000_000
"""Limit of the format."""
_SCALE = re.compile(r"(scale|scales|scale_inv|qzeros|g_idx|zero_point|weight_shape)$")
_PERMISSIVE = ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc0-1.0")
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Weights:
    """The weights of a folder, by their headers."""

    bytes: int
    """Of all safetensors files."""
    parameters: int
    """Weights, without quantisation scales; packed 4-bit weights count as the integers they are packed in."""
    output_parameters: int
    """Of `lm_head.weight`: some folders hold it although it is tied."""
    dtypes: dict[str, int]
    """Dtype -> number of values."""


def read_weights(folder: Path) -> Weights:
    """Read the headers of a model folder.

    Raises:
        ModelError: a file is cut off or damaged, or the index names tensors that are not there.
    """
    total = parameters = output = 0
    dtypes: Counter[str] = Counter()
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, entry in _header(path).items():
            if name == "__metadata__":
                continue
            size = math.prod(entry["shape"])
            found[name] = path.name
            dtypes[str(entry["dtype"])] += size
            parameters += 0 if _SCALE.search(name) else size
            output += size if name == "lm_head.weight" else 0
        total += path.stat().st_size
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        listed = read_json(index)["weight_map"]
        wrong = sorted(name for name, file in listed.items() if found.get(name) != file)
        if wrong:
            raise ModelError(
                f"{index} names {len(wrong)} tensors that are not in its files (first: {wrong[0]}). Copy or download "
                "the model again."
            )
    return Weights(total, parameters, output, dict(dtypes))


def _header(path: Path) -> dict[str, dict[str, list[int]]]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(_MOST_HEADER_BYTES, size - 8):
            raise ModelError(f"{path} is no safetensors file, or cut off ({size} bytes). Copy or download it again.")
        try:
            header: dict[str, dict[str, list[int]]] = json.loads(stream.read(length))
        except ValueError as error:
            raise ModelError(f"{path} has a damaged header ({error}). Copy or download it again.") from error
    end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    if 8 + length + end != size:
        raise ModelError(
            f"{path} has {size} bytes, its header says {8 + length + end}: it was cut off, or is still being copied. "
            "Copy or download it again."
        )
    return header


def mismatch(weights: Weights, shape: ModelShape) -> str | None:
    """Why the weights are not those of the config beside them; None when they are, or packed so that none can tell."""
    method = shape.quantization.get("quant_method")
    if method not in (None, "fp8"):
        return None
    allowed = {shape.parameters, shape.parameters + weights.output_parameters if shape.tied else shape.parameters}
    if weights.parameters in allowed:
        return None
    return f"the files hold {weights.parameters:,} weights, config.json describes {shape.parameters:,}"


def known_hashes(folder: Path) -> dict[Path, str]:
    """Files of a folder whose hash the download left behind: in the hub's cache a file is a link to a blob named by
    its hash; beside `hf download --local-dir` the hash is the second line of a `.metadata` file. 64 digits are SHA-256
    of the file, 40 digits git's SHA-1 of it."""
    hashes = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        note = folder / ".cache" / "huggingface" / "download" / f"{path.name}.metadata"
        value = path.resolve().name if path.is_symlink() else ""
        if note.is_file():
            lines = note.read_text(encoding="utf-8").splitlines()
            value = lines[1].strip() if len(lines) > 1 else ""
        if re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", value):
            hashes[path] = value
    return hashes


def wrong_files(hashes: dict[Path, str]) -> Iterator[Path]:
    """Files whose content has another hash than it should. Reads them whole."""
    for path, expected in hashes.items():
        size = path.stat().st_size
        digest = hashlib.sha256() if len(expected) == 64 else hashlib.sha1(f"blob {size}\0".encode())
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != expected:
            yield path


def is_permissive(name: str) -> bool:
    """Whether a licence is one of the well-known permissive ones."""
    return name.lower() in _PERMISSIVE
