"""Where this machine's pip looks for packages, said to uv, which reads none of pip's settings.

A mirror, a proxy or a folder of wheels that somebody has set up for pip must be good for uv too. What a setting of pip
would mean to uv is known for those below; where another one is set, pip itself is the one to install with.
"""

from __future__ import annotations

import ast
import os
import subprocess

TO_UV = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
}
TO_ENVIRONMENT = {
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
HARMLESS = {
    # They change how pip speaks or caches, or what it chooses, and a lock leaves nothing to choose.
    "break-system-packages", "cache-dir", "config-file", "constraint", "disable-pip-version-check", "no-cache-dir",
    "no-color", "no-input", "no-python-version-warning", "no-warn-script-location", "only-binary", "prefer-binary",
    "progress-bar", "quiet", "require-virtualenv", "retries", "root-user-action", "use-feature", "verbose",
}  # fmt: skip


class UnknownToUvError(Exception):
    """A setting of pip that uv has nothing for."""


def read_settings(python: str, environment: dict[str, str]) -> dict[str, str]:
    """pip's settings of `pip install` by name: those of its files, and over them those of the environment."""
    done = subprocess.run(
        [python, "-m", "pip", "config", "list"], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[tuple[str, str], str] = {}
    for line in done.stdout.splitlines():
        where, _, value = line.partition("=")
        section, _, name = where.rpartition(".")
        if section in ("global", "install", ":env:"):
            found[section, name] = str(ast.literal_eval(value))
    return {name: found[section, name] for wins in ("global", "install", ":env:")
            for section, name in found if section == wins}  # fmt: skip


def for_uv(settings: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Options of uv, and variables of its environment, that say the same as pip's settings.

    Raises:
        UnknownToUvError: names the setting that cannot be said.
    """
    options: list[str] = []
    variables: dict[str, str] = {}
    for name, value in settings.items():
        if name in TO_UV:
            options += [word for part in value.split() for word in (TO_UV[name], part)]
        elif name in TO_ENVIRONMENT:
            variables[TO_ENVIRONMENT[name]] = str(int(float(value))) if "timeout" in name else value
        elif name == "no-index":
            options += ["--no-index"] if value.lower() in ("1", "true", "yes", "on", "y", "t") else []
        elif name not in HARMLESS:
            raise UnknownToUvError(name)
    # pip takes the best match of all places, uv by itself only those of the first that has the name; the hashes of the
    # lock make sure that it is the same file, wherever it comes from.
    return [*options, "--index-strategy", "unsafe-best-match"], variables


def environment_without_folders() -> dict[str, str]:
    """The environment of a pip that looks in no folder that it is set to, but in its index alone."""
    return dict(os.environ) | {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
