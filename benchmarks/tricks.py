"""What each trick is worth: leave it out of a recipe, some seeds each, all in turn.

    python benchmarks/tricks.py [RECIPE] [--seeds N] [-S KEY=VALUE]...

Prints a Markdown table: mean test accuracy, its difference to the whole recipe with the standard
error of that (paired by seed), and the time of the training, as the median ratio to the whole
recipe's of the same round. It needs data/prepared. Each of eleven networks is trained once a seed.
"""

import argparse
import math
import statistics
from functools import partial
from pathlib import Path

from machine import describe_machine
from speedrun import PREPARED, Trials, of_seed, tested, timed, trained

from toypipe.compute.devices import pick_device
from toypipe.data.split import load_split
from toypipe.evaluation.metrics import measure
from toypipe.networks.normalize import build_normalize
from toypipe.params.file import read_params

SGD = "{name: sgd, lr: 0.2, momentum: 0.85, nesterov: true, weight_decay: 0.0005}"
WITHOUT = {
    "the whole recipe": [],
    "whitening: first filters trained": ["train.model.whitening=false"],
    "identity: all filters drawn": ["train.model.identity=false"],
    "Muon: SGD for all": ["~train.optimizer", f"+train.optimizer={SGD}"],
    "filters of fixed size": ["train.optimizer.fixed_norm=false"],
    "biases' own rate": ["train.optimizer.bias_lr=0.02"],
    "falling rate: constant": ["~train.schedule", "+train.schedule={name: constant}"],
    "label smoothing": ["train.label_smoothing=0"],
    "alternating mirror: random": ["train.augment.flip=random"],
    "shifts": ["train.augment.translate=0"],
    "smaller sizes first": ["train.sizes=[]"],
    "views at test time: 2": ["evaluate.views=2"],
    "views at test time: 1": ["evaluate.views=1"],
}


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", type=Path, default=Path("recipes/quick.yaml"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-S", dest="overrides", metavar="KEY=VALUE", action="append", default=[])
    options = parser.parse_args()

    training, test = (load_split(PREPARED / f"{name}.pt") for name in ("train", "test"))
    device = pick_device("auto")
    found = {name: Trials() for name in WITHOUT}
    recipes = {
        name: read_params(options.recipe, [*options.overrides, *changes])
        for name, changes in WITHOUT.items()
    }
    normalize = build_normalize(recipes["the whole recipe"].train.normalize, training.images)
    training, test = training.to(device), test.to(device)
    for seed in range(options.seeds):
        networks = {}
        for name, params in recipes.items():
            section = of_seed(params, seed)
            key = section.model_dump_json()
            if key not in networks:  # another way to look at the test images needs no other network
                work = partial(trained, section, training, normalize)
                networks[key] = timed(work, device)
            seconds, network = networks[key]
            accuracy = measure(tested(network, params.evaluate, test), test).accuracy
            found[name].add(seconds, accuracy)
            print(f"seed {seed}, {name}: {seconds:.1f} s, {accuracy:.4f}", flush=True)
    print("\n| without | accuracy | difference | time |\n|---|--:|--:|--:|")
    whole = found["the whole recipe"]
    for name, trials in found.items():
        pairs = zip(trials.accuracies, whole.accuracies, strict=True)
        differences = [a - b for a, b in pairs]
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        ratios = [a / b for a, b in zip(trials.seconds, whole.seconds, strict=True)]
        cells = [name, f"{statistics.mean(trials.accuracies):.4f}"]
        cells += [f"{statistics.mean(differences):+.4f} ± {error:.4f}"]
        cells += [f"{statistics.median(ratios):.2f}"]
        if trials is whole:
            cells[2:] = ["", f"{statistics.median(whole.seconds):.0f} s"]
        print(f"| {' | '.join(cells)} |")
    print("\n" + ", ".join(f"{k} {v}" for k, v in describe_machine(device.type).items()))


if __name__ == "__main__":
    main()
