"""One training in several processes: is it the same, and is it as fast?

    python benchmarks/processes.py [RECIPE] [--processes N] [--rounds N] [--steps N] [-S KEY=VALUE]

Three ways to train, in turn: one process with all cores as threads, the same under torchrun, and
several processes under torchrun, which share the cores (on CUDA: with a GPU each). Prints the
throughput of each after ten steps of warming up, as the median of the rounds, and by how much the
losses of the steps differ from those of the one process, relatively and at most, and their mean.
It needs data/prepared.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from machine import describe_machine

from toypipe.compute import distributed
from toypipe.compute.devices import pick_device
from toypipe.data.split import load_split
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.networks.whitening import fit_whitening
from toypipe.params.file import read_params
from toypipe.training.loop import Step, begin, train

WARM_UP = 10  # steps
EARLY = 50  # steps, whose losses are compared by themselves


@dataclass
class Contender:
    """One way to train, and what was measured of it."""

    name: str
    processes: int
    torchrun: bool
    speeds: list[float] = field(default_factory=list)
    """Images a second, of each round."""
    losses: list[float] = field(default_factory=list)
    """Of each step, the same in every round."""

    def measure(self, arguments: list[str], device: str) -> None:
        """Train once, in processes of its own."""
        cores = len(os.sched_getaffinity(0))
        threads = cores // (self.processes if device == "cpu" else 1)
        launcher = [sys.executable]
        if self.torchrun:
            count = f"--nproc-per-node={self.processes}"
            launcher += ["-m", "torch.distributed.run", "--standalone", count]
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder, "result.json")
            subprocess.run(
                [*launcher, __file__, *arguments, "--result", str(result)],
                env={**os.environ, "OMP_NUM_THREADS": str(max(1, threads))},
                check=True,
            )
            found = json.loads(result.read_text())
        self.speeds.append(found["speed"])
        if self.losses and self.losses != found["losses"]:
            print(f"{self.name}: the losses of this round differ from those of the first")
        self.losses = found["losses"]


def work(options: argparse.Namespace) -> None:
    """Train for some steps, as one of the processes or alone; write losses and speed."""
    params = read_params(options.recipe, options.overrides).train
    device = pick_device(options.device)
    split = load_split(Path("data/prepared/train.pt"))
    normalize = build_normalize(params.normalize, split.images)
    shape = Shape(split.size, len(split.classes))
    model = build_model(params.model, shape, normalize, params.seed)
    fit_whitening(model, split.images)
    with distributed.process_group(device):
        run, losses = begin(model.to(device), params), list[torch.Tensor]()
        for event in train(run, split.to(device), None, params):
            if isinstance(event, Step):
                losses.append(event.losses[-1].clone())
            if len(losses) == WARM_UP:
                float(losses[-1])  # waits for the device
                start = time.perf_counter()
            if len(losses) == options.steps:
                break
        values = torch.stack(losses).tolist()
        seconds = time.perf_counter() - start
        if distributed.rank() == 0:
            speed = (len(losses) - WARM_UP) * params.batch_size / seconds
            options.result.write_text(json.dumps({"losses": values, "speed": speed}))


def difference(losses: list[float], reference: list[float]) -> float:
    """Return the largest relative difference of two series."""
    return max(abs(a - b) / b for a, b in zip(losses, reference, strict=True))


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", type=Path, default=Path("recipes/toy.yaml"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-S", dest="overrides", metavar="KEY=VALUE", action="append", default=[])
    options = parser.parse_args()
    if options.result is not None:
        work(options)
        return

    alone, under, several = contenders = [
        Contender("one process", 1, torchrun=False),
        Contender("one process under torchrun", 1, torchrun=True),
        Contender(
            f"{options.processes} processes under torchrun", options.processes, torchrun=True
        ),
    ]
    for _ in range(options.rounds):
        for contender in contenders:
            contender.measure(sys.argv[1:], options.device)
    print("| | images/s | to one process | loss, the first 50 steps | all steps | their mean |")
    print("|---|--:|--:|--:|--:|--:|")
    for contender in (alone, under, several):
        ratios = [a / b for a, b in zip(contender.speeds, alone.speeds, strict=True)]
        early = difference(contender.losses[:EARLY], alone.losses[:EARLY])
        whole = difference(contender.losses, alone.losses)
        mean = difference([statistics.mean(contender.losses)], [statistics.mean(alone.losses)])
        print(
            f"| {contender.name} | {statistics.median(contender.speeds):,.0f}"
            f" | {statistics.median(ratios):.3f} | {early:.1g} | {whole:.1g} | {mean:.1g} |"
        )
    print(f"\n{options.steps} steps of {options.recipe}, medians of {options.rounds} rounds")
    print(", ".join(f"{k} {v}" for k, v in describe_machine(options.device).items()))


if __name__ == "__main__":
    main()
