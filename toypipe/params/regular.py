"""The one place where a file from elsewhere is opened."""

import errno
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path, *, pipe: bool = False) -> BufferedReader:
    """Open a file for reading; raise OSError if it is a folder, a named pipe or a device.

    A named pipe may never be written to, and a device may have no end. With `pipe`, a pipe that
    the caller has opened is read too: /dev/stdin, and /dev/fd/63 of a shell's `<(...)`.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        given = pipe and stat.S_ISFIFO(mode) and path.is_relative_to("/dev")
        if not given:
            raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.open("rb")
