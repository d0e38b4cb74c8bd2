"""Read what torch.save wrote, as files from elsewhere are to be read: trusting nothing."""

import pickle
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from toypipe.errors import ToypipeError

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
            content = torch.load(file, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise ToypipeError(f"{path} does not exist: {remedy}") from None
    except DAMAGED:
        raise ToypipeError(f"{path} is damaged, or no file of toypipe: {remedy} anew") from None
    if not isinstance(content, dict):
        raise ToypipeError(f"{path} is no file of toypipe: {remedy} anew")
    return content
