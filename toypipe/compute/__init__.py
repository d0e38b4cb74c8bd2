"""Where a run computes and how exactly: devices, seeds, several processes, CUDA graphs."""

from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
"""A device as users name it; `auto` is the best that is available."""
