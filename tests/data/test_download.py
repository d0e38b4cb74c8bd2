"""A download ends with the right bytes, or an error says what was wrong with each source."""

import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from misbehaving import CONTENT, SIZE, TENTH, Server, serve
from synthetic import ROOT
from toypipe.data import download as module
from toypipe.data.download import download, has_digest
from toypipe.errors import ToypipeError

DIGEST = f"md5 {hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve every kind of misbehaviour, with short time limits."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "SILENCE", 0.25)
    monkeypatch.setattr(module, "WINDOW", 0.15)
    monkeypatch.setattr(module, "CRAWL", 1000)
    monkeypatch.setattr(module, "PAUSE", 0.01)
    monkeypatch.setattr(module, "LOOK", 0.01)
    with serve() as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return the path of the file, in a folder that does not exist yet."""
    return tmp_path / "raw" / "file"


def fetch(target: Path, *urls: str) -> list[int]:
    """Download to the end; return what was yielded."""
    return list(download(urls, target, size=SIZE, digest=DIGEST))


def refused(target: Path, *urls: str) -> str:
    """Return the error message if all sources fail."""
    with pytest.raises(ToypipeError) as caught:
        fetch(target, *urls)
    return str(caught.value)


def assert_right(target: Path) -> None:
    """Check that the file is complete and alone in its folder."""
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def part_of(target: Path) -> Path:
    """Return the path of the part, in a folder that exists."""
    target.parent.mkdir(exist_ok=True)
    return target.with_name("file.part")


BAD = {
    "404": "HTTP status 404 (Not Found)",
    "500": "HTTP status 500 (Oh\\x1b[31m no)",  # nothing that a terminal would obey
    "shorter": f"it has {SIZE - 1} bytes instead of {SIZE}",
    "longer": f"it has {SIZE + 1} bytes instead of {SIZE}",
    "nonsense length": "Content-Length contained multiple unmatching values (1, 2)",
    "other bytes": f"not those with {DIGEST}",
    "other bytes at the end": f"not those with {DIGEST}",
    "silent": "silent for",
    "silent after the head": "silent for",
    "silent halfway": "silent for",
    "drips": "kB/s",
    "breaks, other bytes": f"not those with {DIGEST}",
    "breaks, no ranges": f"{SIZE - TENTH} more expected",
    "breaks, in chunks": "IncompleteRead",
    "ends early, no length": f"broke off after {TENTH:,} of {SIZE:,} bytes",
    "loops": "Exceeded 30 redirects",
    "moved nowhere": "Invalid",
    "login page": "a web page came instead of the file",
    "login page, no length": "a web page came instead of the file",
    "other range": f"from {TENTH} on of {SIZE}, it sent bytes {TENTH + 1}-{SIZE - 1}/{SIZE}",
    "range of another file": f"it sent bytes 0-{SIZE}/{SIZE + 1}",
    "range of nothing": "it sent nothing",
    "range always refused": "HTTP status 416",
    "endless": f"not those with {DIGEST}",
    "another protocol": "220 this \\x1b[2Jis no web server",
    "hangs up": "Remote end closed connection without response",
}
"""What a server can do instead of sending the file, and part of the error message for it."""

GOOD = ["good", "no ranges", "breaks", "moved", "encoding claimed", "no length", "chunks"]
GOOD += ["more than promised", "more, no length", "range refused", "slow"]


# one source -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BAD)
def test_bad_source_alone_is_named_with_its_reason(
    server: Server, target: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file does not appear, and the message has the source and the reason."""
    monkeypatch.setattr(module, "FAILURES", 2)
    message = refused(target, server.url(kind) + "?secret=1")
    assert message.startswith(f"  {server.url(kind)}: ")
    assert BAD[kind] in message
    assert message.isprintable()
    assert not target.exists()
    assert {path.name for path in target.parent.iterdir()} <= {"file.part"}


@pytest.mark.parametrize(
    "kind",
    ["other range", "range of another file", "range of nothing", "login page, no length", "404"],
)
def test_what_has_arrived_survives_an_answer_that_is_not_the_file(
    server: Server, target: Path, kind: str
) -> None:
    """A wrong answer to a request for the rest does not remove what has arrived."""
    part_of(target).write_bytes(CONTENT[:1000])
    refused(target, server.url(kind))
    assert part_of(target).read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("had", [0, 1000])
