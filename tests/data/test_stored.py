"""Images that stay in their file: the pixels of those in memory, as long as nobody writes to it."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from synthetic import make_split
from toypipe.data.split import Split, StoredSplit, open_split, save_split
from toypipe.errors import InputsChangedError, ToypipeError
from toypipe.training.holdout import hold_out

MANY = make_split(40)


def stored(path: Path, split: Split = MANY) -> StoredSplit:
    """Write images to a file, and open it."""
    with path.open("wb") as file:
        save_split(file, split)
    return open_split(path)


def test_images_in_a_file_are_those_in_memory(tmp_path: Path) -> None:
    """Any of them, in any order, as often as wanted; with their labels and classes."""
    split, index = stored(tmp_path / "train.pt"), torch.tensor([39, 0, 7, 7])
    read = split.images.read(index)

    assert (len(split), split.size, split.classes) == (40, 16, MANY.classes)
    assert torch.equal(split.labels, MANY.labels)
    assert torch.equal(read, MANY.images[index])
    assert read.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(split.images[35:99], MANY.images[35:])
    assert torch.equal(split.image(39), MANY.images[39])
    assert len(split.images[3:3]) == 0


def test_a_part_of_the_images_is_not_read(tmp_path: Path) -> None:
    """What is held out, and a part of that, are places in the same file."""
    split = stored(tmp_path / "train.pt")
    halves, expected = hold_out(split, 12, seed=3), hold_out(MANY, 12, seed=3)
    for half, own in zip(halves, expected, strict=True):
        assert half is not None
        assert own is not None
        assert torch.equal(half.images[:], own.images)
        assert torch.equal(half[torch.tensor([5, 2])].images[:], own.images[[5, 2]])
        assert torch.equal(half.labels, own.labels)
        assert half.images.shape == own.images.shape


def test_a_file_that_begins_with_other_images_is_read_right(tmp_path: Path) -> None:
    """Torch saves all memory behind a view, and where in it the view begins."""
    content = {"images": MANY.images[30:], "labels": MANY.labels[30:], "classes": MANY.classes}
    torch.save(content, tmp_path / "train.pt")
    split = open_split(tmp_path / "train.pt")

    assert torch.equal(split.images[:], MANY.images[30:])
    assert torch.equal(split.labels, MANY.labels[30:])


@pytest.mark.parametrize("what", ["cut", "longer", "written", "replaced", "removed"])
def test_a_file_that_changes_while_it_is_used_is_an_error(what: str, tmp_path: Path) -> None:
    """The message names it, whatever was done, and no image of it is returned."""
    path = tmp_path / "train.pt"
    split = stored(path)
    split.images[:3]
    match what:
        case "cut":
            os.truncate(path, 5000)
        case "longer":
            os.truncate(path, 10**6)
        case "written":
            with path.open("r+b") as file:
                file.seek(3000)
                file.write(b"\xff")
        case "replaced":
            shutil.copy2(path, tmp_path / "other.pt")
            (tmp_path / "other.pt").replace(path)
        case "removed":
            path.unlink()
    with pytest.raises(InputsChangedError, match=r"train\.pt was .*toypipe prepare"):
        split.images[:3]


@pytest.mark.parametrize("flipped", [1500, 10_000])
def test_a_flipped_bit_is_found(flipped: int, tmp_path: Path) -> None:
    """The checksums of the whole file are compared before the first image is read."""
    path = tmp_path / "train.pt"
    stored(path)
    content = bytearray(path.read_bytes())
    content[flipped] ^= 4
    path.write_bytes(content)
    with pytest.raises(ToypipeError, match=r"train\.pt is damaged"):
        open_split(path)
