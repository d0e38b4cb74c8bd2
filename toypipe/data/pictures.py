"""An image file as a network needs it: square, of one size, in red, green and blue."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

import toypipe.data.heic  # noqa: F401 - Pillow has no words for it
from toypipe.errors import ToypipeError

# What Pillow raises for invalid files.
UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, SyntaxError),
    *(struct.error, zlib.error, OverflowError, MemoryError, Image.DecompressionBombError),
)


def read_picture(path: Path, size: int) -> Tensor:
    """Read any image that Pillow opens, as uint8 of shape (size, size, 3).

    It is turned as its EXIF data says, cropped to the largest square in its middle and resized by
    bicubic interpolation that averages over the area. An image of the right size is not changed.

    Raises ToypipeError for a file that is not an image, or has more than 179 million pixels.
    """
    try:
        # Pillow warns of 89 million pixels and more, which large photographs have.
        quiet = warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
        with quiet, Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits: convert() would clip, not scale
                values = np.asarray(image).astype(np.int64)
                if values.min() < 0 or values.max() > 0xFFFF:
                    raise ValueError("its pixels have more than 16 bits: convert it to 8 bits")
                image = Image.fromarray((values >> 8).astype(np.uint8))
            if image.mode == "F":
                raise ValueError("its pixels are fractions of unknown range: convert it to 8 bits")
            if "transparency" in image.info:
                image = image.convert("RGBA")  # the only way Pillow looks up such palettes
            image = image.convert("RGB")
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    except FileNotFoundError:
        raise ToypipeError(f"{path} does not exist") from None
    except UNREADABLE as error:
        raise ToypipeError(f"{path} cannot be read as an image: {error}") from None
    return torch.from_numpy(np.array(image))
