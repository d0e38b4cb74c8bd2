"""Small data that the tests make themselves."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from stages import evaluate
from toypipe.data.files import csv_bytes, whole
from toypipe.data.split import Split, save_split
from toypipe.networks.build import Shape, build_model
from toypipe.networks.checkpoint import Classifier, save_checkpoint
from toypipe.networks.normalize import build_normalize
from toypipe.params.architectures import Arch
from toypipe.params.file import read_params
from toypipe.params.schema import Model, Speedrun, Torchvision, Toy, TrainParams
from toypipe.pipeline.stage import Stage

Network = Arch | Literal["toy", "speedrun"]

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "recipes/toy.yaml"
SPEEDRUN = (  # a small one
    "{name: speedrun, channels: [8, 8, 32, 32, 32, 32], kernels: [3, 3, 3, 3, 3, 3],"
    " whitening: true, identity: true}"
)
"""The default recipe. Not params.yaml, which people change."""
BAD_NAMES = ["", " ", "cat", "\x1b[31m", "two\nlines", "\u202ednib", "\ud800"]
"""What cannot be the third class beside `cat` and `dog`."""


def make_split(count: int, size: int = 16, classes: int = 3, seed: int = 0) -> Split:
    """Return noise whose red grows with the class, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    images = torch.randint(0, 128, (count, size, size, 3), generator=generator)
    images[..., 0] += (labels * 127 // max(classes - 1, 1))[:, None, None]
    pixels = images.to(torch.uint8).permute(0, 3, 1, 2)
    return Split(pixels, labels, [f"class{i}" for i in range(classes)])


def make_train_params(*overrides: str) -> TrainParams:
    """Return the default train section, small, with changes in the grammar of -S."""
    small = ["train.epochs=2", "train.batch_size=8", "train.validation=0"]
    return read_params(PARAMS, [*small, *overrides]).train


def make_network_params(name: Network) -> Model:
    """Return the parameters of a network, a small one where there is a choice."""
    match name:
        case "toy":
            return Toy(name="toy")
        case "speedrun":
            return Speedrun(
                name="speedrun",
                channels=[8, 8, 32, 32, 32, 32],
                kernels=[3] * 6,
                whitening=True,
                identity=True,
            )
        case _:
            return Torchvision(name="torchvision", arch=name)


def make_folder(root: Path, classes: Sequence[str] = ("cat", "dog"), each: int = 6) -> Path:
    """Write PNG images of 20 by 16 pixels as a data set of one's own, and return its folder."""
    random = np.random.default_rng(0)
    for half in ("train", "test"):
        for label, name in enumerate(classes):
            folder = root / half / name
            folder.mkdir(parents=True)
            for i in range(each):
                pixels = random.integers(0, 128, (16, 20, 3), dtype=np.uint8)
                pixels[..., label % 3] += 100
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def finish_run(root: Path) -> None:
    """Write what a finished run leaves: a checkpoint, test images, results and parameters.

    The network has not been trained, so it makes mistakes; one class is named like a script.
    """
    split = make_split(60)
    split.classes[2] = "<script>alert(1)</script>"
    params = read_params(PARAMS)
    shape = Shape(split.size, len(split.classes))
    model = build_model(params.train.model, shape, build_normalize("unit", split.images), seed=0)
    classifier = Classifier(model.eval(), params.train.model, split.size, split.classes)
    shutil.copy(PARAMS, root / "params.yaml")
    with whole(root / "data/model/checkpoint.pt") as file:
        save_checkpoint(file, classifier)
    with whole(root / "data/prepared/test.pt") as file:
        save_split(file, split)
    with whole(root / "data/reports/loss.csv") as file:
        header = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "learning_rate")
        file.write(csv_bytes(header, [(1, 2.0, 1.9, 0.3, 0.01), (2, 1.5, 1.6, 0.45, 0.01)]))
    reports = root / "data/reports"
    evaluate.run(
        Stage("evaluate", PARAMS, []),
        params.evaluate,
        device="cpu",
        checkpoint=root / "data/model/checkpoint.pt",
        test_images=root / "data/prepared/test.pt",
        test_json=reports / "test.json",
        confusion_csv=reports / "confusion.csv",
        per_class_csv=reports / "per_class.csv",
        confusion_png=reports / "images/confusion.png",
        mistakes_png=reports / "images/mistakes.png",
    )
