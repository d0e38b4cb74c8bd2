"""What starting from learned weights is worth, in `toypipe seeds`, on five classes of CIFAR-10.

    python benchmarks/transfer.py FOLDER [SEEDS]

In a clone of this project in FOLDER, which must not exist, the speedrun network learns five classes
by the recipe `quick`. Then it trains on 500 pictures of the other five, a folder of PNG files: from
nothing, and from what it has learned before. `toypipe seeds` compares the two, on the 5,000 test
images of these five classes. It needs data/raw; some minutes on two cores.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image
from ruamel.yaml import YAML

from toypipe.data.published import CIFAR10, read_published
from toypipe.data.split import Split, save_split
from toypipe.params.overrides import apply_overrides

FIRST, OTHERS = range(5), range(5, 10)  # airplane to deer; dog to truck
EACH = 100  # pictures of each of the other classes to train on
FEW, PRETRAINED = "data/few", "data/pretrained/checkpoint.pt"
SGD = "{name: sgd, lr: 0.02, momentum: 0.9, nesterov: true, weight_decay: 0.0005}"
CHANGES = [
    *("~prepare.dataset", f"+prepare.dataset={{name: folder, path: {FEW}, size: 32}}"),
    *("~train.optimizer", f"+train.optimizer={SGD}"),
    *("train.epochs=40", "train.batch_size=50", "train.sizes=[]"),
]
"""Of the recipe `quick`, for few images."""


def main(folder: Path, seeds: int) -> None:
    """Do everything, and show what `toypipe seeds` says."""
    source = Path.cwd()
    training, test = read_published(CIFAR10, source / "data/raw")
    run(source, "git", "clone", "--quiet", str(source), str(folder))
    learn_before(folder, chosen(training, FIRST))
    write_pictures(folder / FEW / "train", chosen(training, OTHERS), EACH)
    write_pictures(folder / FEW / "test", chosen(test, OTHERS))
    run(folder, "dvc", "add", "--quiet", FEW, PRETRAINED)
    pipeline = YAML().load(folder / "dvc.yaml")
    pipeline["stages"]["prepare"]["deps"].append(FEW)
    pipeline["stages"]["train"]["deps"].append(PRETRAINED)
    YAML().dump(pipeline, folder / "dvc.yaml")
    commit(folder, "From nothing", "train.start=fresh")
    toypipe(folder, "seeds", str(seeds))
    commit(folder, "From what was learned before", f"train.start={PRETRAINED}")
    toypipe(folder, "seeds", str(seeds), "--against", "HEAD~1")


def chosen(split: Split, classes: range) -> Split:
    """Return the images of some classes that follow each other."""
    part = split[torch.isin(split.labels, torch.tensor(classes)).nonzero().flatten()]
    names = [split.classes[label] for label in classes]
    return Split(part.images, part.labels - classes[0], names)


def learn_before(folder: Path, split: Split) -> None:
    """Train by the recipe `quick`, and put the checkpoint where DVC will know it."""
    prepared, pretrained = folder / "data/prepared/train.pt", folder / PRETRAINED
    for path in (prepared, pretrained):
        path.parent.mkdir(parents=True)
    with prepared.open("wb") as file:
        save_split(file, split)
    toypipe(folder, "train", "--params", "recipes/quick.yaml")
    (folder / "data/model/checkpoint.pt").rename(pretrained)


def write_pictures(half: Path, split: Split, each: int | None = None) -> None:
    """Write the first images of each class as PNG files, in a folder per class."""
    for label, name in enumerate(split.classes):
        (half / name).mkdir(parents=True)
        images = split.images[split.labels == label][:each].permute(0, 2, 3, 1).numpy()
        for number, pixels in enumerate(images):
            Image.fromarray(pixels).save(half / name / f"{number:04}.png")


def commit(folder: Path, message: str, change: str) -> None:
    """Write params.yaml with one more change, and commit everything."""
    recipe = YAML(typ="safe", pure=True).load(folder / "recipes/quick.yaml")
    YAML().dump(apply_overrides(recipe, [*CHANGES, change]), folder / "params.yaml")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


def toypipe(folder: Path, *arguments: str) -> None:
    """Run a command with the clone's code."""
    run(folder, sys.executable, "-m", "stages", *arguments)


def run(folder: Path, *command: str) -> None:
    """Run a program of this environment; end with its exit code if it fails."""
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": tools}
    environment.pop("PYTHONPATH", None)
    if code := subprocess.run(command, cwd=folder, env=environment, check=False).returncode:
        raise SystemExit(code)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
