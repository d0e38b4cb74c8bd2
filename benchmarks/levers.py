"""What makes the step fast on a CPU, and what does not: each lever moved alone, in one process.

    python benchmarks/levers.py [REPEATS]

Prints how many images a second toypipe trains as it is, and the ratio to that with one thing
changed: medians of interleaved repeats. It needs data/prepared/train.pt.
"""

import ctypes
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from contenders import RECIPE
from machine import describe_machine
from task import LEARNING_RATE, Task, load

from toypipe.compute.devices import pick_device
from toypipe.params.schema import TrainParams
from toypipe.training.loop import Step, begin, train
from toypipe.training.state import TrainingState

Change = Callable[[TrainingState], AbstractContextManager[object]]
STEPS = {32: 100, 512: 12}
"""By batch size; a quarter of them is not timed."""


def as_it_is(_: TrainingState) -> AbstractContextManager[object]:
    """Change nothing."""
    return nullcontext()


def planes(run: TrainingState) -> AbstractContextManager[object]:
    """Keep the weights as torch.nn makes them, and so the layers' results: plane by plane."""
    run.model.to(memory_format=torch.contiguous_format)
    first = run.model.get_submodule("normalize")
    first.register_forward_hook(lambda _, __, images: images.contiguous())
    return nullcontext()


@contextmanager
def memory_given_back(_: TrainingState) -> Iterator[None]:
    """Let malloc do what it does by default with blocks of 32 MiB and more."""
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-4, 65536)
    mallopt(-1, 128 * 1024)
    yield
    pick_device("cpu")


def weight_by_weight(run: TrainingState) -> AbstractContextManager[object]:
    """Step through the weights one after the other, torch's default on a CPU."""
    run.optimizers = [torch.optim.SGD(run.model.parameters(), lr=LEARNING_RATE)]
    run.optimizers[0].param_groups[0]["initial_lr"] = LEARNING_RATE
    return nullcontext()


def class_numbers(_: TrainingState) -> AbstractContextManager[object]:
    """Compare with class numbers instead of one-hot rows."""
    by_number = {"cross_entropy": lambda logits, rows: F.cross_entropy(logits, rows.argmax(1))}
    return patch.dict("toypipe.training.loop.LOSSES", by_number)


@contextmanager
def no_denormals(_: TrainingState) -> Iterator[None]:
    """Round the very smallest numbers to zero."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


def one_thread(_: TrainingState) -> AbstractContextManager[object]:
    """Leave all cores but one idle."""
    return threads(1)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def compiled(run: TrainingState) -> AbstractContextManager[object]:
    """Let torch.compile fuse what it can; it needs a C++ compiler."""
    run.model.compile()
    return nullcontext()


def trained(change: Change, batch_size: int, precision: str) -> float:
    """Return the images per second of the last three quarters of a short run."""
    params: TrainParams = RECIPE.model_copy(
        update={"epochs": 1, "batch_size": batch_size, "precision": precision}
    )
    split = load_part(batch_size * STEPS[batch_size])
    run = begin(Task(split, batch_size).model, params)
    with change(run):
        events = train(run, split, None, params)
        marks = [time.perf_counter() for event in events if isinstance(event, Step)]
    first = len(marks) // 4
    return batch_size * (len(marks) - 1 - first) / (marks[-1] - marks[first])


load_part = partial(load, device=torch.device("cpu"))
LEVERS: dict[str, tuple[Change, str]] = {
    "as it is, float32": (as_it_is, "float32"),
    "bfloat16": (as_it_is, "bfloat16"),
    "planes instead of channels_last": (planes, "float32"),
    "freed memory given back": (memory_given_back, "float32"),
    "weights stepped one by one": (weight_by_weight, "float32"),
    "class numbers instead of one-hot rows": (class_numbers, "float32"),
    "denormal numbers flushed": (no_denormals, "float32"),
    "torch.compile": (compiled, "float32"),
    "torch.compile, bfloat16": (compiled, "bfloat16"),
    "one thread": (one_thread, "float32"),
}


def main(repeats: int) -> None:
    """Measure and print everything."""
    pick_device("cpu")
    speeds: dict[tuple[str, int], list[float]] = {}
    missing: set[str] = set()
    for _ in range(repeats):
        for name, (change, precision) in LEVERS.items():
            for batch_size in STEPS:
                try:
                    speed = trained(change, batch_size, precision)
                except RuntimeError as error:  # torch.compile has found no compiler
                    missing.add(f"{name}: {str(error).splitlines()[0]}")
                    continue
                speeds.setdefault((name, batch_size), []).append(speed)
    print(f"| | {' | '.join(f'batch {size}' for size in STEPS)} |\n|---{'|--:' * len(STEPS)}|")
    base = next(iter(LEVERS))
    for name in LEVERS:
        cells = []
        for size in STEPS:
            found = speeds.get((name, size), [])
            pairs = zip(found, speeds[base, size], strict=False)
            ratios = [a / b for a, b in pairs]
            cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
            if name == base:
                cells[-1] = f"{statistics.median(found):,.0f} images/s"
        print(f"| {name} | {' | '.join(cells)} |")
    print(*sorted(missing), sep="\n")
    print(", ".join(f"{key} {value}" for key, value in describe_machine("cpu").items()))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
