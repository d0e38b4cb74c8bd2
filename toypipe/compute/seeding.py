"""Random numbers: a seed of its own for each purpose and epoch.

So a run resumes from any epoch without a saved generator, one kind of draw cannot shift another,
and nothing depends on the device: everything is drawn on the CPU.
"""

import hashlib
from typing import Literal

import torch

Purpose = Literal[
    "weights", "validation", "order", "flip", "translate", "crop", "cutout", "mixup", "dropout"
]


def derive_seed(seed: int, purpose: Purpose, epoch: int = 0, rank: int = 0) -> int:
    """Return the seed for one purpose, in 0..2**63-1.

    `epoch` counts from 0, and is 0 for what is drawn once; `rank` is the process, where each draws
    for its part of a batch.
    """
    suffix = f" {rank}" if rank else ""
    digest = hashlib.sha256(f"{seed} {purpose} {epoch}{suffix}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def make_generator(seed: int, purpose: Purpose, epoch: int = 0) -> torch.Generator:
    """Return a fresh generator on the CPU, seeded by `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, epoch))
