"""Time to accuracy: one recipe trained from many seeds, and the field's record beside it.

    python benchmarks/speedrun.py [RECIPE] [--trials N] [--device NAME] [--target 0.94] [--airbench]
        [--beside RECIPE [--beside-trials N]] [-S KEY=VALUE]...

The clock of a trial runs from the images in the device's memory to the logits of the test images,
with a look in between, when the training is over. Charged: the first weights, whitening, the
optimizers' state, the capture of CUDA graphs, every step, and the views at test time. Not charged:
importing torch, reading files, each channel's mean and deviation (others write them down), and a
warm-up of a fifth of an epoch, once in the process, in which libraries load their kernels. All
images are trained on; the labels of the test images are looked at when the clock has stopped. Seeds
are 0, 1, 2, ...; no trial is left out, and there is no pause between them. With --beside, another
recipe trains in turn with the first N trials, from the same seeds and on the same clock.

With --airbench, the package `airbench` trains its 94 % recipe in turn with ours, on the same
device, in a process of its own: as it comes, timed by its own clock, which leaves out more (the
making of the network and the optimizer). It needs CUDA and `pip install airbench`.

It needs data/prepared (`dvc repro prepare`), and neither DVC nor Typer.
"""

import argparse
import copy
import io
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from machine import describe_machine
from torch import Tensor, nn

from toypipe.compute.devices import pick_device
from toypipe.data.split import Split, load_split
from toypipe.evaluation.metrics import measure, predict
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import Normalize, build_normalize
from toypipe.networks.whitening import fit_whitening
from toypipe.params.file import read_params
from toypipe.params.schema import EvaluateParams, Params, TrainParams
from toypipe.training.loop import begin, train

PREPARED = Path("data/prepared")
Result = TypeVar("Result")


@dataclass
class Trials:
    """The results of some trials of one contender."""

    seconds: list[float] = field(default_factory=list)
    """Of each."""
    training: list[float] = field(default_factory=list)
    """Seconds until the network was trained, where they are known."""
    accuracies: list[float] = field(default_factory=list)
    """On the test images, 0..1."""

    def add(self, seconds: float, accuracy: float) -> None:
        """Note a trial."""
        self.seconds.append(seconds)
        self.accuracies.append(accuracy)

    def row(self, name: str, target: float) -> str:
        """Return a row of the table."""
        from scipy.stats import ttest_1samp

        some = len(self.seconds) > 1
        deviation = statistics.stdev(self.accuracies) if some else 0
        above = ttest_1samp(self.accuracies, target, alternative="greater").pvalue if some else None
        cells = [
            name,
            f"{len(self.seconds)}",
            f"{statistics.mean(self.seconds):.3g} s",
            f"{min(self.seconds):.3g} to {max(self.seconds):.3g}",
            f"{min(self.training):.3g} to {max(self.training):.3g}" if self.training else "",
            f"{statistics.mean(self.accuracies):.4f}",
            f"{deviation:.4f}",
            f"{min(self.accuracies):.4f} to {max(self.accuracies):.4f}",
            f"{above:.2g}" if above is not None else "",
        ]
        return f"| {' | '.join(cells)} |"


HEAD = """
| | trials | mean time | least to most | of it training | mean accuracy | deviation | range | p |
|---|--:|--:|--:|--:|--:|--:|--:|--:|"""


def trained(params: TrainParams, split: Split, normalize: Normalize) -> nn.Module:
    """Train a network.

    Args:
        params: The `train` section of a recipe.
        split: The images to train on, on the device.
        normalize: The first layer, with the figures of these images.
    """
    shape = Shape(split.size, len(split.classes))
    model = build_model(params.model, shape, copy.deepcopy(normalize), params.seed)
    model.to(split.images.device)
    fit_whitening(model, split.images)
    run = begin(model, params)
    for _ in train(run, split, None, params):
        pass
    return run.model.eval()


def tested(model: nn.Module, params: EvaluateParams, test: Split) -> Tensor:
    """Return the logits of the test images, as the recipe views them."""
    return predict(
        model,
        test.images,
        batch_size=params.batch_size,
        views=params.views,
        bfloat16=params.precision == "bfloat16",
    )


