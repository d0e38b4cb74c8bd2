"""An image file as a network wants it: square, of one size, red, green and blue."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from toypipe.errors import ToypipeError


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
            if image.mode.startswith("I;16"):  # 16 bits: convert() would cut off, not scale
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            image = image.convert("RGB")
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    except FileNotFoundError:
        raise ToypipeError(f"{path} does not exist") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ToypipeError(f"{path} cannot be read as an image: {error}") from None
    return torch.from_numpy(np.array(image))
