"""Where a run computes, and how exactly."""

import os
from typing import Literal

import torch

from toypipe.errors import ToypipeError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def pick_device(name: DeviceName) -> torch.device:
    """Find a device and make its arithmetic exact and repeatable.

    float32 means float32 (no TF32), and of several algorithms one is chosen by what is asked,
    never by which was faster today.

    Args:
        name: `auto` takes CUDA if there is one, else MPS, else the CPU.

    Raises:
        ToypipeError: This machine, or this build of torch, has no such device.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(known for known in ("cuda", "mps", "cpu") if present[known])
    if not present[name]:
        found = ", ".join(known for known in present if present[known])
        raise ToypipeError(
            f"there is no device {name} here (found: {found}). Leave --device and TOYPIPE_DEVICE"
            " out to take the best there is"
        )
    if name == "cuda":
        # cuBLAS reads this when CUDA starts: with it, equal calls give equal bits.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    return torch.device(name)
