"""Files: written whole or not at all, equal bytes for equal contents, read without trust."""

import csv
import io
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from glob import escape
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from toypipe.errors import ToypipeError, is_out_of_memory
from toypipe.params.regular import open_regular

if TYPE_CHECKING:
    from torch import Tensor

# What torch raises for a state dict that another program wrote.
DAMAGED = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError)


def load_archive(path: Path, *, remedy: str, stored: bool = False) -> dict[str, Any]:
    """Read what `save_archive` wrote; no code in the file is run.

    `remedy` ends a sentence and says how to make the file: "`toypipe train` makes it". With
    `stored`, the tensors have shapes but no memory: `place_of` says where in the file they are.
    Raises ToypipeError if the file is missing, damaged or something else.
    """
    try:
        with open_regular(path) as file, warnings.catch_warnings(action="ignore"):
            _require_sound(zipfile.ZipFile(file), file.seek(0, os.SEEK_END))
            file.seek(0)
            import torch

            with _without_memory() if stored else nullcontext():
                content = torch.load(file, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise ToypipeError(f"{path} does not exist: {remedy}") from None
    except Exception as error:  # noqa: BLE001 - zipfile, pickle and torch have errors of their own
        if is_out_of_memory(error):
            raise ToypipeError(f"{path}: there is not enough memory to read it") from None
        raise ToypipeError(f"{path} is damaged, or not a toypipe file: {remedy} again") from None
    if not isinstance(content, dict):
        raise ToypipeError(f"{path} is not a toypipe file: {remedy} again")
    return content


def place_of(tensor: "Tensor", path: Path) -> int:
    """Return at which byte of its file a tensor begins that was loaded as `stored`.

    Raises ValueError if the file ends before the tensor does.
    """
    place = tensor.untyped_storage()._checkpoint_offset or 0  # noqa: SLF001 - there is no other way
    place += int(tensor.storage_offset()) * tensor.element_size()
    if place + tensor.nbytes > path.stat().st_size:
        raise ValueError("it is not all there")
    return place


def _without_memory() -> AbstractContextManager[Any]:
    from torch._subclasses.fake_tensor import FakeTensorMode  # takes a second, once it is used

    return FakeTensorMode()


def _require_sound(archive: zipfile.ZipFile, length: int) -> None:
    """Refuse an archive that claims to hold more than its length in bytes, or has wrong checksums.

    torch compresses nothing and skips the checksums; with them every flipped bit is found.
    """
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise zipfile.BadZipFile("compressed")
    if sum(member.file_size for member in members) > length or archive.testzip() is not None:
        raise zipfile.BadZipFile("damaged")


def save_archive(file: IO[bytes], content: dict[str, Any]) -> None:
    """Write a dict of tensors and plain values to an open file; equal contents give equal bytes.

    The tensors are on the CPU and share no memory: torch saves all memory behind a view.
    """
    import torch

    torch.save(_interned(content), file)  # given a path, torch would write the file's name


def _interned(value: Any) -> Any:
    """Make equal strings one object: pickle writes a repeated object shorter than an equal one."""
    if isinstance(value, dict):
        return {_interned(key): _interned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_interned(item) for item in value]
    return sys.intern(value) if isinstance(value, str) else value


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes its name only when it is complete.

    Folders above it are made. After an error the old file is unchanged. The old file is replaced,
    never written into: it may be a link into DVC's cache.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{escape(path.name)}.*"):
        import psutil

        pid = left.suffix[1:]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):  # it was killed while it wrote
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with BufferedWriter(_Target(temporary, path)) as file:
            yield file
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        # When a write fails, torch.save raises an error of its own.
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


class _Target(FileIO):
    """A new file that will take another name, which its errors have: the system's have none."""

    def __init__(self, path: Path, name: Path) -> None:
        super().__init__(path, "w")
        self._name = str(name)

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self._name
            raise


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Format a table as CSV in UTF-8 with LF; None is an empty cell."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


def json_bytes(values: dict[str, Any]) -> bytes:
    """Format values as JSON in UTF-8 with LF, one value a line."""
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()
