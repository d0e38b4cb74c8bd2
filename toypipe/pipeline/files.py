"""How a stage names its files, and how it writes them: whole or not at all."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Reads = Annotated[Path, "reads"]
"""A file that a stage reads: a dependency in dvc.yaml, which a test holds to these."""
Writes = Annotated[Path, "writes"]
"""A file that a stage writes: an output in dvc.yaml."""


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name only when it is complete.

    Until then, and after any error, what was there before stays. The old file is never written
    into: it may be a link into DVC's cache.

    Args:
        path: Its folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_litter(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    raw = _Raw(temporary, "wb")
    try:
        with io.BufferedWriter(raw) as file:
            yield file
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = raw.failure or error
        if isinstance(reason, OSError) and reason.filename is None:
            reason.filename = str(path)  # a full disk does not say whose write it refused
        if reason is not error:
            raise reason from None
        raise


@contextmanager
def publish(*paths: Path, unchanged: Callable[[], None]) -> Iterator[list[IO[bytes]]]:
    """Open the outputs of a stage: all take their names, one right after the other, or none does.

    Args:
        paths: Where they go.
        unchanged: Called when all is written; raises if what was used is not what lies there now.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(whole(path)) for path in paths]
        yield files
        for file in files:
            file.flush()  # what a full disk refuses, it refuses before any file has its name
        unchanged()


def _remove_litter(path: Path) -> None:
    """Remove what processes that were killed while they wrote this file have left of it."""
    for left in path.parent.glob(f".{escape(path.name)}.*"):
        pid = left.suffix[1:]
        if pid.isdecimal():
            import psutil  # only where there is litter

            if not psutil.pid_exists(int(pid)):
                left.unlink(missing_ok=True)


class _Raw(io.FileIO):
    """A file that remembers why a write failed: torch.save puts an error of its own in place."""

    failure: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            raise


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Format a table as CSV in UTF-8 with LF; None is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def json_bytes(values: dict[str, Any]) -> bytes:
    """Format values as JSON in UTF-8 with LF, a line each."""
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()
