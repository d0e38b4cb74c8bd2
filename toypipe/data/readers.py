"""The readers of published data sets: torchvision's, whose results become splits."""

import gzip
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from toypipe.data.files import whole
from toypipe.data.packing import pack
from toypipe.data.pictures import read_picture
from toypipe.data.split import Split
from toypipe.errors import ToypipeError

BORDER = 2  # black pixels around an image of Fashion-MNIST: 28 become the 32 that networks expect


def read_cifar(raw: Path, archives: list[Path], name: str) -> tuple[Split, Split] | None:
    """Read CIFAR-10 or CIFAR-100 from its extracted folder, or from the archive.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    Args:
        raw: The folder that has the extracted folder; the archive is extracted to it if need be.
        archives: The archive, if it is there.
        name: torchvision's, CIFAR10 or CIFAR100.

    Returns None if a file is missing or damaged, and there is no archive.
    """
    from torchvision import datasets  # slow to import, and folders do not need it

    kind = getattr(datasets, name)
    files = [*kind.train_list, *kind.test_list, [kind.meta["filename"]]]
    known = {f"{kind.base_folder}/{name}" for name, *_ in files}
    for archive in [None, *archives]:
        if archive:
            _extract(archive, raw, known.__contains__)
        try:
            halves = [kind(str(raw), train=train) for train in (True, False)]
        except RuntimeError:  # how torchvision reports that a file is missing or damaged
            continue
        training, test = (
            _split(half.data, torch.tensor(half.targets), half.classes) for half in halves
        )
        return training, test
    return None


def read_fashion_mnist(_: Path, files: list[Path]) -> tuple[Split, Split] | None:
    """Read Fashion-MNIST, grey in three equal channels, with a border: 32 by 32 pixels.

    Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", 2017.

    Returns None if one of the four files is missing or damaged.
    """
    from torchvision.datasets import FashionMNIST

    if len(files) < len(FashionMNIST.resources):
        return None
    with TemporaryDirectory(prefix="toypipe-") as scratch:
        for path in files:
            target = Path(scratch, "FashionMNIST/raw", path.stem)
            target.parent.mkdir(parents=True, exist_ok=True)
            with gzip.open(path) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)
        halves = [FashionMNIST(scratch, train=train) for train in (True, False)]
    training, test = (
        _split(
            F.pad(half.data, [BORDER] * 4)[..., None].expand(-1, -1, -1, 3).numpy(),
            half.targets,
            half.classes,
        )
        for half in halves
    )
    return training, test


def read_svhn(raw: Path, _: list[Path]) -> tuple[Split, Split] | None:
    """Read Street View House Numbers, the cropped digits, without the extra images.

    Source: Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning",
    2011.

    Returns None if a file is missing or damaged. Raises ToypipeError if SciPy is not installed.
    """
    from torchvision.datasets import SVHN

    try:
        halves = [SVHN(str(raw), split=half) for half in ("train", "test")]
    except RuntimeError:
        return None
    except ModuleNotFoundError:
        raise ToypipeError(
            "prepare.dataset.name is svhn, whose files SciPy reads, but it is not installed:"
            " pip install scipy"
        ) from None
    training, test = (
        _split(
            half.data.transpose(0, 2, 3, 1),
            torch.from_numpy(half.labels),
            [str(digit) for digit in range(10)],
        )
        for half in halves
    )
    return training, test


def read_imagenette(raw: Path, archives: list[Path], size: int) -> tuple[Split, Split] | None:
    """Read Imagenette, ten easy classes of ImageNet, as `read_picture` reads images.

    Source: Howard, https://github.com/fastai/imagenette.

    Returns None if the archive is missing or damaged.
    """
    from torchvision.datasets import Imagenette

    if not archives:
        return None
    (archive,) = archives
    kind = {"imagenette2": "full", "imagenette2-320": "320px"}[archive.stem]
    splits = []
    with TemporaryDirectory(prefix="toypipe-") as scratch:
        known = re.compile(rf"{archive.stem}/(train|val)/\w+/\w+\.JPEG").fullmatch
        _extract(archive, Path(scratch), known)
        for half in ("train", "val"):
            files = Imagenette(scratch, half, kind, loader=Path)
            pairs = [files[i] for i in range(len(files))]
            images = pack((read_picture(path, size) for path, _ in pairs), size, raw)
            labels = torch.tensor([label for _, label in pairs])
            splits.append(Split(images, labels, [names[0] for names in files.classes]))
    return splits[0], splits[1]


def _split(pixels: np.ndarray, labels: Tensor, classes: list[str]) -> Split:
    """Return a split of images of shape (N, size, size, 3), whose memory may be in any order."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return Split(images, labels, list(classes))


def _extract(archive: Path, folder: Path, known: Callable[[str], object]) -> None:
    """Write the known files of an archive and no others: an archive can name any path."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isreg() and known(member.name) and (content := tar.extractfile(member)):
                with whole(folder / member.name) as file:
                    shutil.copyfileobj(content, file)
