"""Random streams: each is decided by the seed, what it is for and the epoch, and by nothing else.

So a run can go on from any epoch without a saved generator state, one kind of draw cannot shift
another, and nothing depends on the device: everything is drawn on the CPU.
"""

import hashlib
from typing import Literal

import torch

Purpose = Literal["weights", "validation", "order", "flip", "translate", "dropout"]


def derive_seed(seed: int, purpose: Purpose, epoch: int = 0, rank: int = 0) -> int:
    """Return the seed of one stream, in 0..2**63-1.

    Args:
        seed: The seed of the run.
        purpose: What is drawn.
        epoch: In which epoch, from 0; 0 for what is drawn once.
        rank: By which process, where each draws for its part of a batch.
    """
    drawer = f" {rank}" if rank else ""
    digest = hashlib.sha256(f"{seed} {purpose} {epoch}{drawer}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def make_generator(seed: int, purpose: Purpose, epoch: int = 0) -> torch.Generator:
    """Return a fresh generator on the CPU for one purpose.

    Args:
        seed: The seed of the run.
        purpose: What is drawn.
        epoch: In which epoch, from 0; 0 for what is drawn once.
    """
    return torch.Generator().manual_seed(derive_seed(seed, purpose, epoch))
