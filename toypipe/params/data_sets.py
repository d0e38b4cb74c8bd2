"""The data sets of params.yaml: a section each."""

from typing import Annotated, Literal

from pydantic import Field

from toypipe.params.section import Section, Width


class Cifar10(Section):
    """CIFAR-10: 50,000 training and 10,000 test images of 32 by 32 pixels in ten classes."""

    name: Literal["cifar10"]


class Cifar100(Section):
    """CIFAR-100: as CIFAR-10, but in a hundred classes."""

    name: Literal["cifar100"]


class FashionMnist(Section):
    """Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 32 by 32 with a border."""

    name: Literal["fashion_mnist"]


class Svhn(Section):
    """SVHN: 73,257 training and 26,032 test images of house numbers' digits, 32 by 32 pixels."""

    name: Literal["svhn"]


class Imagenette(Section):
    """Imagenette: 9,469 training and 3,925 test images of ten easy classes of ImageNet."""

    name: Literal["imagenette"]
    size: Width
    """Every image is scaled to this width and height, in pixels."""


class Digits(Section):
    """scikit-learn's handwritten digits: 1,437 training and 360 test images of 32 by 32 pixels."""

    name: Literal["digits"]


class Folder(Section):
    """Your own images: a folder with `train/` and `test/`, each with one folder per class."""

    name: Literal["folder"]
    path: Annotated[str, Field(min_length=1)]
    """The folder that holds `train/` and `test/`; prepare's deps in dvc.yaml must list it."""
    size: Width
    """Every image is scaled to this width and height, in pixels."""


class SplitFolder(Section):
    """Your own images: a folder with one folder per class, which `prepare` splits by chance."""

    name: Literal["split_folder"]
    path: Annotated[str, Field(min_length=1)]
    """The folder that holds one folder per class; prepare's deps in dvc.yaml must list it."""
    size: Width
    """Every image is scaled to this width and height, in pixels."""
    test_share: Annotated[float, Field(gt=0, lt=1)]
    """Share of the images of each class to test on; training never sees them."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Seed of the split: which images are for the test."""


Downloaded = Cifar10 | Cifar100 | FashionMnist | Svhn | Imagenette
DataSet = Annotated[Downloaded | Digits | Folder | SplitFolder, Field(discriminator="name")]
