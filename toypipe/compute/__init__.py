"""Where a run computes and how exactly: devices, seeds, several processes, CUDA graphs."""

from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda", "mps"]  # auto is the best that is available
