"""Where a model lies on disk, and whether it is fit and safe to load: safetensors, tokenizer, chat template.

Nothing is ever downloaded, and no code from a model folder is ever run.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from math import prod
from pathlib import Path
from typing import Any

from chartdistill.errors import ModelError
from chartdistill.runtime.yaml_file import CLONE
from chartdistill.schema import content_hash

MODELS = Path("models")
"""In the current folder: where the folders of downloaded models are looked for."""
SMALL_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The one that `make model` gets without a hub."""
DEMO_HINT = "To run the demo instead, which needs no download: make demo"
"""The last words of an error about a missing model."""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class ModelNotHereError(ModelError):
    """A model that is known by its hub name, and not on this disk."""

    def __init__(self, message: str, command: str) -> None:
        super().__init__(message)
        self.command = command
        """What gets it, where there is a network."""


def resolve_model(name: str, base: Path, revision: str | None = None, with_weights: bool = True) -> Path:
    """The folder of a model: a path (relative to `base`, the config's folder), or a hub name that was downloaded,
    to `models/` in the current folder, beside the config's or in the clone (under the last part of its name), or to the
    local cache.

    `with_weights=False` where an endpoint has them: then the tokenizer is enough.

    Raises:
        ModelError: not on this disk, not complete, another revision, pickle weights, or it needs code of its own.
    """
    folder = (base / name).resolve()
    if folder.is_dir():
        check_model(folder, with_weights)
        return folder
    if name.count("/") == 1 and not name.startswith((".", "/")):
        places = [place / name.split("/")[1] for place in (MODELS, base.parent / MODELS, CLONE / MODELS)]
        if found := next((place for place in places if place.is_dir()), None):
            folder = found.resolve()
            _check_revision(folder, revision)
        else:
            folder = _in_hub_cache(name, revision, with_weights)
        check_model(folder, with_weights)
        return folder
    raise ModelError(
        f"model folder {folder} does not exist. Give a folder with config.json, *.safetensors and a tokenizer, or a "
        f"hub name such as Qwen/Qwen3-8B that was downloaded before. {DEMO_HINT}"
    )


def _in_hub_cache(name: str, revision: str | None, with_weights: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        what, verb, only = ("weights", "are", "") if with_weights else ("tokenizer", "is", " --include '*.json'")
        at = f" --revision {revision}" if revision else ""
        place = MODELS / name.split("/")[1]
        missing = f"the {what} of {name} {verb} not on this machine, and nothing is downloaded during a run"
        if name == SMALL_MODEL:
            raise ModelNotHereError(f"{missing}. Get it (93 MB): `make model`. {DEMO_HINT}", "make model") from None
        command = f"{_hf()} download {name}{at}{only} --local-dir {place}"
        raise ModelNotHereError(
            f"{missing}. On a machine with network run `{command}` and copy the folder to {place} here. {DEMO_HINT}",
            command,
        ) from None


def _hf() -> str:
    """The hub's command line of this environment, as it is named from the current folder; else by name alone."""
    program = Path(sys.executable).with_name("hf")
    if not program.is_file():
        return "hf"
    return shlex.quote(str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program))


def _check_revision(folder: Path, revision: str | None) -> None:
    """Compare with what `hf download --local-dir` noted; a folder that was copied without its notes is taken as it is.

    Raises:
        ModelError: the folder is of another revision than the config asks for.
    """
    note = folder / ".cache" / "huggingface" / "download" / "config.json.metadata"
    if revision is None or not note.is_file():
        return
    found = note.read_text(encoding="utf-8").partition("\n")[0].strip()
    if found != revision:
        raise ModelError(
            f"{folder} is revision {found} of its model, the config asks for {revision}. Download that one, or set "
            "`revision:` in the config."
        )


def check_model(folder: Path, with_weights: bool = True) -> None:
    """Refuse a folder that could not, or should not, be loaded."""
    config_path = folder / "config.json"
    if not config_path.is_file():
        raise ModelError(f"{folder} has no config.json, so it is not a model folder. Check the path, or copy it again.")
    config = read_json(config_path)
    if "auto_map" in config:
        raise ModelError(
            f"{config_path} asks to run code from the model folder (auto_map), which is never done here. "
            "Use a model whose architecture transformers and vLLM know."
        )
    if with_weights and not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
        found = (
            f"only pickle files ({', '.join(pickles[:3])}), which can run code when loaded" if pickles else "no weights"
        )
        raise ModelError(
            f"{folder} has {found}. Only *.safetensors are loaded: download that form of the model, or convert it on a "
            "machine without charts with save_pretrained(..., safe_serialization=True)."
        )
    index = folder / "model.safetensors.index.json"
    if with_weights and index.is_file():
        missing = sorted({part for part in read_json(index)["weight_map"].values() if not (folder / part).is_file()})
        if missing:
            raise ModelError(f"{folder} is incomplete: {', '.join(missing[:5])} missing. Copy or download it again.")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")):
        raise ModelError(
            f"{folder} has no tokenizer (tokenizer.json, tokenizer_config.json). Copy the tokenizer files of the same "
            "model beside the weights."
        )


def num_parameters(folder: Path) -> int:
    """Weights of a model folder, from the heads of its safetensors files; of quantised ones the packed numbers."""
    from safetensors import SafetensorError, safe_open

    count = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as stored:
                count += sum(prod(stored.get_slice(name).get_shape()) for name in stored.keys())  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} cannot be read: {error}. Copy or download the model again.") from error
    return count


def model_fingerprint(folder: Path) -> str:
    """Changes when the model does. Weights count by size and first MiB, so that 100 GB are not read each time."""
    parts: list[Any] = []
    for path in sorted(
        path for path in folder.iterdir() if path.suffix in (".safetensors", ".json", ".jinja", ".model")
    ):
        with path.open("rb") as stream:
            parts.append((path.name, path.stat().st_size, hashlib.sha256(stream.read(1 << 20)).hexdigest()))
    return content_hash(parts)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({error}). Copy or download the model again.") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no JSON object. Copy or download the model again.")
    return value


def context_tokens(folder: Path) -> int | None:
    """Tokens the model in a folder can take; None where its config does not say."""
    config = read_json(folder / "config.json")
    value = config.get("max_position_embeddings", config.get("text_config", {}).get("max_position_embeddings"))
    return None if value is None else int(value)


def licence(folder: Path) -> str | None:
    """The licence a folder names, in its card's front matter or the first line of a licence file; None without one."""
    card = folder / "README.md"
    if card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace")
        front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
        line = re.search(r"^license(?:_name)?:\s*(\S+)", front[1], re.MULTILINE) if front else None
        if line:
            return line[1]
    for path in sorted(folder.glob("LICEN[CS]E*")):
        words = path.read_text(encoding="utf-8", errors="replace").split()
        text = " ".join(words[:12])
        if "Apache License" in text:
            return "apache-2.0"
        return "mit" if text.startswith("MIT License") else text[:60]
    return None


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder.

    Raises:
        ModelError: its files are damaged, or describe none.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises no narrower one for a vocabulary that does not hold together
        raise ModelError(
            f"the tokenizer in {folder} cannot be loaded ({type(error).__name__}: {error}). Compare its tokenizer "
            "files with those of the model, or copy them again."
        ) from error
