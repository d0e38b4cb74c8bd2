"""Command `predict`: what the network sees in image files."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from toypipe.compute import DeviceName
from toypipe.compute.devices import pick_device
from toypipe.data.pictures import read_picture
from toypipe.errors import ToypipeError
from toypipe.evaluation.metrics import predict
from toypipe.networks.checkpoint import load_checkpoint

BATCH = 64  # images that are answered together; more are no faster on a CPU
PIXELS = 2**22  # of a batch, at most, so that large images do not fill the memory

# Photographs are decoded by all cores at once. Small images are not: two threads would only hold
# each other up between two short calls of Pillow.
LARGE = 2**17  # bytes
THREADS = os.cpu_count() or 1

STANDARD_INPUT = "-"


class Answer(NamedTuple):
    """What the network sees in an image."""

    path: str
    """The file, as it was named."""
    probabilities: dict[str, float]
    """Of every class, 0..1, the most probable first."""


def run(
    names: Sequence[str],
    *,
    checkpoint: Path,
    device: DeviceName,
    views: int,
    complain: Callable[[str], None],
) -> Iterator[list[Answer]]:
    """Look at images, batch by batch, as their names arrive.

    Args:
        names: Files and folders; `-` stands for more of them on standard input, one a line.
        checkpoint: The network.
        device: Where to compute.
        views: 1: the image. 2: and its mirror. 6: and both shifted by a pixel to either corner.
        complain: Told of each file or folder that cannot be read; the others are answered.

    Yields:
        The answers of a batch, in the order of the files.

    Raises:
        ToypipeError: There is no checkpoint or no such device.
    """
    target = pick_device(device)
    classifier = load_checkpoint(checkpoint, target)
    at_once = max(1, min(BATCH, PIXELS // classifier.size**2))
    pictures = _read(_files(names, complain), classifier.size, complain)
    while batch := list(islice(pictures, at_once)):
        # In the memory that `prepare` gives its images: the arithmetic is that of `evaluate`.
        images = torch.stack([picture for _, picture in batch]).permute(0, 3, 1, 2).to(target)
        logits = predict(classifier.model, images, batch_size=at_once, views=views)
        # As argmax does, take the first of equals.
        order = logits.argsort(dim=1, descending=True, stable=True)
        shares = logits.double().softmax(1).gather(1, order)
        yield [
            Answer(path, {classifier.classes[i]: share for i, share in zip(*row, strict=True)})
            for (path, _), *row in zip(batch, order.tolist(), shares.tolist(), strict=True)
        ]


def _read(
    paths: Iterator[str], size: int, complain: Callable[[str], None]
) -> Iterator[tuple[str, Tensor]]:
    """Decode files in their order, photographs ahead of who takes them."""
    ahead = deque[tuple[str, Callable[[], Tensor]]]()

    def take(most: int) -> Iterator[tuple[str, Tensor]]:
        while len(ahead) > most:
            path, picture = ahead.popleft()
            try:
                yield path, picture()
            except ToypipeError as error:
                complain(str(error))

    pool = ThreadPoolExecutor(THREADS)
    try:
        for path in paths:
            large = _is_large(path)
            later = pool.submit if large else partial
            job = later(read_picture, Path(path), size)
            ahead.append((path, job.result if isinstance(job, Future) else job))
            yield from take(2 * THREADS if large else 0)
        yield from take(0)
    finally:
        pool.shutdown(cancel_futures=True)


def _is_large(path: str) -> bool:
    try:
        return os.stat(path).st_size > LARGE  # noqa: PTH116 - a name need not be one of a file
    except (OSError, ValueError):
        return False


def _files(names: Sequence[str], complain: Callable[[str], None]) -> Iterator[str]:
    """Yield files, and those of folders: in alphabetical order, without the hidden ones."""
    for name in names:
        for path in _listed() if name == STANDARD_INPUT else [name]:
            if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir fails on a name that is too long
                yield from _walk(path, complain)
            else:
                yield path


def _listed() -> Iterator[str]:
    """Yield the paths on standard input; from bytes, for a name need not be text."""
    for line in sys.stdin.buffer:
        if name := line.removesuffix(b"\n"):
            yield os.fsdecode(name)


def _walk(folder: str, complain: Callable[[str], None]) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        complain(f"{error.filename} cannot be read: {error.strerror}")

    empty = True
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                empty = False
                yield str(Path(parent, name))
    if empty:
        complain(f"{folder} holds no image")
