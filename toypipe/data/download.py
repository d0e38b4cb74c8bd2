"""Fetch a file of known length and checksum from whichever of its sources works."""

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

SILENCE = 20.0  # seconds without a byte, or without an answer, after which a source is given up
WINDOW = 20.0  # seconds over which speed is measured
SLOW = 100_000  # bytes/s; below it another source is tried, while there is one not yet tried
CRAWL = 10_000  # bytes/s; below it any source is given up
PROGRESS = 0.01  # share of the file; a round that gained it does not count as failed
FAILURES = 3  # rounds over all sources, or files with wrong bytes, after which it ends
PAUSE = 2.0  # seconds before the second round, twice that before the third
BLOCK = 1 << 18  # bytes read at once, at most
LOOK = 1.0  # seconds between two looks at what another process has fetched

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def download(urls: Sequence[str], target: Path, *, size: int, md5: str) -> Iterator[int]:
    """Leave a file complete and verified, going on where an earlier call stopped.

    Bytes are collected beside the file, in `.part`, and only the right ones get its name. Of two
    processes one fetches, and the other waits for it.

    Args:
        urls: Where the file is, the best source first.
        target: The file; its folder is made where it is missing.
        size: Its length in bytes.
        md5: Its checksum.

    Yields:
        How many bytes have arrived; nothing if the file is there already.

    Raises:
        ToypipeError: No source could deliver it; each is named with its last reason.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, lock = (target.with_name(target.name + suffix) for suffix in (".part", ".lock"))
    busy = FileLock(lock)
    while not busy.is_locked:
        try:
            busy.acquire(timeout=LOOK)
        except Timeout:
            yield _length(part) or _length(target)  # the one becomes the other
    try:
        if not _is(target, size, md5):
            yield from _fetch(urls, part, size, md5)
            part.replace(target)
    finally:
        with suppress(OSError):  # Windows lets nobody remove it before it is released, and does so
            lock.unlink()
        busy.release()


def _fetch(urls: Sequence[str], part: Path, size: int, md5: str) -> Iterator[int]:
    """Complete the part; try the sources in turn for as long as that leads anywhere."""
    reasons: dict[str, str] = {}
    failed = wrong = 0
    best = _length(part)
    while not _is_complete(part, size, md5):
        if max(failed, wrong) >= FAILURES:
            raise ToypipeError("\n".join(f"  {url}: {why}" for url, why in reasons.items()))
        time.sleep(PAUSE * failed)
        failed += 1
        for url in urls:
            try:
                hurry = failed <= 1 and url != urls[-1]
                yield from _receive(url, part, size, SLOW if hurry else CRAWL)
                if _is_complete(part, size, md5):
                    return
                wrong, best = wrong + 1, 0
                # It may have gone on with another's wrong bytes; next time it begins.
                urls = [url, *(other for other in urls if other != url)]
                raise ToypipeError(f"{size:,} bytes came, but not those with md5 {md5}")
            except (OSError, HTTPError, ValueError) as error:  # ValueError: a header with nonsense
                if isinstance(error, OSError) and error.errno is not None:  # the disk's, not theirs
                    error.filename = error.filename or str(part)
                    raise
                reasons[url.partition("?")[0]] = _reason(error)
            if _length(part) - best >= PROGRESS * size:
                best, failed = _length(part), 0


def _receive(url: str, part: Path, size: int, slowest: float) -> Iterator[int]:
    """Append to the part what one source has to give."""
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
                # One read of the socket: a source that drips cannot hide behind a larger block.
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
    """Return the byte at which an answer begins; refuse one that cannot be the file."""
    status, headers = response.status_code, response.headers
    if status not in {requests.codes.ok, requests.codes.partial_content}:
        raise ToypipeError(f"HTTP status {status} ({response.reason})")
    if headers.get("Content-Type", "").startswith("text/html"):
        raise ToypipeError("a web page came instead of the file")
    if status == requests.codes.partial_content:
        sent = headers.get("Content-Range", "nothing")
        match = _RANGE.fullmatch(sent)
        if not match or int(match[1]) != had or match[2] not in {"*", str(size)}:
            raise ToypipeError(f"asked for bytes from {had} on of {size}, it sent {sent}")
        return had
    if (length := headers.get("Content-Length", str(size))) != str(size):
        raise ToypipeError(f"it has {length} bytes instead of {size}")
    return 0


def _is_complete(part: Path, size: int, md5: str) -> bool:
    """Tell whether the part is the file, and remove it if it never will be."""
    if _length(part) < size:
        return False
    if not (complete := _is(part, size, md5)):
        part.unlink()
    return complete


def _is(path: Path, size: int, md5: str) -> bool:
    if _length(path) != size:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() == md5


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _reason(error: BaseException) -> str:
    """Say what lies beneath the layers of exceptions, and let no server write to a terminal."""
    while True:
        nested = (argument for argument in error.args if isinstance(argument, Exception))
        if (inner := error.__cause__ or next(nested, None)) is None:
            break
        error = inner
    if isinstance(error, TimeoutError):
        return f"silent for {SILENCE:.0f} s"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "".join(filter(str.isprintable, text))[:200]
