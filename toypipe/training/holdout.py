"""Hold images out of the training set, to validate on."""

import torch

from toypipe.compute.seeding import make_generator
from toypipe.data.split import Split
from toypipe.errors import ToypipeError


def hold_out(split: Split, count: int, seed: int) -> tuple[Split, Split | None]:
    """Divide a split in two by chance.

    Args:
        split: All images that training may see.
        count: How many to hold out; 0 for none.
        seed: The seed of the run; another seed holds out others.

    Returns:
        The images to train on, in their order, and the images held out, or None.

    Raises:
        ToypipeError: Nothing would be left to train on.
    """
    if count >= len(split):
        raise ToypipeError(
            f"train.validation holds out {count} images, but there are only {len(split)}:"
            " lower it, to 0 for no validation"
        )
    if count == 0:
        return split, None
    order = torch.randperm(len(split), generator=make_generator(seed, "validation"))
    return split[order[count:].sort().values], split[order[:count].sort().values]
