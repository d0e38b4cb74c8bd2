"""Hold images out of the training set, to validate on."""

import torch

from toypipe.compute.seeding import make_generator
from toypipe.data.split import Split


def hold_out(split: Split, count: int, seed: int) -> tuple[Split, Split | None]:
    """Return the images to train on, in their order, and `count` random others or None for 0."""
    if count == 0:
        return split, None
    order = torch.randperm(len(split), generator=make_generator(seed, "validation"))
    return split[order[count:].sort().values], split[order[:count].sort().values]
