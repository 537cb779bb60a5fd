"""Every file of a folder, searched for what must not be left: the proof of an erasure.

In: a folder and the traces. Out: the files that still hold some, with how. Must hold: no file is passed over; a file
that cannot be read is named, for nobody knows what it holds. Looked at is text as it is, behind up to three layers of
backslash escapes (JSON in JSON), as HTML without tags and with entities resolved, percent-encoded, quoted-printable, in
base64 (also on several lines, or of something packed) and in long hex; zip files (also those that torch writes), tar,
gzip, bzip2, xz and all of these within each other; the values of Parquet and Arrow; of other binary files all that
reads as UTF-8, UTF-16 or UTF-32, which finds strings in pickles, safetensors, SQLite and arrays of numpy. Files packed
otherwise, told by their first bytes, are named as not read.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import gzip
import html
import io
import lzma
import os
import quopri
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

import numpy as np

from chartdistill.erasure.traces import Traces

_BLOCK, _OVERLAP = 1 << 22, 1 << 14
"""Bytes read at once, and how many of them are read again with the next ones, for runs that lie across."""
_LAYERS = 3
_ESCAPE = re.compile(
    r"\\(?:u([0-9a-fA-F]{4})|([nrtbf\"\\/'])|x([0-9a-fA-F]{2})|U00((?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}))"
)
"""Of JSON, and of Python's `repr`."""
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_TAG = re.compile(r"<[^<>]{0,4000}>")
_PERCENT, _QUOTED = re.compile(r"%[0-9a-fA-F]{2}"), re.compile(r"=(?:[0-9A-F]{2}|\r?\n)")
_PACKED = re.compile(r"[\w+/-]{16,}(?:\s{1,8}[\w+/-]{16,})*(?:\s{1,8}[\w+/-]{1,15})?", re.ASCII)
"""Base64, of both alphabets, or hex, which may be cut into lines."""
_SHORTEST, _LONGEST_DIGEST = 48, 128
"""Characters of what is taken for packed text; hex of fewer than the second is a hash."""
_LARGE = 1024
"""Bytes."""
_ASCII_TEXT = bytes([*b"\t\n\r", *range(0x20, 0x7F)])
_ALPHABET = str.maketrans("-_", "+/")
_READABLE = re.compile(rb"(?:[\t\n\r\x20-\x7e]|[\xc2-\xf4][\x80-\xbf]{1,3}){12,}")
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_SHORTEST_WIDE = 12
"""Characters."""
_FIRST_256, _SCRIPTS = np.zeros(256, dtype=bool), np.zeros(256, dtype=bool)
_FIRST_256[[*b"\t\n\r", *range(0x20, 0x7F), *range(0xA0, 0x100)]] = True
_SCRIPTS[[1, 2, 3, 4, 5, 6, 0x20]] = True
"""High bytes: Latin, Greek, Cyrillic, Hebrew, Arabic, and the dashes and quotes of all."""
_BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"),
)  # fmt: skip
_TAR = (257, b"ustar")
_OPENERS: tuple[tuple[bytes, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b\x08", lambda stream: gzip.GzipFile(fileobj=stream, mode="rb")),
    *((b"BZh%d1AY" % level, bz2.BZ2File) for level in range(1, 10)),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)
_CLOSED = {
    b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "rar", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x9d": "compress", b"PARE": "encrypted Parquet",
}  # fmt: skip
"""First bytes of what is not unpacked here -> its name."""
_DEEPEST = 4
"""Archives in archives."""
_UNREADABLE = (EOFError, lzma.LZMAError, zlib.error, OSError)
"""What the standard library's unpackers raise."""


@dataclass
class Searched:
    """What a search found."""

    files: int = 0
    size: int = 0
    """Bytes."""
    left: dict[Path, str] = field(default_factory=dict)
    """File -> what is left in it: `words`, `id`, or why it could not be read."""


def search(
    folder: Path,
    traces: Traces,
    passed_over: Callable[[Path], bool] = lambda path: False,
    told: Callable[[list[Path]], Iterable[Path]] = iter,
) -> Searched:
    """Look through all files below a folder; links are not followed, what they lead to within it is looked at there,
    and those that lead out of it are named. `told`: passes the files on, and says how many are done."""
    found = Searched()
    closed: list[OSError] = []
    for path in told(sorted(files_below(folder, closed.append))):
        if passed_over(path):
            continue
        found.files += 1
        found.size += path.stat().st_size
        try:
            with path.open("rb") as stream:
                kind = _left_in(stream, traces)
        except UnopenedError as error:
            kind = f"cannot be read ({error})"
        except OSError as error:
            kind = f"cannot be read ({error.strerror or type(error).__name__})"
        if kind is None and traces.named_by(path.relative_to(folder)):
            kind = "id in its name"
        if kind is not None:
            found.left[path] = kind
    for link in _links_out(folder):
        found.left[link] = "a link out of the folder, behind which nothing was looked at"
    for refused in closed:
        found.left[Path(refused.filename)] = f"cannot be read ({refused.strerror or type(refused).__name__})"
    return found


class UnopenedError(Exception):
    """What stands in an archive cannot be looked at, however deep it lies: no proof of the file that holds it."""


def files_below(folder: Path, closed: Callable[[OSError], object] = lambda error: None) -> Iterator[Path]:
    """Regular files below a folder, hidden ones too. `closed` is told of each folder that cannot be looked into."""
    for home, _, names in os.walk(folder, onerror=closed):
        for name in names:
            path = Path(home, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _links_out(folder: Path) -> Iterator[Path]:
    whole = folder.resolve()
    for home, folders, names in os.walk(folder):
        for path in (Path(home, name) for name in (*folders, *names)):
            if path.is_symlink() and path.exists() and not path.resolve().is_relative_to(whole):
                yield path


def _left_in(stream: IO[bytes], traces: Traces, depth: int = 0) -> str | None:
    for text in _texts(stream, depth):
        for variant in _plainer(text):
            if traces.words_in(variant):
                return "words"
            if traces.id_in(variant):
                return "id"
            for held in filter(_is_no_noise, _unpacked_in(variant) if depth < _DEEPEST else ()):
                with suppress(UnopenedError):  # by chance a hash begins as an archive does
                    if (kind := _left_in(io.BytesIO(held), traces, depth + 1)) is not None:
                        return kind
    return None


def _texts(stream: IO[bytes], depth: int) -> Iterator[str]:
    """All that reads as text in a stream, piece by piece."""
    head = stream.read(512)
    stream.seek(0)
    if (name := next((name for mark, name in _CLOSED.items() if head.startswith(mark)), None)) is not None:
        raise UnopenedError(f"{name} is not unpacked here")
    if depth < _DEEPEST:
        # By its end too: a zip file may stand behind a program that unpacks it, or have lost its first bytes.
        if head.startswith(b"PK\x03\x04") or _ends_as_zip(stream):
            stream.seek(0)
            yield from _members(stream, depth)
        elif head.startswith(_TAR[1], _TAR[0]):
            yield from _members_of_tar(stream, depth)
        elif (opener := next((of for mark, of in _OPENERS if head.startswith(mark)), None)) is not None:
            yield from _unpacked(opener, stream, depth)
        elif head.startswith((b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")):
            yield from _table_values(stream)
    elif head.startswith((b"PK\x03\x04", *(mark for mark, _ in _OPENERS))):
        raise UnopenedError(f"more than {_DEEPEST} archives in one another")
    stream.seek(0)
    yield from _plain(stream, head)


def _ends_as_zip(stream: IO[bytes]) -> bool:
    try:
        return zipfile.is_zipfile(stream)
    except (*_UNREADABLE, ValueError):  # packed and cut: whoever reads it next says so
        return False
    finally:
        stream.seek(0)


def _members(stream: IO[bytes], depth: int) -> Iterator[str]:
    try:
        with zipfile.ZipFile(stream) as archive:
            for name in archive.namelist():
                yield name
                yield from _texts(io.BytesIO(archive.read(name)), depth + 1)
    except (*_UNREADABLE, zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError) as error:
        raise UnopenedError(f"a zip file that cannot be opened: {type(error).__name__}") from error


def _members_of_tar(stream: IO[bytes], depth: int) -> Iterator[str]:
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                yield member.name
                if (held := archive.extractfile(member) if member.isfile() else None) is not None:
                    yield from _texts(held, depth + 1)
    except (*_UNREADABLE, tarfile.TarError, ValueError) as error:
        raise UnopenedError(f"a tar file that cannot be opened: {type(error).__name__}") from error


def _unpacked(opener: Callable[[IO[bytes]], Any], stream: IO[bytes], depth: int) -> Iterator[str]:
    try:
        yield from _texts(opener(stream), depth + 1)
    except _UNREADABLE as error:  # cut, say: what was unpacked before that is lost with the block it stands in
        raise UnopenedError(f"a packed file that cannot be unpacked: {type(error).__name__}") from error


def _table_values(stream: IO[bytes]) -> Iterator[str]:
    """Texts in a Parquet or Arrow file; nothing where it only begins as Arrow's streams do, with four bytes of ones."""
    import pyarrow
    from pyarrow import ipc, parquet

    mark = stream.read(4)
    try:
        if mark == b"PAR1":
            stream.seek(0)
            batches: Iterator[Any] = parquet.ParquetFile(stream).iter_batches(1024)
        else:
            stream.seek(0)
            try:
                whole = ipc.open_file(stream)
                batches = (whole.get_batch(number) for number in range(whole.num_record_batches))
            except pyarrow.ArrowInvalid:
                stream.seek(0)
                batches = iter(ipc.open_stream(stream))
        for batch in batches:
            yield from strings(batch.to_pylist())
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if mark != b"\xff\xff\xff\xff":
            raise UnopenedError(f"a table that cannot be read: {type(error).__name__}") from error


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON-like value, names of its fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from strings(key)
            yield from strings(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from strings(one)


def _plain(stream: IO[bytes], head: bytes) -> Iterator[str]:
    wide = next((encoding for mark, encoding in _BOMS if head.startswith(mark)), None)
    tail = b""
    while block := stream.read(_BLOCK):
        data = tail + block
        if wide is not None:
            yield data.decode(wide, "replace")
        elif b"\x00" not in data[: 1 << 16]:
            yield (text := data.decode("utf-8", "replace"))
            if "\ufffd" in text:
                yield data.decode("cp1252", "replace")
        else:
            yield "\n|\n".join(one.decode("utf-8", "replace") for one in _READABLE.findall(data))
            yield from _wide_in(data)
        tail = data[-_OVERLAP:]


def _wide_in(data: bytes) -> Iterator[str]:
    """What reads as UTF-16 or UTF-32, of each encoding and from each byte on: runs of characters of common scripts."""
    found = np.frombuffer(data, dtype=np.uint8)
    for encoding in _WIDE:
        width = int(encoding[4:6]) // 8
        for first in range(width):
            rows = found[first : first + (len(found) - first) // width * width].reshape(-1, width)
            low, high, *rest = rows.T if encoding.endswith("le") else rows.T[::-1]
            good = (_FIRST_256[low] & (high == 0)) | _SCRIPTS[high]
            for empty in rest:
                good &= empty == 0
            edges = np.flatnonzero(np.diff(good, prepend=False, append=False))
            starts, ends = edges[::2], edges[1::2]
            long = ends - starts >= _SHORTEST_WIDE
            runs = zip(starts[long].tolist(), ends[long].tolist(), strict=True)
            yield "\n|\n".join(rows[start:end].tobytes().decode(encoding, "replace") for start, end in runs)


def variants(text: str) -> Iterator[str]:
    """A text, and what it says once escapes, tags and base64 are undone."""
    for one in _plainer(text):
        yield one
        yield from (held.decode("utf-8", "replace") for held in _unpacked_in(one))


def _plainer(text: str) -> Iterator[str]:
    """A text, and what it says once escapes and tags are undone."""
    yield text
    if "\\" in text:
        once = text
        for _ in range(_LAYERS):
            again = _ESCAPE.sub(_unescaped, once)
            if again == once:
                break
            once = again
            yield once.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if "<" in text or "&" in text:
        yield html.unescape(_TAG.sub("", text))
        yield html.unescape(_TAG.sub(" ", text))
    if _PERCENT.search(text):
        yield unquote(text, errors="replace")
    if _QUOTED.search(text):
        yield quopri.decodestring(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _unpacked_in(text: str) -> Iterator[bytes]:
    """What stands in base64 or hex in a text."""
    for found in _PACKED.findall(text):
        run = "".join(found.split())
        if len(run) < _SHORTEST or run.isdigit():
            continue
        try:
            if run.islower() or run.isupper():  # no base64 of any length has letters of one case alone
                if len(run) > _LONGEST_DIGEST:
                    yield bytes.fromhex(run)
            else:
                run = run.translate(_ALPHABET)
                yield base64.b64decode(run[: len(run) - (len(run) % 4 == 1)] + "=" * (-len(run) % 4))
        except (binascii.Error, ValueError):
            continue


def _is_no_noise(held: bytes) -> bool:
    """Whether bytes may hold text: a hash or a few numbers do not, and a file may have millions of them."""
    if len(held) > _LARGE or held.startswith((b"PK\x03\x04", *(mark for mark, _ in _OPENERS))):
        return True
    if 10 * len(held.translate(None, delete=_ASCII_TEXT)) < 3 * len(held) or 4 * held.count(0) > len(held):
        return True
    try:
        held.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(held) - 4  # only its end was cut
    return True


def _unescaped(match: re.Match[str]) -> str:
    if (code := match[1] or match[3] or match[4]) is not None:
        return chr(int(code, 16))
    return _CONTROLS.get(match[2], match[2])
