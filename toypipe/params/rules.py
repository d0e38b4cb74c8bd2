"""Rules across fields: values that are fine alone, but contradict each other or the images."""

import reprlib
from collections.abc import Callable, Iterator
from typing import Any

from toypipe.errors import ToypipeError
from toypipe.params.architectures import WITHOUT_WEIGHTS
from toypipe.params.schema import TrainParams

# Facts about the training images, where known.
SIZE, IMAGES, CLASSES = "prepare.dataset.size", "images", "classes"
KNOWN = {
    "cifar10": {SIZE: 32, IMAGES: 50_000, CLASSES: 10},
    "cifar100": {SIZE: 32, IMAGES: 50_000, CLASSES: 100},
    "fashion_mnist": {SIZE: 32, IMAGES: 60_000, CLASSES: 10},
    "svhn": {SIZE: 32, IMAGES: 73_257, CLASSES: 10},
    "imagenette": {IMAGES: 9469, CLASSES: 10},
    "digits": {SIZE: 32, IMAGES: 1437, CLASSES: 10},
}
"""These facts, by the name of a data set."""
SMALLEST = 9  # pixels: speedrun's first layer takes one, then the images are halved three times


def _for_kernels(smallest: int, kernels: list[int]) -> str | bool:
    """Tell whether images of this size are too small: filters of two pixels shrink them by one."""
    least = 1  # pixel, at the end
    for first, second in ((4, 5), (2, 3), (0, 1)):
        least = 2 * (least + (kernels[second] == 2)) + (kernels[first] == 2)
    least += 1  # for the first layer
    return smallest < least and f"must be at least {least} for the speedrun network"


def _look_ahead(nesterov: bool, momentum: float) -> str | bool:
    return nesterov and momentum == 0 and "looks ahead along the momentum, which must be above 0"


def _ends_at(sizes: list[int], size: int, name: str) -> str | bool:
    if max(sizes, default=0) > size:
        return f"must be at most {size}, the size of the images in pixels, which can only shrink"
    # Test images are not shrunk: a network is good at the size that it saw last.
    return (
        sizes[-1:] not in ([], [size])
        and name != "toy"
        and f"must end with {size}, the size of the images in pixels, at which it is tested"
    )


RULES: dict[tuple[str, ...], Callable[..., str | bool]] = {
    # A literal accepts 1.0 and true, because they equal 1.
    ("evaluate.views",): lambda views: type(views) is not int and "should be 1, 2 or 6",
    ("train.optimizer.nesterov", "train.optimizer.momentum"): _look_ahead,
    ("train.optimizer.rest.nesterov", "train.optimizer.rest.momentum"): _look_ahead,
    ("train.optimizer.weight_decay", "train.optimizer.fixed_norm"): lambda decay, fixed: (
        fixed and decay > 0 and "must be 0, as train.optimizer.fixed_norm keeps the filters' norm"
    ),
    ("train.schedule.warmup_epochs", "train.epochs"): lambda warmup, epochs: (
        warmup >= epochs and f"must be below train.epochs, which is {epochs}"
    ),
    ("train.keep", "train.validation"): lambda keep, held_out: (
        (keep == "best" and held_out == 0)
        and "best is judged by validation accuracy, so train.validation must be above 0"
    ),
    ("train.patience", "train.validation"): lambda patience, held_out: (
        (patience > 0 and held_out == 0)
        and "is counted by validation accuracy, so train.validation must be above 0"
    ),
    ("train.start",): lambda start: (
        not (start in {"fresh", "imagenet"} or start.endswith(".pt"))
        and "should be fresh, imagenet or the path of a checkpoint, which ends with .pt"
    ),
    ("train.start", "train.model.name"): lambda start, name: (
        (start == "imagenet" and name != "torchvision")
        and f"imagenet needs a network of torchvision, and train.model is {name}"
    ),
    ("train.start", "train.model.arch"): lambda start, arch: (
        (start == "imagenet" and arch in WITHOUT_WEIGHTS)
        and f"torchvision has no weights for {arch}"
    ),
    ("train.validation", IMAGES): lambda held_out, images: (
        held_out >= images
        and f"must be below {images}, the number of training images; 0 for no validation"
    ),
    ("train.validation", IMAGES, CLASSES): lambda held_out, images, classes: (
        (0 < images - held_out < classes)
        and f"leaves {images - held_out} of the {images} images to train on, fewer than the"
        f" {classes} classes"
    ),
    ("train.batch_size", "train.validation", IMAGES): lambda batch_size, held_out, images: (
        (0 < images - held_out < batch_size)
        and f"must be at most {images - held_out}, the number of images left to train on:"
        f" {images} less the {held_out} of train.validation. Learning rates go with it: half of it"
        " needs half of them"
    ),
    ("train.augment.translate", SIZE): lambda translate, size: (
        translate >= size and f"must be below {size}, the size of the images in pixels"
    ),
    ("train.augment.cutout", SIZE): lambda cutout, size: (
        cutout > size and f"must be at most {size}, the size of the images in pixels"
    ),
    ("train.sizes", SIZE, "train.model.name"): _ends_at,
    (SIZE, "train.model.name"): lambda size, name: (
        name == "toy"
        and size % 8 != 0
        and "must be divisible by 8 for toy, which halves it three times"
    ),
    (SIZE, "train.model.kernels"): _for_kernels,
    ("train.sizes", "train.model.name"): lambda sizes, name: (
        name == "toy" and sizes != [] and "must be [] for the toy network: it accepts one size only"
    ),
    ("train.sizes", "train.model.kernels"): lambda sizes, kernels: (
        sizes != [] and _for_kernels(min(sizes), kernels)
    ),
}
"""By the keys of the values that are compared: what is wrong with the first, or False."""


def broken_rules(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield, for each broken rule, the key of the value to blame, and what is wrong with it.

    `values` are valid, by dotted key. A rule that compares a missing one is skipped.
    """
    for keys, broken in RULES.items():
        found = [values.get(key) for key in keys]
        if None not in found and (problem := broken(*found)):
            yield keys[0], f"{problem} (got {reprlib.repr(found[0])})"


def require_fit(
    train: TrainParams,
    *,
    size: int,
    images: int,
    classes: int | None = None,
    place: Callable[[str], str] = str,
) -> None:
    """Raise ToypipeError for parameters that the images make impossible, with all broken rules.

    `size` is the width and height of the images in pixels, `images` the number of training images,
    including those to hold out for validation. `place` turns a key into where its value stands.
    """
    facts = {SIZE: size, IMAGES: images, CLASSES: classes}
    values = dict(flatten({"train": train.model_dump()})) | facts
    if problems := [f"{place(key)}: {problem}" for key, problem in broken_rules(values)]:
        raise ToypipeError(*problems)


def flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested values with their keys joined by dots: `train.optimizer.lr`."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
