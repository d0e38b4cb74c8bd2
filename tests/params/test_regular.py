"""Only a regular file is opened; nothing else is waited for."""

import os
import sys
from pathlib import Path

import pytest

from toypipe.params.regular import open_regular

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")


def test_a_regular_file_is_opened(tmp_path: Path) -> None:
    """Directly and through a link."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"


@pytest.mark.parametrize("pipe", [False, True])
def test_what_may_never_end_is_refused(tmp_path: Path, pipe: bool) -> None:
    """A named pipe, a device and a folder are refused at once, directly and through a link."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path / "link", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file") as caught:
            open_regular(path, pipe=pipe)
        assert caught.value.filename == str(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error is the system's own."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_regular(tmp_path / "nowhere")


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="the system has no /dev/fd")
def test_the_pipe_of_a_caller_is_read_where_it_may_be() -> None:
    """`<(...)` of a shell is a pipe with a name below /dev: it is read once, so only on request."""
    reader, writer = os.pipe()
    os.write(writer, b"content")
    os.close(writer)
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(Path(f"/dev/fd/{reader}"))
    with open_regular(Path(f"/dev/fd/{reader}"), pipe=True) as file:
        assert file.read() == b"content"
    os.close(reader)
