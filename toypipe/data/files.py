"""Files: written whole or not at all, equal bytes for equal contents, read without trust."""

import csv
import io
import json
import os
import pickle
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from toypipe.errors import ToypipeError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# What torch.load and the unpickler beneath it raise for bytes that are not what they should be.
DAMAGED = (
    *(OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError),
    *(AssertionError, struct.error, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
)


def load_archive(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read a dict of tensors and plain values; no code in the file is run.

    torch skips the checksums of the archive that its files are, so they are compared here: a
    single flipped bit is found.

    Args:
        path: The file.
        remedy: How to make it, as the end of a sentence.

    Raises:
        ToypipeError: The file is missing, damaged or something else.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            if (member := zipfile.ZipFile(file).testzip()) is not None:
                raise zipfile.BadZipFile(member)
            file.seek(0)
            import torch

            content = torch.load(file, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise ToypipeError(f"{path} does not exist: {remedy}") from None
    except DAMAGED:
        raise ToypipeError(f"{path} is damaged, or no file of toypipe: {remedy} anew") from None
    if not isinstance(content, dict):
        raise ToypipeError(f"{path} is no file of toypipe: {remedy} anew")
    return content


def save_archive(file: IO[bytes], content: dict[str, Any]) -> None:
    """Write a dict of tensors and plain values; the bytes depend on the contents only.

    Args:
        file: An open file. By a path, torch would write the file's name into it.
        content: Tensors on the CPU that share no memory: torch saves all that a view looks at.
    """
    import torch

    torch.save(_interned(content), file)


def _interned(value: Any) -> Any:
    """Make equal strings one object: pickle writes a repeated object shorter than an equal one."""
    match value:
        case dict():
            return {_interned(key): _interned(item) for key, item in value.items()}
        case list():
            return [_interned(item) for item in value]
        case str():
            return sys.intern(value)
        case _:
            return value


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