def test_good_source_alone_is_enough(server: Server, target: Path, kind: str, had: int) -> None:
    """The right bytes arrive, from the start or resumed, in whichever way the source sends them."""
    if had:
        part_of(target).write_bytes(CONTENT[:had])
    fetch(target, server.url(kind))
    assert_right(target)
    if kind not in {"breaks", "moved", "range refused"}:
        assert server.asked == [(kind, had or None)]


def test_refused_connection_is_reported(target: Path, server: Server) -> None:
    """If there is no connection, the message has the system's reason."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        assert refused(target, url) == f"  {url}: Connection refused"
        fetch(target, url, server.url("good"))
    assert_right(target)


@pytest.mark.parametrize("url", ["", "file", "file:///etc/hostname", "http://[", "http://a b/"])
def test_invalid_url_is_refused(server: Server, target: Path, url: str) -> None:
    """An invalid URL is reported like any other source that fails."""
    assert refused(target, url).startswith(f"  {url}: ")
    fetch(target, url, server.url("good"))
    assert_right(target)


def test_source_that_breaks_at_every_tenth_is_asked_for_the_rest(
    server: Server, target: Path
) -> None:
    """Every request starts where the one before broke off, and none is wasted."""
    fetch(target, server.url("breaks"))
    assert [start or 0 for _, start in server.asked] == list(range(0, SIZE, TENTH))


# several sources ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BAD)
def test_next_source_makes_up_for_a_bad_one(server: Server, target: Path, kind: str) -> None:
    """If the first source misbehaves, the file arrives from the second, and is alone."""
    fetch(target, server.url(kind), server.url("good"))
    assert_right(target)


def test_every_source_is_named(server: Server, target: Path) -> None:
    """If several sources fail, each has its line, in their order."""
    kinds = ["404", "hangs up", "login page"]
    lines = refused(target, *map(server.url, kinds)).splitlines()
    assert len(lines) == len(kinds)
    for line, kind in zip(lines, kinds, strict=True):
        assert line.startswith(f"  {server.url(kind)}: {BAD[kind]}")
    assert [kind for kind, _ in server.asked] == kinds * module.FAILURES


def test_rounds_are_apart(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After all sources have failed there is a pause, and a longer one after the next round."""
    pauses: list[float] = []
    monkeypatch.setattr(module, "PAUSE", 3)
    # For this module alone: other threads sleep too.
    clock = SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic)
    monkeypatch.setattr(module, "time", clock)
    refused(target, server.url("404"), server.url("500"))
    assert pauses == [0, 3, 6]


