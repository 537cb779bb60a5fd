"""What vLLM's model classes say of adapters, read from its source: importing them takes half a minute.

In: an architecture, as config.json names it. Out: whether it takes adapters, and on which embeddings. Must hold: the
same as the classes say (a test compares them); None where the source does not tell, and never a guess.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_MODELS = "vllm.model_executor.models."


@dataclass(frozen=True)
class AdapterSupport:
    """Of one architecture in the vLLM that is installed."""

    takes_adapters: bool
    embeddings: tuple[str, ...]
    """Embedding modules (`embed_tokens`, `lm_head`) that an adapter may be on; linear layers all may be."""


def adapter_support(architecture: str) -> AdapterSupport | None:
    """None where vLLM is not installed, or does not list the architecture (it may run it through transformers)."""
    package = find_spec("vllm")
    if package is None or not package.submodule_search_locations:
        return None
    folder = Path(package.submodule_search_locations[0]) / "model_executor" / "models"
    try:
        place = _registered(folder / "registry.py").get(architecture)
        if place is None:
            return None
        found = _Found()
        _look_into(folder, *place, found)
    except (OSError, SyntaxError, LookupError, ValueError):
        return None
    return AdapterSupport(found.takes_adapters, found.embeddings or ())


def _registered(registry: Path) -> dict[str, tuple[str, str]]:
    """Architecture -> (module, class), of all tables in the registry."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(ast.parse(registry.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(value, ast.Tuple) and len(value.elts) == 2:
                module, name = value.elts
                if isinstance(module, ast.Constant) and isinstance(name, ast.Constant):
                    found[str(key.value)] = (str(module.value), str(name.value))
    return found


@dataclass
class _Found:
    takes_adapters: bool = False
    embeddings: tuple[str, ...] | None = None


def _look_into(folder: Path, module: str, name: str, found: _Found) -> None:
    """A class and, after it, those it inherits from, in the order of Python.

    Raises:
        LookupError: a class that should be there is not.
    """
    path = folder / (module.replace(".", "/") + ".py")
    if not path.is_file():
        path = folder / module.replace(".", "/") / "__init__.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name not in defined:
        other = _imported(tree).get(name)
        if other is None:
            raise LookupError(name)
        _look_into(folder, *other, found)
        return
    if found.embeddings is None:
        found.embeddings = _embeddings_of(defined[name])
    for base in defined[name].bases:
        named = base.id if isinstance(base, ast.Name) else None
        found.takes_adapters |= named == "SupportsLoRA"
        if named in defined:
            _look_into(folder, module, str(named), found)
        elif named is not None and named in (imported := _imported(tree)) and imported[named][0] != "interfaces":
            _look_into(folder, *imported[named], found)


def _embeddings_of(node: ast.ClassDef) -> tuple[str, ...] | None:
    for line in node.body:
        targets = (
            line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == "embedding_modules" for target in targets):
            value = ast.literal_eval(line.value)  # type: ignore[attr-defined]
            return tuple(sorted(value))
    return None


def _imported(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Name -> (module, class) of what comes from vLLM's other models."""
    found: dict[str, tuple[str, str]] = {}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        module = node.module.removeprefix(_MODELS) if node.level == 0 else node.module
        if node.level == 1 or node.module.startswith(_MODELS):
            found |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}
    return found
