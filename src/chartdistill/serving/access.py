"""Where the server listens, and who may ask.

In: what the command line and the environment say. Out: an `Access`. Must hold: what listens beyond loopback, or is
reached from there through a proxy, has a key and TLS before it, or does not start; a key stands on no command line, in
no message and in no child's environment.
"""

from __future__ import annotations

import ipaddress
import ssl
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from chartdistill.errors import ConfigError
from chartdistill.serving.arguments import KEY_VARIABLE

_SHORTEST_KEY = 16
_LONGEST_KEY = 512


@dataclass(frozen=True)
class Access:
    """Where it listens, and what an asker must bring."""

    address: str
    """An IP address."""
    port: int
    key: str | None = field(default=None, repr=False)
    tls: tuple[Path, Path] | None = None
    """Certificate and private key."""
    behind_proxy: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def checks_host(self) -> bool:
        """Whether the name in a request's Host must be this machine's. A page of another site may give its own name
        this address (DNS rebinding); where a key is asked for, or the proxy's name stands there, it may be any."""
        return self.is_loopback and not self.behind_proxy

    def url(self, port: int) -> str:
        """How it is called."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.tls else 'http'}://{host}:{port}"


def read_access(
    host: str,
    port: int,
    key_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    environment: MutableMapping[str, str],
) -> Access:
    """What was asked for, after a check that it may be. The key is taken out of `environment`.

    Raises:
        ConfigError: what is missing or wrong, and what to do.
    """
    key = _key(key_file, environment)
    access = Access(_address(host), port, key, _tls(tls_cert, tls_key), behind_proxy)
    if access.is_loopback and not behind_proxy:
        return access
    where = f"--host {host} is reached from other machines" if not access.is_loopback else "--behind-proxy"
    if key is None:
        raise ConfigError(
            f"{where}, and there is no key: charts would be read for anyone. Write a secret of {_SHORTEST_KEY} or more "
            "characters into a file of mode 600 (python3 -c 'import secrets; print(secrets.token_urlsafe(32))') and "
            f"give --api-key-file FILE, or set {KEY_VARIABLE}."
        )
    if access.tls is None and not behind_proxy:
        raise ConfigError(
            f"{where}, and charts would cross the network unencrypted. Give --tls-cert FILE and --tls-key FILE, or "
            "--behind-proxy where a proxy of yours ends TLS; or listen at 127.0.0.1."
        )
    return access


def _address(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ConfigError(
            f"--host {host!r} is no IP address. Give one of this machine's (0.0.0.0 for all of them), or localhost; "
            "names are not looked up, since that would ask another machine."
        ) from None
    if getattr(address, "scope_id", None):
        raise ConfigError(f"--host {host!r} names an interface (%). Give the address without, or :: for all.")
    return str(address)


def _key(path: Path | None, environment: MutableMapping[str, str]) -> str | None:
    named = environment.pop(KEY_VARIABLE, None)
    if path is None and named is None:
        return None
    if path is not None and named is not None:
        raise ConfigError(f"a key is in --api-key-file and in {KEY_VARIABLE}. Leave out one of them.")
    where, text = (KEY_VARIABLE, named or "") if path is None else (f"--api-key-file {path}", _read(path))
    key = text.removesuffix("\n").removesuffix("\r")
    if not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY or not all("!" <= char <= "~" for char in key):
        raise ConfigError(
            f"{where}: a key is one line of {_SHORTEST_KEY} to {_LONGEST_KEY} letters, digits and signs of ASCII, "
            "without spaces. Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return key


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError(f"--api-key-file {path}: others may read or change it. Run: chmod 600 {path}")
        with path.open(encoding="ascii") as stream:
            return stream.read(_LONGEST_KEY + 3)
    except OSError as error:
        raise ConfigError(f"--api-key-file {path}: {error.strerror}. Give a file that you may read.") from None
    except UnicodeDecodeError:
        return ""  # no key, as is said then


def _tls(cert: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        given, missing = ("--tls-key", "--tls-cert") if cert is None else ("--tls-cert", "--tls-key")
        raise ConfigError(f"{given} without {missing}: TLS needs a certificate and its private key. Give both.")
    for option, path in (("--tls-cert", cert), ("--tls-key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{option} {path}: {error.strerror}. Give a PEM file that you may read.") from None
    try:
        # A password is not asked for: nobody may be there to type it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"--tls-cert {cert}, --tls-key {key}: cannot be used ({getattr(error, 'reason', None) or error}). Both "
            "must be PEM, the key without a password, and of one pair."
        ) from None
    return cert, key
