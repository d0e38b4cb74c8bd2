"""What a change of a recipe is worth: many seeds, paired, on images held out of the training.

    python benchmarks/tricks.py [RECIPE] [--seeds N] [-S KEY=VALUE]... [--try "KEY=VALUE ..."]...

Without --try, each trick of the recipe is left out, one at a time; each --try is a change of its
own, of one or more keys. -S changes the recipe for all of them: it makes it short. All train in
turn, once for each seed, on the training images without 5,000 that are held out; those they are
judged by. The test images are not looked at.

Prints a Markdown table: mean accuracy; its difference to the whole recipe with the standard error,
paired by seed; p, the chance of such a gain if there were none (paired one-sided t-test); and the
time of the training, as the median ratio to the whole recipe's of the same round. Thirty seeds tell
a difference of 0.002 from noise; three do not. Results are kept in build/tricks.jsonl:
the same command continues where it was stopped, until code, recipe or machine change.

It needs data/prepared.
"""

import argparse
import hashlib
import json
import math
import statistics
from functools import partial
from pathlib import Path

import torch
from machine import describe_machine
from speedrun import PREPARED, Trials, of_seed, tested, timed, trained

from toypipe.compute.devices import pick_device
from toypipe.data.split import load_split
from toypipe.evaluation.metrics import measure
from toypipe.evaluation.statistics import paired_test
from toypipe.networks.normalize import build_normalize
from toypipe.params.file import read_params
from toypipe.training.holdout import hold_out

HELD_OUT = 5000  # images
KEPT = Path("build/tricks.jsonl")
CODE = ("compute", "data", "networks", "training", "evaluation")
WHOLE = "the whole recipe"
SGD = "{name: sgd, lr: 0.2, momentum: 0.85, nesterov: true, weight_decay: 0.0005}"
WITHOUT = {
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


def digest(content: bytes) -> str:
    """Return a short name for some bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def code() -> str:
    """Return a name for the code that decides the results."""
    files = (path for name in CODE for path in sorted((Path("toypipe") / name).glob("*.py")))
    return digest(b"".join(path.read_bytes() for path in files))


def table(found: dict[str, Trials]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| change | accuracy | difference | p | time |", "|---|--:|--:|--:|--:|"]
    whole = found[WHOLE]
    for name, trials in found.items():
        cells = [name, f"{statistics.mean(trials.accuracies):.4f}"]
        if trials is whole:
            cells += ["", "", f"{statistics.median(whole.seconds):.0f} s"]
        else:
            pairs = zip(trials.accuracies, whole.accuracies, strict=True)
            gains = [a - b for a, b in pairs]
            error = statistics.stdev(gains) / math.sqrt(len(gains))
            chance = paired_test(trials.accuracies, whole.accuracies)
            ratios = [a / b for a, b in zip(trials.seconds, whole.seconds, strict=True)]
            cells += [
                f"{statistics.mean(gains):+.4f} ± {error:.4f}",
                f"{chance:.2g}" if chance is not None else "",
            ]
            cells += [f"{statistics.median(ratios):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", type=Path, default=Path("recipes/quick.yaml"))
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("-S", dest="overrides", metavar="KEY=VALUE", action="append", default=[])
    parser.add_argument("--try", dest="changes", metavar="CHANGE", action="append", default=[])
    options = parser.parse_args()

    device = pick_device("auto")
    machine, version = describe_machine(device.type), code()
    changes = {each: each.split() for each in options.changes} or WITHOUT
    recipes = {
        name: read_params(options.recipe, [*options.overrides, *change])
        for name, change in {WHOLE: [], **changes}.items()
    }
    training, held_out = hold_out(load_split(PREPARED / "train.pt"), HELD_OUT, seed=0)
    assert held_out is not None
    normalize = build_normalize(recipes[WHOLE].train.normalize, training.images)
    training, held_out = training.to(device), held_out.to(device)
    found = {name: Trials() for name in recipes}
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.touch()
    kept = {each["name"]: each for each in map(json.loads, KEPT.read_text().splitlines())}
    for seed in range(options.seeds):
        networks = dict[str, tuple[float, torch.nn.Module]]()
        for name, params in recipes.items():
            values = [params.model_dump(), seed, machine, version]
            key = digest(json.dumps(values, sort_keys=True).encode())
            if key not in kept:
                section = of_seed(params, seed)
                of_section = section.model_dump_json()
                if of_section not in networks:  # other views need no other network
                    networks[of_section] = timed(
                        partial(trained, section, training, normalize), device
                    )
                seconds, network = networks[of_section]
                accuracy = measure(tested(network, params.evaluate, held_out), held_out).accuracy
                kept[key] = {"name": key, "seconds": seconds, "accuracy": accuracy}
                with KEPT.open("a") as file:
                    print(json.dumps(kept[key]), file=file)
            found[name].add(kept[key]["seconds"], kept[key]["accuracy"])
            figures = f"{kept[key]['seconds']:.1f} s, {kept[key]['accuracy']:.4f}"
            print(f"seed {seed}, {name}: {figures}", flush=True)
    print(f"\n{table(found)}\n")
    print(", ".join(f"{key} {value}" for key, value in machine.items()))


if __name__ == "__main__":
    main()