def test_slow_source_is_left_while_there_is_another(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow source is left for the next one, which resumes there."""
    monkeypatch.setattr(module, "SLOW", 1e7)
    fetch(target, server.url("slow"), server.url("good"))
    (_, first), (kind, second) = server.asked
    assert (first, kind) == (None, "good")
    assert second
    assert_right(target)


def test_slow_source_is_enough_where_the_others_fail(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all sources have been tried, a source that was left for being slow may finish."""
    monkeypatch.setattr(module, "SLOW", 1e7)
    monkeypatch.setattr(module, "PROGRESS", 1.0)
    fetch(target, server.url("slow"), server.url("404"))
    assert [kind for kind, _ in server.asked] == ["slow", "404", "slow"]
    assert_right(target)


# resuming -------------------------------------------------------------------------------------

FETCH = """
import sys
from pathlib import Path
from toypipe.data.download import download, has_digest
url, target, size, digest = sys.argv[1:]
for arrived in download([url], Path(target), size=int(size), digest=digest):
    print(arrived, flush=True)
"""


def start(server: Server, target: Path, kind: str) -> "subprocess.Popen[str]":
    """Start a download in another process."""
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, server.url(kind), str(target), str(SIZE), DIGEST],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: "subprocess.Popen[str]", arrived: int) -> None:
    """Wait until so many bytes have arrived."""
    assert process.stdout is not None
    while int(process.stdout.readline()) < arrived:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_killed_download_is_resumed(server: Server, target: Path, how: str) -> None:
    """After a kill or Ctrl-C, the next call asks only for the rest."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = start(server, target, "slow")
    signal.signal(signal.SIGINT, before)
    wait_for(process, 3 * TENTH)
    process.send_signal(signal.Signals[how])
    process.communicate(timeout=20)
    assert not target.exists()
    had = part_of(target).stat().st_size
    assert 2 * TENTH < had < SIZE
    assert fetch(target, server.url("good"))[0] == had
    assert server.asked == [("slow", None), ("good", had)]
    assert_right(target)


def test_of_two_processes_one_fetches(server: Server, target: Path) -> None:
    """The second process waits, yields the first one's progress, and finds the complete file."""
    process = start(server, target, "slow")
    wait_for(process, TENTH)
    seen = fetch(target, server.url("good"))
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert seen == sorted(seen)
    assert 0 < seen[0] < SIZE
    assert [kind for kind, _ in server.asked] == ["slow"]
    assert_right(target)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    length=st.integers(0, SIZE + 2),
    flipped=st.none() | st.integers(0, SIZE + 1),
    kind=st.sampled_from(["good", "no ranges", "breaks"]),
)
@example(length=SIZE, flipped=None, kind="good")
@example(length=SIZE, flipped=0, kind="good")
@example(length=SIZE + 1, flipped=None, kind="good")
@example(length=SIZE - 1, flipped=5, kind="breaks")
def test_any_beginning_ends_in_the_right_bytes(
    server: Server, target: Path, length: int, flipped: int | None, kind: str
) -> None:
    """A part of any length, even a damaged one, ends in the right file."""
    target.unlink(missing_ok=True)
    begun = bytearray(CONTENT + b"xx")[:length]
    if flipped is not None and flipped < length:
        begun[flipped] ^= 1
    part_of(target).write_bytes(begun)
    server.asked.clear()
    fetch(target, server.url(kind))
    assert_right(target)
    if begun == CONTENT:
        assert server.asked == []
    elif 0 < length < SIZE:
        assert server.asked[0] == (kind, length)
    else:
        assert server.asked[0] == (kind, None)


def test_complete_file_needs_no_request(server: Server, target: Path) -> None:
    """A complete file is not downloaded again."""
    fetch(target, server.url("good"))
    server.asked.clear()
    assert fetch(target, server.url("good")) == []
    assert server.asked == []
    assert_right(target)


def test_wrong_file_stays_until_the_right_one_is_there(server: Server, target: Path) -> None:
    """An existing file is replaced only by verified bytes."""
    part_of(target)
    target.write_bytes(b"mine")
    refused(target, server.url("other bytes"))
    assert target.read_bytes() == b"mine"
    fetch(target, server.url("good"))
    assert_right(target)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_a_named_pipe_is_not_waited_for(target: Path) -> None:
    """What is no regular file is an error of the system with its name."""
    target.parent.mkdir()
    os.mkfifo(target)
    with pytest.raises(OSError, match=f"not a regular file: '{target}'"):
        has_digest(target, DIGEST)


def test_progress_is_yielded(server: Server, target: Path) -> None:
    """Progress starts at the length of the part, grows, and ends at the whole file."""
    part_of(target).write_bytes(CONTENT[:1000])
    seen = fetch(target, server.url("good"))
    assert (seen[0], seen[-1]) == (1000, SIZE)
    assert seen == sorted(seen)


def test_abandoned_download_leaves_only_its_part(server: Server, target: Path) -> None:
    """If the caller stops reading, the lock is released and removed."""
    events = download([server.url("slow")], target, size=SIZE, digest=DIGEST)
    assert next(events) == 0
    next(events)
    assert isinstance(events, Iterator)
    events.close()  # type: ignore[attr-defined]
    assert list(target.parent.iterdir()) == [part_of(target)]


# errors of the disk --------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit to set")
def test_full_disk_is_the_systems_error_with_the_files_name(server: Server, target: Path) -> None:
    """The system's error is raised with the file's name, and what has arrived stays."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * TENTH, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            fetch(target, server.url("slow"), server.url("good"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(part_of(target))
    assert [kind for kind, _ in server.asked] == ["slow"]
    assert part_of(target).stat().st_size > 2 * TENTH
    fetch(target, server.url("good"))
    assert_right(target)
