"""HEIC is named, and AVIF, which begins alike, is read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from toypipe.data.pictures import read_picture
from toypipe.errors import ToypipeError

HEAD = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200)
"""How a photograph of a phone begins."""


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "IMG_0001.jpg"])
def test_heic_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    """By its content, as phones also send it under another name."""
    (tmp_path / name).write_bytes(HEAD)
    with pytest.raises(ToypipeError, match=f"{name} cannot be .* it is HEIC: convert it to JPEG"):
        read_picture(tmp_path / name, 8)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read(tmp_path: Path) -> None:
    """It has the same container."""
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(tmp_path / "a.avif")

    assert abs(read_picture(tmp_path / "a.avif", 8).float().mean() - 200) < 5