def timed(work: Callable[[], Result], device: torch.device) -> tuple[float, Result]:
    """Return the seconds that some work takes, on the device too, and what comes of it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def of_seed(params: Params, seed: int) -> TrainParams:
    """Return the `train` section with another seed."""
    return params.train.model_copy(update={"seed": seed})


def airbench_trial() -> tuple[float, float]:
    """Let the package train its network; return the seconds and the accuracy that it prints."""
    import airbench

    printed = io.StringIO()
    with redirect_stdout(printed):
        airbench.train94()
    last = [line for line in printed.getvalue().splitlines() if "eval" in line][-1]
    cells = [cell.strip() for cell in last.strip("|").split("|")]
    return float(cells[-1]), float(cells[-2])


def prepare_airbench(folder: Path, training: Split, test: Split) -> None:
    """Write the images as the package keeps them, and stand where it looks for them."""
    (folder / "cifar10").mkdir()
    for name, split in (("train", training), ("test", test)):
        pixels = split.images.permute(0, 2, 3, 1).contiguous()
        content = {"images": pixels, "labels": split.labels, "classes": split.classes}
        torch.save(content, folder / "cifar10" / f"{name}.pt")
    os.chdir(folder)


@dataclass
class Recipe:
    """A recipe in the race."""

    name: str
    params: Params
    trials: int
    normalize: Normalize
    results: Trials = field(default_factory=Trials)

    def trial(self, seed: int, training: Split, test: Split) -> str:
        """Train and test a network, note the results, and return them in words."""
        device = training.images.device
        section = of_seed(self.params, seed)
        seconds, model = timed(partial(trained, section, training, self.normalize), device)
        testing, logits = timed(partial(tested, model, self.params.evaluate, test), device)
        self.results.training.append(seconds)
        self.results.add(seconds + testing, measure(logits, test).accuracy)
        times = f"{seconds:.3f} s of training, {testing:.3f} s of testing"
        return f"{self.name}, seed {seed}: {times}, {self.results.accuracies[-1]:.4f}"

    def warm_up(self, training: Split, test: Split) -> None:
        """Train and test a network for nothing."""
        short = self.params.train.model_copy(update={"epochs": 0.2})
        tested(trained(short, training, self.normalize), self.params.evaluate, test)


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", type=Path, default=Path("recipes/speedrun94.yaml"))
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--target", type=float, default=0.94)
    parser.add_argument("--airbench", action="store_true")
    parser.add_argument("--beside", type=Path, metavar="RECIPE")
    parser.add_argument("--beside-trials", type=int, default=2, metavar="N")
    parser.add_argument("-S", dest="overrides", metavar="KEY=VALUE", action="append", default=[])
    options = parser.parse_args()

    device = pick_device(options.device)
    training, test = (load_split(PREPARED / f"{name}.pt") for name in ("train", "test"))
    chosen = [(options.recipe, options.overrides, options.trials)]
    if options.beside:
        chosen.append((options.beside, [], options.beside_trials))
    recipes = list[Recipe]()
    for path, overrides, trials in chosen:
        params = read_params(path, overrides)
        normalize = build_normalize(params.train.normalize, training.images)
        recipes.append(Recipe(" ".join([str(path), *overrides]), params, trials, normalize))
    training, test = training.to(device), test.to(device)
    for recipe in recipes:
        recipe.warm_up(training, test)
    found = [(recipe.name, recipe.results) for recipe in recipes]
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process,
    ):
        if options.airbench:
            theirs = Trials()
            found.append(("airbench, by its own clock", theirs))
            prepare_airbench(Path(folder), training, test)
            process.submit(airbench_trial).result()  # its warm-up
        for seed in range(options.trials):
            for recipe in recipes:
                if seed < recipe.trials:
                    print(recipe.trial(seed, training, test), flush=True)
            if options.airbench:
                theirs.add(*process.submit(airbench_trial).result())
    print(HEAD)
    for name, results in found:
        print(results.row(name, options.target))
    target = f"the chance of such a mean if the true one were {options.target}"
    print(f"\np: {target}, by a one-sided t-test.")
    print(", ".join(f"{key} {value}" for key, value in describe_machine(device.type).items()))


if __name__ == "__main__":
    main()
