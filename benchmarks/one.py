"""One contender in a process of its own, for compare.py.

Trains an epoch at each batch size and writes, as JSON to a file (the contenders print what they
like): images per second, seconds from the start of the process to the first step, peak memory,
and the loss of the trained network.
"""

import argparse
import json
import resource
import sys
from pathlib import Path

import torch


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("started", type=float)
    parser.add_argument("name")
    parser.add_argument("--best", action="store_true")
    parser.add_argument("--batch-sizes", type=int, nargs="+", required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    from contenders import CONTENDERS
    from task import Task, load

    from toypipe.compute.devices import pick_device

    device = pick_device(options.device)
    if options.name not in {"toypipe", "bare_step"}:
        be_plain(best=options.best)
    split = load(options.images, device)
    found: dict[str, object] = {}
    for batch_size in options.batch_sizes:
        task = Task(split, batch_size)
        try:
            CONTENDERS[options.name](task, best=options.best)
        except ImportError as error:
            found["missing"] = str(error)
            break
        task.end()
        found.setdefault("start_up", task.marks[-1 - task.steps] - options.started)
        found.setdefault("memory", peak_memory())
        found[str(batch_size)] = {"speed": task.images_per_second(), "loss": task.final_loss()}
    options.out.write_text(json.dumps(found))


def be_plain(*, best: bool) -> None:
    """Set torch's arithmetic on CUDA as it comes, or for speed: toypipe's choice is for itself."""
    torch.set_deterministic_debug_mode("default")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, best
    torch.backends.cuda.matmul.allow_tf32 = best


def peak_memory() -> int:
    """Return the most memory that this process ever had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
