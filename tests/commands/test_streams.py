"""Standard streams that are closed, full or unread cost what is printed, and no exit code."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from synthetic import ROOT
from toypipe.commands import streams
from toypipe.errors import ToypipeError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the shell of POSIX closes streams")


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell that calls toypipe as `T`."""
    return subprocess.run(
        ["bash", "-c", line.replace("T ", f"{sys.executable} -m stages ")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Return a folder with metrics."""
    (tmp_path / "data/reports").mkdir(parents=True)
    (tmp_path / "data/reports/test.json").write_text('{"accuracy": 0.5}')
    return tmp_path


@pytest.mark.parametrize("streams", [">&-", ">&- 2>&- <&-", "> /dev/full 2>&1"])
def test_a_gate_ends_with_its_own_code(reports: Path, streams: str) -> None:
    """4 for a violated bound, 0 for one that holds, 2 for none."""
    commands = ("T gate --min test.accuracy=1", "T gate --min test.accuracy=0", "T gate")
    result = shell("; ".join(f"{command} {streams}; echo $?" for command in commands), reports)

    assert result.stdout == "4\n0\n2\n"
    assert "Traceback" not in result.stderr


def test_what_is_made_for_a_program_is_not_lost_silently(tmp_path: Path) -> None:
    """A full disk is an error; a reader that has read enough is none."""
    result = shell(
        "T schema > /dev/full; echo $?; T schema | true; echo ${PIPESTATUS[0]}", tmp_path
    )

    assert result.stdout == "2\n0\n"
    assert result.stderr == (
        "error: standard output cannot be written: No space left on device. Print it elsewhere\n"
    )


def test_a_file_does_not_get_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What is printed would be written into it."""
    code = (
        "import os; from toypipe.commands import streams; streams.mend();"
        " file = open('kept', 'wb', 0); print('lost', flush=True); os.write(2, b'lost');"
        " file.write(str(file.fileno() > 2).encode())"
    )
    shell(f'{sys.executable} -c "{code}" <&- >&- 2>&-', tmp_path)

    assert (tmp_path / "kept").read_bytes() == b"True"


class Raw(io.RawIOBase):
    """A stream that keeps what is written, or fails."""

    def __init__(self, error: OSError | None = None) -> None:
        self.written, self._error = b"", error

    def write(self, data: Any) -> int:
        """Keep it, or fail."""
        if self._error:
            raise self._error
        self.written += bytes(data)
        return len(data)

    def writable(self) -> bool:
        """Tell that it is made to be written."""
        return True


def print_to(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mend a standard output that knows nothing but ASCII."""
    own = io.TextIOWrapper(io.BufferedWriter(raw), encoding="ascii")
    for name in ("stdout", "__stdout__"):
        monkeypatch.setattr(sys, name, own)
    streams.mend()


def test_what_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a character too, which no encoding has."""
    raw = Raw()
    print_to(raw, monkeypatch)
    print("é \udcff")  # noqa: T201

    assert streams.is_read()
    assert raw.written == b"\\xe9 \\udcff\n"


def test_a_reader_that_has_left_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing raises nothing, however often; who wants to know can ask."""
    print_to(Raw(BrokenPipeError()), monkeypatch)
    for _ in range(3):
        print("lost", flush=True)  # noqa: T201

    assert not streams.is_read()


def test_a_full_disk_is_an_error_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the reason."""
    print_to(Raw(OSError(28, "Full")), monkeypatch)
    print("lost")  # noqa: T201

    with pytest.raises(ToypipeError, match="cannot be written: Full"):
        streams.is_read()
