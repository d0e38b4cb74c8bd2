"""An epoch of 50,000 images at batch 32 on a CUDA device: captured, eager, and the tutorial's.

    python benchmarks/cuda_epoch.py [REPEATS]

Prints a Markdown table: the first epoch of a cold process (CUDA, its libraries and the capture
included), and the median of the later ones; in turn, each time with a fresh network. It needs
data/prepared/train.pt, and neither DVC nor Typer.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from contenders import RECIPE, tutorial
from machine import arithmetic_limit, describe_machine
from task import Task, load

from toypipe.compute.devices import pick_device
from toypipe.data.split import Split
from toypipe.training.loop import begin, train

BATCH = 32
TUTORIAL_IMAGES = 3200  # its loop takes long, and every step of it the same
EAGER = partial(patch, "toypipe.training.loop.captured", lambda step, _: step)


@contextmanager
def tf32() -> Iterator[None]:
    """Round the factors of float32 products to ten bits, as tensor cores take them."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


@contextmanager
def unrepeatable() -> Iterator[None]:
    """Let the libraries choose kernels whose results may differ from run to run."""
    torch.set_deterministic_debug_mode("default")
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    try:
        yield
    finally:
        pick_device("cuda")


def epoch(split: Split, precision: str) -> float:
    """Return the seconds of the second epoch of a run, by when its step is captured."""
    changes = {"epochs": 2, "batch_size": BATCH, "precision": precision}
    params = RECIPE.model_copy(update=changes)
    events = train(begin(Task(split, BATCH).model, params), split, None, params)
    for _ in range(len(split) // BATCH + bool(len(split) % BATCH) + 1):
        next(events)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in events:
        pass
    torch.cuda.synchronize()
    return time.perf_counter() - start


def tutorials(split: Split, device: torch.device) -> float:
    """Return the seconds of an epoch of the tutorial's loop, from a part of it.

    The split is on the CPU.
    """
    task = Task(split[torch.arange(TUTORIAL_IMAGES)].to(device), BATCH)
    tutorial(task, best=False)
    task.end()
    return len(split) / task.images_per_second()


def main(repeats: int) -> None:
    """Measure and print everything."""
    device = pick_device("cuda")
    split = load(50_000, torch.device("cpu"))
    params = RECIPE.model_copy(update={"epochs": 1, "batch_size": BATCH})
    start = time.perf_counter()
    on_device = split.to(device)
    run = begin(Task(on_device, BATCH).model, params)
    for _ in train(run, on_device, None, params):
        pass
    torch.cuda.synchronize()
    print(f"first epoch of a cold process: {time.perf_counter() - start:.2f} s")

    rows: dict[str, tuple[list[Callable[[], Any]], Callable[[], float]]] = {
        "float32 (the default)": ([], lambda: epoch(on_device, "float32")),
        "bfloat16": ([], lambda: epoch(on_device, "bfloat16")),
        "TF32": ([tf32], lambda: epoch(on_device, "float32")),
        "float32, not repeatable": ([unrepeatable], lambda: epoch(on_device, "float32")),
        "float32, eager": ([EAGER], lambda: epoch(on_device, "float32")),
        "bfloat16, eager": ([EAGER], lambda: epoch(on_device, "bfloat16")),
        "the tutorial's loop": ([], lambda: tutorials(split, device)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(repeats):
        for name, (contexts, work) in rows.items():
            with ExitStack() as stack:
                for context in contexts:
                    stack.enter_context(context())
                seconds[name].append(work())
    default = statistics.median(seconds["float32 (the default)"])
    print("| | seconds | least to most | ratio |\n|---|--:|--:|--:|")
    for name, found in seconds.items():
        median = statistics.median(found)
        spread = f"{min(found):.3f} to {max(found):.3f}"
        print(f"| {name} | {median:.3f} | {spread} | {median / default:.2f} |")
    for dtype in (torch.float32, torch.bfloat16):
        print(f"{dtype}: {arithmetic_limit(device, dtype) / 1e12:.1f} TFLOP/s in a large product")
    print(", ".join(f"{key} {value}" for key, value in describe_machine("cuda").items()))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
