"""Where the server listens, and who may ask."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chartdistill.errors import ConfigError
from chartdistill.runtime.listening import listen
from chartdistill.serving.access import Access, read_access
from chartdistill.serving.arguments import KEY_VARIABLE

KEY = "k3y-of-twenty-letters"


def read(host: str, environment: dict[str, str] | None = None, **given: object) -> Access:
    options: dict[str, object] = {"key_file": None, "tls_cert": None, "tls_key": None, "behind_proxy": False}
    return read_access(host, 0, environment={} if environment is None else environment, **options | given)  # type: ignore[arg-type]


def key_file(folder: Path, text: str = KEY + "\n", mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_bytes(text.encode("utf-8"))
    path.chmod(mode)
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One that signs itself, for this machine."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.0.0.2"])
def test_loopback_needs_nothing_and_checks_the_host(host: str) -> None:
    access = read(host)
    assert access.is_loopback and access.checks_host and access.key is None
    if host != "127.0.0.2":
        with listen(access.address, access.port) as bound:
            assert bound.getsockname()[0] in ("127.0.0.1", "::1")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "192.168.1.2", "2001:db8::1"])
def test_beyond_loopback_it_starts_with_a_key_and_tls_or_a_proxy_alone(
    host: str, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    with pytest.raises(ConfigError, match="there is no key"):
        read(host)
    with pytest.raises(ConfigError, match="there is no key"):
        read(host, tls_cert=cert, tls_key=key)
    with pytest.raises(ConfigError, match="unencrypted"):
        read(host, key_file=key_file(tmp_path))
    assert read(host, key_file=key_file(tmp_path), tls_cert=cert, tls_key=key).key == KEY
    assert not read(host, key_file=key_file(tmp_path), behind_proxy=True).checks_host


def test_behind_a_proxy_others_reach_loopback_too_so_there_is_a_key() -> None:
    with pytest.raises(ConfigError, match="--behind-proxy, and there is no key"):
        read("127.0.0.1", behind_proxy=True)
    access = read("127.0.0.1", {KEY_VARIABLE: KEY}, behind_proxy=True)
    assert access.key == KEY and not access.checks_host


def test_a_key_of_the_environment_is_taken_out_of_it_and_a_key_is_never_shown(tmp_path: Path) -> None:
    environment = {KEY_VARIABLE: KEY, "HOME": "/"}
    access = read("127.0.0.1", environment)
    assert access.key == KEY and environment == {"HOME": "/"} and KEY not in repr(access)
    with pytest.raises(ConfigError, match="Leave out one") as error:
        read("127.0.0.1", {KEY_VARIABLE: KEY}, key_file=key_file(tmp_path))
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "\n", "short", "k3y of twenty letters", KEY + "\n" + KEY, "clé-de-vingt-lettres-et-plus", "k" * 600]
)
def test_what_is_no_key_is_refused_without_being_shown(text: str, tmp_path: Path) -> None:
    for given in ({"key_file": key_file(tmp_path, text)}, {"environment": {KEY_VARIABLE: text}}):
        with pytest.raises(ConfigError, match="a key is one line of 16 to 512") as error:
            read("127.0.0.1", **given)  # type: ignore[arg-type]
        assert len(text) < 5 or text not in str(error.value)


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o666])
def test_a_key_that_others_may_read_or_change_is_refused(mode: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chmod 600"):
        read("127.0.0.1", key_file=key_file(tmp_path, mode=mode))


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=f"--api-key-file {path}: "):
            read("127.0.0.1", key_file=path)


def test_tls_is_checked_before_the_engine_starts(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in", str(key), "-out", str(locked)],
        check=True, capture_output=True,
    )  # fmt: skip
    for given, words in (
        ({"tls_cert": cert}, "--tls-cert without --tls-key"),
        ({"tls_key": key}, "--tls-key without --tls-cert"),
        ({"tls_cert": cert, "tls_key": tmp_path / "none"}, "No such file"),
        ({"tls_cert": key, "tls_key": cert}, "cannot be used"),
        ({"tls_cert": cert, "tls_key": locked}, "without a password"),
    ):
        with pytest.raises(ConfigError, match=words):
            read("127.0.0.1", **given)
    assert read("127.0.0.1", tls_cert=cert, tls_key=key).url(5) == "https://127.0.0.1:5"


@pytest.mark.parametrize("host", ["", "example.org", "evil\nhost", "256.1.1.1", "fe80::1%eth0", "127.1", "0"])
def test_a_host_that_is_no_address_is_not_looked_up(host: str) -> None:
    with pytest.raises(ConfigError, match="--host "):
        read(host)
