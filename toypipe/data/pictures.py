"""An image file as a network wants it: square, of one size, red, green and blue."""

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from toypipe.errors import ToypipeError

# What Pillow raises for files that are not what they should be.
UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, SyntaxError),
    *(struct.error, zlib.error, OverflowError, MemoryError, Image.DecompressionBombError),
)


def read_picture(path: Path, size: int) -> Tensor:
    """Read any image that Pillow opens.

    It is turned the way its EXIF data says, cropped to the largest square in its middle and
    resized by area-aware bicubic interpolation. An image that has the size already is not changed.

    Args:
        path: An image file.
        size: Width and height of the result, in pixels.

    Returns:
        uint8 of shape (size, size, 3).

    Raises:
        ToypipeError: The file cannot be read as an image.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits: convert() would cut off, not scale
                values = np.asarray(image).astype(np.int64)
                if values.min() < 0 or values.max() > 0xFFFF:
                    raise ValueError("its pixels have more than 16 bits: convert it to 8 bits")
                image = Image.fromarray((values >> 8).astype(np.uint8))
            if image.mode == "F":
                raise ValueError("its pixels are fractions of unknown range: convert it to 8")
            if "transparency" in image.info:
                image = image.convert("RGBA")  # Pillow looks such palettes up in no other way
            image = image.convert("RGB")
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    except FileNotFoundError:
        raise ToypipeError(f"{path} does not exist") from None
    except UNREADABLE as error:
        raise ToypipeError(f"{path} cannot be read as an image: {error}") from None
    return torch.from_numpy(np.array(image))
