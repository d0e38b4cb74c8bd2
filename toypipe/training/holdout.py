"""Hold images out of the training set, to validate on."""

import torch

from toypipe.compute.seeding import make_generator
from toypipe.data.split import Split


def hold_out(split: Split, count: int, seed: int) -> tuple[Split, Split | None]:
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
