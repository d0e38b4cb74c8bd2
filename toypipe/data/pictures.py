"""An image file as a network needs it: square, of one size, in red, green and blue."""

import warnings
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

import toypipe.data.heic  # noqa: F401 - Pillow has no words for it
from toypipe.errors import ToypipeError
from toypipe.params.regular import open_regular

# Every image is decoded within 1 GB and ten seconds. Pillow refuses twice its limit: more than 125
# million pixels, in two copies of four bytes each.
Image.MAX_IMAGE_PIXELS = 62_500_000
HEAVY = 40_000_000  # pixels, at most, in formats that take up to 24 bytes for each
SLOW = 4_000_000  # pixels, at most, in formats that Pillow decodes in Python, at 2 us for each
SCANNED = 2_500_000_000  # pixels times scans, at most, in a progressive JPEG, at 1 to 2 ns for each


def read_picture(path: Path, size: int) -> Tensor:
    """Read any image that Pillow opens, as uint8 of shape (size, size, 3).

    It is turned as its EXIF data says, cropped to the largest square in its middle and resized by
    bicubic interpolation that averages over the area. An image of the right size is not changed.

    Raises ToypipeError for a file that is not an image, or has more than 125 million pixels (40
    million in some formats, 4 million in rare ones).
    """
    try:
        # Pillow warns of damage that it repairs, and of the size of large photographs.
        quiet = warnings.catch_warnings(action="ignore")
        with quiet, open_regular(path, pipe=True) as file, Image.open(file) as image:
            square = ImageOps.fit(_to_rgb(image), (size, size), method=Image.Resampling.BICUBIC)
    except FileNotFoundError:
        raise ToypipeError(f"{path} does not exist") from None
    except UnidentifiedImageError:  # its message shows the file object
        raise ToypipeError(f"{path} cannot be read as an image: its format is unknown") from None
    except Exception as error:  # noqa: BLE001 - each plugin of Pillow has errors of its own
        reason = str(error) or type(error).__name__
        raise ToypipeError(f"{path} cannot be read as an image: {reason}") from None
    return torch.from_numpy(np.array(square))


def _to_rgb(image: ImageFile.ImageFile) -> Image.Image:
    """Return an opened image upright and in RGB; raise ValueError if it has no RGB or is large."""
    if image.format == "EPS":  # Pillow would run it, where Ghostscript is installed
        raise ValueError("it is EPS, which is a program: convert it to PNG")
    if image.mode == "F":
        raise ValueError("its pixels are fractions of unknown range: convert it to 8 bits")
    most = image.width * image.height
    if image.format in {"AVIF", "JPEG2000", "WEBP"} or image.mode.startswith("I"):
        most = HEAVY
    if any(tile[0] in Image.DECODERS for tile in image.tile):
        most = SLOW
    if image.info.get("progressive") and image.fp:  # JPEG that visits every pixel in each scan
        most = min(2 * HEAVY, SCANNED // _count_scans(image.fp))
    if image.width * image.height > most:
        raise ValueError(f"its kind may have {most / 1e6:g} million pixels: make it smaller")
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16 bits: convert() would clip, not scale
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("its pixels have more than 16 bits: convert it to 8 bits")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # the only way Pillow looks up such palettes
    return image if image.mode == "RGB" else image.convert("RGB")


def _count_scans(file: IO[bytes]) -> int:
    """Return how many scans a JPEG has, at least 1, without moving in its file."""
    place = file.tell()
    file.seek(0)
    scans = file.read().count(b"\xff\xda")
    file.seek(place)
    return max(scans, 1)
