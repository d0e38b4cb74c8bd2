"""What it costs to save the state of a run: an epoch with, an epoch without, in turn.

    python benchmarks/saving_cost.py [EPOCHS]

Trains the default recipe twice at once on data/prepared/train.pt, so that both see the same noise
of the machine, and prints the medians and their ratio. On two CPU cores an epoch takes some 8
seconds.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from toypipe.data.split import load_split
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.params.file import read_params
from toypipe.pipeline.resume import RunFolder, kept
from toypipe.training.holdout import hold_out
from toypipe.training.loop import Step, begin, train
from toypipe.training.state import Epoch, TrainingState


class Counted(RunFolder):
    """A folder that counts the states and their cost; time stands still in the other's turn."""

    saved, seconds = 0, 0.0

    def wait(self, seconds: float) -> None:
        """Let time pass that is not this run's."""
        self._saved += seconds

    def save(self, run: TrainingState, *, finished: bool = False) -> str:  # noqa: D102
        start = time.perf_counter()
        where = super().save(run, finished=finished)
        self.saved, self.seconds = self.saved + 1, self.seconds + time.perf_counter() - start
        return where


def main(epochs: float) -> None:
    """Train twice, in turn, and compare."""
    params = read_params(Path("recipes/toy.yaml"), [f"train.epochs={epochs}"]).train
    training, validation = hold_out(
        load_split(Path("data/prepared/train.pt")), params.validation, params.seed
    )
    normalize = build_normalize(params.normalize, training.images)
    shape = Shape(training.size, len(training.classes))
    with TemporaryDirectory(dir="data") as path:
        folder = Counted(Path(path))

        def events(*, save: bool) -> Iterator[Step | Epoch]:
            run = begin(build_model(params.model, shape, normalize, params.seed), params)
            plain = train(run, training, validation, params)
            return kept(plain, run, folder, params, len(training)) if save else plain

        runs = {name: events(save=name == "saving") for name in ("saving", "not saving")}
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for epoch in range(int(epochs)):
            for name in sorted(runs, reverse=bool(epoch % 2)):  # neither always first
                start = time.perf_counter()
                next(event for event in runs[name] if isinstance(event, Epoch))
                seconds[name].append(time.perf_counter() - start)
                if name == "not saving":
                    folder.wait(seconds[name][-1])
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {epochs} epochs each")
    for name, measured in seconds.items():
        median, low, high = statistics.median(measured), min(measured), max(measured)
        print(f"{name:10}: {median:.2f} s an epoch ({low:.2f} to {high:.2f})")
    pairs = zip(seconds["saving"], seconds["not saving"], strict=True)
    ratio = statistics.median(saving / plain for saving, plain in pairs)
    share = folder.seconds / sum(seconds["saving"])
    print(f"{folder.saved} states saved, which took {share:.2%} of the time of their run")
    print(f"median ratio of the pairs: {ratio:.3f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
