"""Results as small images: the same bytes for the same results.

Pillow draws them in milliseconds, with its own font; a plotting library takes seconds to import.
"""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from toypipe.data.split import Split, StoredSplit
from toypipe.evaluation.metrics import Mistake

PAPER, INK, MUTED = (255, 255, 255), (27, 31, 36), (101, 109, 118)
RIGHT, WRONG = (9, 105, 218), (188, 76, 0)
MARGIN = 20
LETTERS = 16  # of a class name; the rest is cut
TEXT, SMALL = ImageFont.load_default(15), ImageFont.load_default(12)


def draw_confusion(counts: Tensor, classes: Sequence[str]) -> bytes:
    """Draw, as a PNG, the result of `confusion`; up to 24 classes have numbers.

    The darker a cell, the larger its share of the images of that class.
    """
    cell = min(max(720 // len(classes), 4), 56)
    named, numbered = cell >= 14, cell >= 30
    names = [_cut(name) if named else "" for name in classes]
    longest = int(max(TEXT.getlength(name) for name in names))
    start = MARGIN + 24 + longest + 8  # after the axis title and the names
    end = start + cell * len(classes)
    image = Image.new("RGB", (end + MARGIN, end + MARGIN), PAPER)
    draw = ImageDraw.Draw(image)
    middle = (start + end) // 2
    draw.text((middle, MARGIN), "predicted", MUTED, TEXT, anchor="mt")
    title = _upwards("actual", MUTED)
    image.paste(title, (MARGIN, middle - title.height // 2))
    shares = (counts / counts.sum(1, keepdim=True).clamp(min=1)).tolist()
    for row, (name, values) in enumerate(zip(names, counts.tolist(), strict=True)):
        near, far = start + row * cell, start + (row + 1) * cell
        draw.text((start - 8, near + cell // 2), name, INK, TEXT, anchor="rm")
        column_name = _upwards(name, INK)
        image.paste(column_name, (near + cell // 2 - 9, start - 8 - column_name.height))
        for column, value in enumerate(values):
            left, share = start + column * cell, shares[row][column]
            # Each mistake is rare: the square root makes small shares visible.
            hue, depth = (RIGHT, share) if row == column else (WRONG, 0.8 * share**0.5)
            tint = tuple(round(255 + (channel - 255) * max(depth, 0.03)) for channel in hue)
            draw.rectangle((left, near, left + cell - 2, far - 2), tint)
            if numbered and value:
                colour = PAPER if depth > 0.65 else INK
                place = (left + cell // 2 - 1, near + cell // 2 - 1)
                draw.text(place, str(value), colour, TEXT if cell >= 44 else SMALL, anchor="mm")
    return png(image)


def draw_mistakes(mistakes: Sequence[Mistake], split: Split | StoredSplit) -> bytes:
    """Draw images in a grid, as a PNG, each with its class and the class that was predicted."""
    columns, side, width, height = 5, 96, 150, 148
    rows = max(-(-len(mistakes) // columns), 1)
    image = Image.new("RGB", (2 * MARGIN + columns * width, 2 * MARGIN + rows * height), PAPER)
    draw = ImageDraw.Draw(image)
    if not mistakes:
        draw.text((image.width // 2, image.height // 2), "no mistakes", MUTED, TEXT, anchor="mm")
    for place, mistake in enumerate(mistakes):
        left, top = MARGIN + place % columns * width, MARGIN + place // columns * height
        # Larger pictures are reduced, so that the file is small enough for Git.
        picture = picture_of(split.image(mistake.image), largest=44)
        image.paste(picture.resize((side, side), Image.Resampling.NEAREST), (left, top))
        called = f"{_cut(split.classes[mistake.predicted])} {probability(mistake.probability)}"
        actual = f"is {_cut(split.classes[mistake.actual])}"
        draw.text((left, top + side + 16), called, WRONG, SMALL, anchor="ls")
        draw.text((left, top + side + 32), actual, INK, SMALL, anchor="ls")
    return png(image)


def picture_of(pixels: Tensor, largest: int) -> Image.Image:
    """Return uint8 of shape (3, size, size) as an image, reduced to `largest` if it is larger."""
    picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    if picture.width > largest:
        picture = picture.resize((largest, largest), Image.Resampling.BICUBIC)
    return picture


def png(image: Image.Image) -> bytes:
    """Return an image as a PNG file that contains nothing but its pixels."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def probability(share: float) -> str:
    """Write a probability in percent; only certainty is written as 100 %."""
    return "> 99.9 %" if 0.999 < share < 1 else f"{100 * share:.1f} %"


def _cut(name: str) -> str:
    """Return a class name as one short line: it was a folder's name, and can be anything."""
    line = " ".join(name.split())
    return line if len(line) <= LETTERS else f"{line[: LETTERS - 2]}.."


def _upwards(text: str, colour: tuple[int, int, int]) -> Image.Image:
    """Return an image of a text that runs upwards."""
    line = Image.new("RGB", (max(int(TEXT.getlength(text)) + 1, 1), 18), PAPER)
    ImageDraw.Draw(line).text((0, 9), text, colour, TEXT, anchor="lm")
    return line.rotate(90, expand=True)
