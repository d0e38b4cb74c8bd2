"""Hold images out of the training set, to validate on."""

from typing import Any, TypeVar

import torch

from toypipe.compute.seeding import make_generator
from toypipe.data.split import Labelled

Half = TypeVar("Half", bound=Labelled[Any])


def hold_out(split: Half, count: int, seed: int) -> tuple[Half, Half | None]:
    """Return the images to train on, in their order, and `count` random others or None for 0.

    Each class keeps an image to train on, if `count` leaves as many images as there are classes.
    """
    if count == 0:
        return split, None
    order = torch.randperm(len(split), generator=make_generator(seed, "validation"))
    # The last image of each class moves to the end, where none is held out.
    last = dict(zip(split.labels[order].tolist(), range(len(split)), strict=True)).values()
    kept = torch.zeros(len(split), dtype=torch.bool)
    kept[list(last)] = True
    order = torch.cat([order[~kept], order[kept]])
    return split[order[count:].sort().values], split[order[:count].sort().values]
