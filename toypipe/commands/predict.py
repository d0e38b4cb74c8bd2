"""Command `predict`: the classes of image files."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from toypipe.compute import DeviceName
from toypipe.compute.devices import pick_device
from toypipe.data.pictures import read_picture
from toypipe.errors import ToypipeError, printable
from toypipe.evaluation.metrics import predict
from toypipe.networks.checkpoint import load_checkpoint

BATCH = 64  # images per batch, at most; more are no faster on a CPU
PIXELS = 2**22  # pixels per batch, at most, so that large images do not fill the memory
# Threads decode large photographs. For small images they are slower: Pillow's calls are short.
LARGE = 2**17  # bytes
THREADS = os.cpu_count() or 1
Complain = Callable[[str], None]


class Answer(NamedTuple):
    """The path of an image, as given, and the probability of every class, the highest first."""

    path: str
    probabilities: dict[str, float]


def run(
    names: Sequence[str], *, checkpoint: Path, device: DeviceName, views: int
) -> Iterator[list[Answer]]:
    """Classify images batch by batch, in the order of their names, while names still arrive.

    A folder stands for the images in it, `-` for the names on standard input, one per line. What
    cannot be read is named on standard error, and the others are answered. `views` is as in
    `evaluation.metrics.predict`. Raises ToypipeError if the checkpoint or the device is missing,
    and at the end if something had no answer.
    """
    target = pick_device(device)
    classifier = load_checkpoint(checkpoint, target)
    size = max(1, min(BATCH, PIXELS // classifier.size**2))
    bad: list[str] = []

    def complain(problem: str) -> None:
        bad.append(problem)
        print(printable(problem), file=sys.stderr)

    pictures = _read(_files(names, complain), classifier.size, complain)
    while batch := list(islice(pictures, size)):
        # channels_last memory, as in data/prepared: the results are those of `evaluate`.
        images = torch.stack([picture for _, picture in batch]).permute(0, 3, 1, 2).to(target)
        logits = predict(classifier.model, images, batch_size=size, views=views)
        order = logits.argsort(dim=1, descending=True, stable=True)  # of equals the first: argmax
        shares = logits.double().softmax(1).gather(1, order)
        yield [
            Answer(path, {classifier.classes[i]: share for i, share in zip(*row, strict=True)})
            for (path, _), *row in zip(batch, order.tolist(), shares.tolist(), strict=True)
        ]
    if bad:
        raise ToypipeError(f"no answer for the files and folders named above ({len(bad):,} in all)")


def _read(paths: Iterator[str], size: int, complain: Complain) -> Iterator[tuple[str, Tensor]]:
    """Decode files in order; threads decode large ones ahead of the consumer."""
    ahead: list[tuple[str, Callable[[], Tensor]]] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for path in chain(paths, [None]):  # None: no more files, so take all that wait
            large = False
            if path is not None:
                with suppress(OSError, ValueError):  # `read_picture` names the problem
                    large = Path(path).stat().st_size > LARGE
                decode = partial(read_picture, Path(path), size)
                ahead.append((path, pool.submit(decode).result if large else decode))
            while len(ahead) > (2 * THREADS if large else 0):
                name, picture = ahead.pop(0)
                try:
                    yield name, picture()
                except ToypipeError as error:
                    complain(str(error))


def _files(names: Sequence[str], complain: Complain) -> Iterator[str]:
    """Yield files, and the files in folders in alphabetical order, without hidden ones."""
    for path in chain.from_iterable(_listed() if name == "-" else [name] for name in names):
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir fails on a name that is too long
            yield path
            continue
        empty = True
        walk = os.walk(path, onerror=lambda error: complain(f"{error.filename}: {error.strerror}"))
        for parent, folders, files in walk:
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in sorted(name for name in files if not name.startswith(".")):
                empty = False
                yield str(Path(parent, file))
        if empty:
            complain(f"{path} holds no image")


def _listed() -> Iterator[str]:
    """Yield the names on standard input."""
    try:
        for line in getattr(sys.stdin, "buffer", ()):  # bytes: a name need not be valid text
            if line != b"\n":
                yield os.fsdecode(line.removesuffix(b"\n"))
    except OSError as error:
        raise ToypipeError(
            f"standard input cannot be read: {error.strerror}. `-` stands for the names in it, as"
            " in `find . -name '*.jpg' | toypipe predict -`"
        ) from None
