"""Pictures packed into a file without a name."""

import resource
from pathlib import Path

import pytest
import torch

from toypipe.data.packing import pack

PICTURES = torch.randint(0, 256, (7, 5, 5, 3), dtype=torch.uint8)


def test_packed_pictures_are_the_pictures(tmp_path: Path) -> None:
    """In their order, in channels_last memory; no file is seen."""
    images = pack(iter(PICTURES), 5, tmp_path)

    assert torch.equal(images, PICTURES.permute(0, 3, 1, 2))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert list(tmp_path.iterdir()) == []


def test_no_pictures_are_no_images(tmp_path: Path) -> None:
    """Where none could be read there is nothing to map."""
    assert pack(iter(()), 5, tmp_path).shape == (0, 3, 5, 5)


def test_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    """It may lie in a folder of images, which is watched; the file lies above it."""
    pack(iter(PICTURES), 5, tmp_path / "data/prepared")

    assert list(tmp_path.iterdir()) == []


def test_no_room_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    """As for every other file; here the room is a limit on the length of files."""
    pictures = (torch.zeros(64, 64, 3, dtype=torch.uint8) for _ in range(100))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(OSError, match=str(tmp_path)):
            pack(pictures, 64, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
