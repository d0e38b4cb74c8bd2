"""What hostile files hold: images of every format, archives that claim more than they have."""

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image

MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "I", "F", "YCbCr", "LAB")
HEADS = (
    *(b"\0\0\2\0\1\0", b"\0\0\1\0\2\0", b"\xb1\x68\xde\x3a", b"SIMPLE  =", b"\x60\0\0\0\x11\xaf"),
    *(b"\x60\0\0\0\x12\xaf", b"FTEX\0\0\1\0", b"\0\0\0\x1c\0\0\0\2", b"\x1c\2\0\0", b"8BPS\0\1"),
    *(b"\0\0\0\0\0\0\0\4", b"PCD_IPI", b"\x80\xe8\0\0", b"\x59\xa6\x6a\x95", b"P7 332\n#END\n"),
    *(b'/* XPM */\n"8 8 2 1"\n', b"\0\0\1\xb3", b"\xd7\xcd\xc6\x9a\0\0", b"\x89HDF\r\n\x1a\n"),
    *(b"BLP1\1\0\0\0", b"BLP2\1\0\0\0\1", b"BLP2\0\0\0\0\2", b"GRIB\0\0\0\1", b"BUFR", b"icns"),
    *(
        b"P1\n8 8\n",
        b"P3\n8 8 9\n",
        b"P6 8 8 999\n",
        b"Pf 8 8 1\n",
        b"%!PS-Adobe-3.0 EPSF",
        b"qoif",
    ),
    *(b"DDS \x7c\0\0\0", b"\0\0\0\x1cftypavif", b"RIFF\xff\0\0\0WEBPVP8X", b"\xff\x4f\xff\x51\0"),
)
"""How files of formats begin that Pillow reads, with and without writing them."""
NUMBERS = (0, 1, 2, 8, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


@cache
def seeds() -> list[bytes]:
    """Return a small valid image in every format and mode that Pillow writes."""
    Image.init()
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    found = []
    for name in sorted(Image.SAVE.keys() & Image.OPEN.keys()):
        for mode in MODES:
            file = io.BytesIO()
            with suppress(Exception):
                Image.fromarray(noise).convert(mode).save(file, name)
                found.append(file.getvalue())
    return found


def image(random: Random) -> bytes:
    """Return an image with a few bytes changed, or bytes that only begin like one."""
    if random.random() < 0.2:
        return random.choice(HEADS) + words(random, random.randrange(200))
    content = bytearray(random.choice(seeds()))
    for _ in range(random.randint(1, 5)):
        at = random.randrange(min(len(content), random.choice((40, 200, 10**9))) + 1)
        length = random.choice((0, 1, 2, 4))
        content[at : at + length] = random.choice((b"", words(random, 1), random.randbytes(length)))
    return bytes(content[: random.choice((len(content), len(content), random.randrange(2000)))])


def words(random: Random, count: int) -> bytes:
    """Return numbers that break programs, in either order of bytes."""
    order: Any = random.choice(("little", "big"))
    return b"".join(random.choice(NUMBERS).to_bytes(4, order) for _ in range(count))


def image_bomb(random: Random) -> bytes:
    """Return a small file of a large image: some are refused, and some within every limit."""
    name, mode, side = random.choice(
        (
            *(("PNG", "RGBA", 11_000), ("PNG", "P", 11_000), ("PNG", "I;16", 6_300)),
            *(("JPEG", "CMYK", 11_000), ("GIF", "P", 11_000), ("WEBP", "RGBA", 6_300)),
            *(("JPEG2000", "RGBA", 6_300), ("AVIF", "RGBA", 6_300), ("PNG", "RGB", 13_300)),
            *(("JPEG2000", "RGB", 8_000), ("WEBP", "RGB", 13_000), ("QOI", "RGB", 13_000)),
        )
    )
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, name)
    return file.getvalue()


def saved(content: Any) -> bytes:
    """Return what torch writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def rezipped(
    content: bytes, method: int, change: Callable[[str, bytes], bytes] = lambda _, data: data
) -> bytes:
    """Return an archive with its members compressed, and changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return file.getvalue()


def archive(content: bytes, random: Random) -> bytes:
    """Compress an archive, where torch compresses nothing; flip a byte of it, or inflate it."""
    method = random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    if random.random() < 0.15:
        large = bytes(random.choice((10**8, 15 * 10**8)))
        return rezipped(content, method, lambda name, d: large if name.endswith("data/0") else d)
    packed = bytearray(rezipped(content, method))
    packed[random.randrange(len(packed))] ^= random.randint(1, 255)
    return bytes(packed)


def checkpoint(content: bytes, random: Random) -> bytes:
    """Let a small checkpoint claim a large network, or weights that need no bytes."""
    values = torch.load(io.BytesIO(content), weights_only=True)
    weights = values["weights"]
    name = random.choice([name for name, tensor in weights.items() if tensor.numel() > 1])
    shape = weights[name].shape
    match random.randrange(8):
        case 0:
            width = random.randint(256, 1024)
            values["model"] = {
                "name": "speedrun",
                "width": width,
                **{name: random.random() < 0.5 for name in ("whitening", "identity")},
            }
        case 1:
            values["size"] = random.randint(256, 1024)
        case 2:
            values["classes"] = [str(i) for i in range(random.choice((3, 1000, 200_000)))]
        case 3:
            arch = random.choice(("vgg19", "regnet_y_128gf", "convnext_large", "wide_resnet101_2"))
            values["model"] = {"name": "torchvision", "arch": arch}
            values["size"] = random.choice((32, 1024))
        case 4:
            weights[name] = torch.zeros(1).expand(shape)
        case 5:
            weights[name] = torch.zeros(1).expand(10**6, 10**6)
        case 6:
            weights[name] = weights[name].to_sparse()
        case 7:
            weights[name] = torch.zeros(shape, device="meta")
    return saved(values)


def split(content: bytes, random: Random) -> bytes:
    """Let a small split claim hundreds of millions of images."""
    values = torch.load(io.BytesIO(content), weights_only=True)
    images, labels = values["images"], values["labels"]
    count, size = random.choice((10**6, 3 * 10**8)), images.shape[-1]
    match random.randrange(4):
        case 0:
            values["images"] = images[:1, :1, :1, :1].expand(count, 3, size, size)
            values["labels"] = labels[:1].expand(count)
        case 1:
            side = random.choice((2**10, 2**14))
            values["images"] = images[:1, :1, :1, :1].expand(len(labels), 3, side, side)
        case 2:
            values["images"] = torch.zeros(count, 3, size, size, device="meta", dtype=torch.uint8)
            values["labels"] = torch.zeros(count, device="meta", dtype=torch.int64)
        case 3:
            values["images"] = images.to_sparse()
    return saved(values)
