"""Results as small images: the same bytes for the same results.

Pillow draws them, with the font that it brings, in milliseconds; a plotting library would take
longer to import than the network takes to be tested.
"""

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from toypipe.data.split import Split
from toypipe.evaluation.metrics import Mistake

PAPER, INK, MUTED = (255, 255, 255), (27, 31, 36), (101, 109, 118)
RIGHT, WRONG = (9, 105, 218), (188, 76, 0)
MARGIN = 20
LETTERS = 16  # of a class name; longer ones are cut
TEXT, SMALL = ImageFont.load_default(15), ImageFont.load_default(12)


def draw_confusion(counts: Tensor, classes: Sequence[str]) -> bytes:
    """Draw how often each class is taken for each, with the numbers where they fit (24 classes).

    The darker a cell, the larger its share of the images of that class.

    Args:
        counts: int64 of shape (classes, classes): a row for each actual class.
        classes: Their names.

    Returns:
        A PNG.
    """
    cell = min(max(720 // len(classes), 4), 56)
    named, numbered = cell >= 14, cell >= 30
    names = [_cut(name) if named else "" for name in classes]
    longest = int(max(TEXT.getlength(name) for name in names))
    start = MARGIN + 24 + longest + 8  # the axis title, then the names
    end = start + cell * len(classes)
    image = Image.new("RGB", (end + MARGIN, end + MARGIN), PAPER)
    draw = ImageDraw.Draw(image)
    middle = (start + end) // 2
    draw.text((middle, MARGIN), "predicted", MUTED, TEXT, anchor="mt")
    _draw_upwards(image, (MARGIN, middle), "actual", MUTED, middle=True)
    shares = (counts / counts.sum(1, keepdim=True).clamp(min=1)).tolist()
    for row, (name, values) in enumerate(zip(names, counts.tolist(), strict=True)):
        near, far = start + row * cell, start + (row + 1) * cell
        draw.text((start - 8, near + cell // 2), name, INK, TEXT, anchor="rm")
        _draw_upwards(image, (near + cell // 2 - 9, start - 8), name, INK)
        for column, value in enumerate(values):
            left, share = start + column * cell, shares[row][column]
            # Mistakes are few each: the root sets them apart.
            hue, depth = (RIGHT, share) if row == column else (WRONG, 0.8 * share**0.5)
            draw.rectangle((left, near, left + cell - 2, far - 2), _blend(hue, max(depth, 0.03)))
            if numbered and value:
                colour = PAPER if depth > 0.65 else INK
                place = (left + cell // 2 - 1, near + cell // 2 - 1)
                draw.text(place, str(value), colour, TEXT if cell >= 44 else SMALL, anchor="mm")
    return png(image)


def draw_mistakes(mistakes: Sequence[Mistake], split: Split) -> bytes:
    """Draw images in a grid, each with its class and the class that it was taken for.

    Args:
        mistakes: What to draw, in this order; there may be none.
        split: The images.

    Returns:
        A PNG.
    """
    columns, side, width, height = 5, 96, 150, 148
    rows = max(-(-len(mistakes) // columns), 1)
    image = Image.new("RGB", (2 * MARGIN + columns * width, 2 * MARGIN + rows * height), PAPER)
    draw = ImageDraw.Draw(image)
    if not mistakes:
        draw.text((image.width // 2, image.height // 2), "no mistakes", MUTED, TEXT, anchor="mm")
    for place, mistake in enumerate(mistakes):
        left = MARGIN + place % columns * width
        top = MARGIN + place // columns * height
        # Larger ones are reduced, so that the file stays small enough for Git.
        picture = picture_of(split.images[mistake.image], largest=44)
        image.paste(picture.resize((side, side), Image.Resampling.NEAREST), (left, top))
        called = f"{_cut(split.classes[mistake.predicted])} {probability(mistake.probability)}"
        actual = f"is {_cut(split.classes[mistake.actual])}"
        draw.text((left, top + side + 16), called, WRONG, SMALL, anchor="ls")
        draw.text((left, top + side + 32), actual, INK, SMALL, anchor="ls")
    return png(image)


def picture_of(pixels: Tensor, largest: int) -> Image.Image:
    """Return a tensor as an image.

    Args:
        pixels: uint8 of shape (3, size, size).
        largest: Width and height that it is reduced to if it has more.
    """
    array = pixels.permute(1, 2, 0).contiguous().to(torch.uint8).numpy()
    picture = Image.fromarray(array)
    if picture.width > largest:
        picture = picture.resize((largest, largest), Image.Resampling.BICUBIC)
    return picture


def png(image: Image.Image) -> bytes:
    """Return an image as a PNG file that holds nothing but its pixels."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def probability(share: float) -> str:
    """Write a probability in percent, without ever rounding doubt away."""
    return "> 99.9 %" if 0.999 < share < 1 else f"{100 * share:.1f} %"


def _cut(name: str) -> str:
    """Return a class name as one short line: it was a folder's name, and may be anything."""
    line = " ".join(name.split())
    return line if len(line) <= LETTERS else f"{line[: LETTERS - 2]}.."


def _blend(colour: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    """Return a colour thinned with white."""
    red, green, blue = (round(255 + (channel - 255) * share) for channel in colour)
    return red, green, blue


def _draw_upwards(
    image: Image.Image,
    place: tuple[int, int],
    text: str,
    colour: tuple[int, int, int],
    *,
    middle: bool = False,
) -> None:
    """Write a text from below to above: its lower left corner, or its middle, is at this place."""
    line = Image.new("RGB", (max(int(TEXT.getlength(text)) + 1, 1), 18), PAPER)
    ImageDraw.Draw(line).text((0, 9), text, colour, TEXT, anchor="lm")
    left, below = place
    image.paste(line.rotate(90, expand=True), (left, below - line.width // (2 if middle else 1)))
