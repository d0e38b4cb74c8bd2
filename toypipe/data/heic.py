"""HEIC, the format of many phones, is refused with what to do, where Pillow would not know it.

pillow-heif could read it. But another decoder gives other pixels, and its version would be one more
thing that results depend on: converted once, the images stay as they are.
"""

from typing import IO, NoReturn

from PIL import Image

BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}  # major brands; AVIF has others


def _is_heic(head: bytes) -> bool:
    """Tell HEIC by its first box (ISO/IEC 23008-12, annex B.4), whatever the file is called."""
    return head[4:8] == b"ftyp" and head[8:12] in BRANDS


def _refuse(_: IO[bytes], __: str | bytes) -> NoReturn:
    raise ValueError(
        "it is HEIC: convert it to JPEG, for example by `magick mogrify -format jpg *.heic` of"
        " ImageMagick, and move the original elsewhere"
    )


Image.register_open("HEIC", _refuse, _is_heic)
