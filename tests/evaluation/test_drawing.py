"""The images in data/reports/images."""

import io

import pytest
import torch
from PIL import Image

from synthetic import make_split
from toypipe.data.split import Split
from toypipe.evaluation.drawing import draw_confusion, draw_mistakes, picture_of, probability
from toypipe.evaluation.metrics import Mistake

SPLIT = make_split(30)
MISTAKES = [Mistake(i, 0, 1, 0.99) for i in range(20)]
COUNTS = torch.tensor([[8, 2, 0], [0, 0, 0], [1, 1, 8]])


def opened(png: bytes) -> Image.Image:
    """Return a PNG as an image."""
    return Image.open(io.BytesIO(png))


def test_the_same_results_give_the_same_bytes() -> None:
    """Drawn twice, the bytes are the same; other results give other bytes."""
    assert draw_confusion(COUNTS, SPLIT.classes) == draw_confusion(COUNTS, SPLIT.classes)
    assert draw_mistakes(MISTAKES, SPLIT) == draw_mistakes(MISTAKES, SPLIT)
    assert draw_confusion(COUNTS, SPLIT.classes) != draw_confusion(COUNTS.T, SPLIT.classes)
    assert draw_mistakes(MISTAKES, SPLIT) != draw_mistakes(MISTAKES[1:], SPLIT)


def test_a_file_holds_nothing_but_pixels() -> None:
    """The PNG chunks are header, pixels and end: no date and no version."""
    for png in (draw_confusion(COUNTS, SPLIT.classes), draw_mistakes(MISTAKES, SPLIT)):
        chunks, place = set(), 8
        while place < len(png):
            length = int.from_bytes(png[place : place + 4], "big")
            chunks.add(png[place + 4 : place + 8])
            place += 12 + length
        assert chunks == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize("size", [8, 32, 224])
def test_noise_of_any_size_is_small_enough_for_git(size: int) -> None:
    """Twenty images that cannot be compressed take less than 150 kB."""
    images = torch.randint(0, 256, (20, size, size, 3)).to(torch.uint8).permute(0, 3, 1, 2)
    split = Split(images, torch.zeros(20, dtype=torch.int64), ["cat", "dog"])

    assert len(draw_mistakes(MISTAKES, split)) < 150_000


@pytest.mark.parametrize("classes", [1, 2, 10, 24, 25, 100, 300])
def test_any_number_of_classes_is_drawn(classes: int) -> None:
    """The image of any number of classes is limited in size and bytes."""
    counts = torch.eye(classes, dtype=torch.int64) * 1000
    png = draw_confusion(counts, [f"a class with a long name {i}" for i in range(classes)])

    assert max(opened(png).size) < 1400
    assert len(png) < 150_000


@pytest.mark.parametrize("name", ["<script>", "\u732b", "two\nlines", "", "x" * 300, "\u200f\x01"])
def test_any_class_name_can_be_drawn(name: str) -> None:
    """Class names come from folder names, and can be anything."""
    split = Split(SPLIT.images, SPLIT.labels, [name, "dog", "frog"])

    assert opened(draw_confusion(COUNTS, split.classes)).width < 1400
    assert opened(draw_mistakes(MISTAKES, split)).width < 1400


def test_no_mistakes_are_an_image_too() -> None:
    """A network without mistakes gives an image too, because DVC needs every output."""
    assert opened(draw_mistakes([], SPLIT)).size == opened(draw_mistakes(MISTAKES[:3], SPLIT)).size


def test_a_picture_has_the_pixels_of_the_tensor() -> None:
    """Only the size changes, if the picture is too large."""
    picture = picture_of(SPLIT.images[4], largest=16)

    assert picture.getpixel((3, 7)) == tuple(SPLIT.images[4, :, 7, 3].tolist())
    assert picture_of(SPLIT.images[4], largest=8).size == (8, 8)


def test_only_certainty_is_100_percent() -> None:
    """Only certainty is written as 100 %."""
    assert probability(0.25) == "25.0 %"
    assert probability(0.99999) == "> 99.9 %"
    assert probability(1.0) == "100.0 %"
