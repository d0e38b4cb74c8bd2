"""Download a file of known length and checksum from the first source that works."""

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import requests
from filelock import FileLock, Timeout
from urllib3.exceptions import HTTPError

from toypipe.errors import ToypipeError
from toypipe.params.regular import open_regular

SILENCE = 20.0  # seconds to wait for an answer or a byte before giving up a source
WINDOW = 20.0  # seconds over which speed is measured
SLOW = 100_000  # bytes/s; in the first round, a slower source is left for the next one
CRAWL = 10_000  # bytes/s; a slower source is given up
PROGRESS = 0.01  # share of the file; a round that gained it has not failed
FAILURES = 3  # failed rounds over all sources, or complete files with wrong bytes, to give up
PAUSE = 2.0  # seconds before the second round, twice that before the third
BLOCK = 1 << 18  # bytes to read at once, at most
LOOK = 1.0  # seconds between two looks at what another process has downloaded


def download(urls: Sequence[str], target: Path, *, size: int, digest: str) -> Iterator[int]:
    """Download a file of `size` bytes, or resume where an earlier call stopped.

    `digest` is a name of hashlib and the first digits of the checksum, `md5 c58f30...`. The best
    source comes first. Bytes are collected in a `.part` file, which is renamed once its
    checksum is right. Of two processes one downloads and the other waits. Yields how many bytes
    have arrived; nothing if the file is already there.

    Raises ToypipeError if all sources failed; the message has the last reason of each.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, lock_file = (target.with_name(target.name + suffix) for suffix in (".part", ".lock"))
    lock = FileLock(lock_file)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=LOOK)
        except Timeout:
            yield _length(part) or _length(target)  # the part is renamed at the end
    try:
        if not _is_right(target, size, digest):
            yield from _fetch(urls, part, size, digest)
            part.replace(target)
    except OSError as error:  # of the disk
        error.filename = error.filename or str(part)
        raise
    finally:
        with suppress(OSError):  # Windows cannot remove an open file
            lock_file.unlink()
        lock.release()


def ask_size(url: str) -> int:
    """Ask a server how many bytes a file has; raise ToypipeError, with the reason, if it fails."""
    try:
        with requests.head(url, timeout=SILENCE, allow_redirects=True) as response:
            _require_ok(response)
            if not (length := response.headers.get("Content-Length", "")).isdecimal():
                raise ToypipeError("it does not say how many bytes the file has")
            return int(length)
    except (requests.RequestException, HTTPError, ValueError) as error:
        raise ToypipeError(f"  {url}: {_reason(error)}") from None


def has_digest(path: Path, digest: str) -> bool:
    """Tell whether a file exists and has a checksum, which is written as `download` takes it."""
    name, _, digits = digest.partition(" ")
    try:
        with open_regular(path) as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False))
    except FileNotFoundError:
        return False
    return found.hexdigest().startswith(digits)


def _fetch(urls: Sequence[str], part: Path, size: int, digest: str) -> Iterator[int]:
    """Complete the part: ask the sources in turn until they fail or make no progress."""
    reasons: dict[str, str] = {}
    failed = wrong = 0
    if (best := _length(part)) >= size and not _is_right(part, size, digest):
        part.unlink()
        best = 0
    while not _is_right(part, size, digest):
        if max(failed, wrong) >= FAILURES:
            raise ToypipeError(*(f"  {url}: {why}" for url, why in reasons.items()))
        time.sleep(PAUSE * failed)
        failed += 1
        for url in urls:
            slowest = SLOW if failed <= 1 and url != urls[-1] else CRAWL
            try:
                yield from _receive(url, part, size, slowest)
                if _is_right(part, size, digest):
                    return
                part.unlink()
                wrong, best = wrong + 1, 0
                # It may have resumed another's wrong bytes: next time it starts the file.
                urls = [url, *(other for other in urls if other != url)]
                raise ToypipeError(f"{size:,} bytes came, but not those with {digest}")
            except (requests.RequestException, HTTPError, ValueError) as error:
                reasons[url.partition("?")[0]] = _reason(error)
            if _length(part) - best >= PROGRESS * size:
                best, failed = _length(part), 0


def _receive(url: str, part: Path, size: int, slowest: float) -> Iterator[int]:
    """Append what one source sends to the part; yield the length of the part."""
    had = _length(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    with requests.get(url, headers=headers, stream=True, timeout=SILENCE) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink(missing_ok=True)
        had = _accept(response, had, size)
        with part.open("ab" if had else "wb") as file:
            yield had
            then, before = time.monotonic(), had
            while had < size:
                # read1 returns what is there: a source that drips cannot hide behind a block.
                data = response.raw.read1(min(BLOCK, size - had), decode_content=False)
                if not data:
                    raise ToypipeError(f"broke off after {had:,} of {size:,} bytes")
                file.write(data)
                had += len(data)
                yield had
                if (passed := time.monotonic() - then) > WINDOW:
                    if (speed := (had - before) / passed) < slowest:
                        raise ToypipeError(f"only {speed / 1000:,.1f} kB/s")
                    then, before = time.monotonic(), had


def _accept(response: requests.Response, had: int, size: int) -> int:
    """Return the byte at which an answer starts; refuse one that cannot be the file."""
    headers = response.headers
    _require_ok(response)
    if response.status_code == requests.codes.partial_content:
        sent = headers.get("Content-Range", "nothing")
        if not re.fullmatch(rf"bytes {had}-\d+/({size}|\*)", sent):
            raise ToypipeError(f"asked for bytes from {had} on of {size}, it sent {sent}")
        return had
    if (length := headers.get("Content-Length", str(size))) != str(size):
        raise ToypipeError(f"it has {length} bytes instead of {size}")
    return 0


def _require_ok(response: requests.Response) -> None:
    if response.status_code not in {requests.codes.ok, requests.codes.partial_content}:
        raise ToypipeError(f"HTTP status {response.status_code} ({response.reason})")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise ToypipeError("a web page came instead of the file")


def _is_right(path: Path, size: int, digest: str) -> bool:
    return _length(path) == size and has_digest(path, digest)


def _length(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _reason(error: BaseException) -> str:
    """Return the innermost cause in words."""
    while error.__context__:
        error = error.__context__
    if isinstance(error, TimeoutError):
        return f"silent for {SILENCE:.0f} s"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)[:200]
