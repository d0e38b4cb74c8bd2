"""Pictures become one tensor that no memory has to hold: it lies in a file without a name."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch
from torch import Tensor


def pack(pictures: Iterable[Tensor], size: int, folder: Path) -> Tensor:
    """Pack pictures, each uint8 of shape (size, size, 3), into one tensor.

    It lies in a temporary file, which goes when it does, in `folder` or, while that is missing,
    above it. The file is written before it is mapped: so a full disk is an OSError, where writing
    to a mapping would end the process.

    Returns uint8 of shape (N, 3, size, size), in channels_last memory.
    """
    folder = next(each for each in (folder, *folder.parents) if each.is_dir())
    try:
        with TemporaryFile(dir=folder) as file:
            for picture in pictures:
                file.write(picture.numpy().data)
            file.flush()
            count = file.tell() // (3 * size**2)
            if count == 0:  # nothing cannot be mapped
                return torch.empty(0, 3, size, size, dtype=torch.uint8)
            pixels = np.memmap(file, np.uint8, "r+", shape=(count, size, size, 3))
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
