"""Standard input, output and error: one that is closed, full or unread changes no exit code."""

import io
import os
import select
import sys
from typing import Any

from toypipe.errors import ToypipeError


class _Output(io.RawIOBase):
    """What is beneath a standard stream; a failed write is noted, and raises nothing."""

    def __init__(self, raw: Any) -> None:
        self.error: OSError | None = None
        self._raw = raw

    def write(self, data: Any) -> int:
        try:
            while (count := self._raw.write(data)) is None:  # a full pipe that does not block
                select.select([], [self._raw], [])
        except OSError as error:
            self.error = error
            return len(data)
        return int(count)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        return bool(self._raw.isatty())


def mend() -> None:
    """Open the standard streams that are closed, and let the others fail without an exception.

    Else the next file that is opened would get the number of a closed stream, and what is printed.
    What the encoding of a stream lacks is escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):  # a test has replaced it
            continue
        if stream is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(descriptor, number == descriptor)
            stream = open(descriptor, "r" if number == 0 else "w", encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, f"__{name}__", stream)  # else it would be closed when it is wrapped
        if number > 0:
            output = _Output(getattr(stream.buffer, "raw", stream.buffer))
            stream = io.TextIOWrapper(
                io.BufferedWriter(output),
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
        setattr(sys, name, stream)


def is_read() -> bool:
    """Tell whether what was printed has arrived; false if the reader of a pipe has left, as `head`.

    For what is made to be read by a program: raises ToypipeError if it is lost, for example on a
    full disk.
    """
    sys.stdout.flush()
    error = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "error", None)
    if error is None or isinstance(error, BrokenPipeError):
        return error is None
    raise ToypipeError(f"standard output cannot be written: {error.strerror}. Print it elsewhere")
