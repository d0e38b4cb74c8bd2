"""CIFAR-100, Fashion-MNIST, SVHN and Imagenette are read as torchvision reads them.

Each is made here, small, in the layout of its files; the checksums are those of the small ones.
"""

import gzip
import hashlib
import pickle
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.io import savemat
from torch.utils.data import Dataset
from torchvision import datasets
from torchvision.transforms.v2.functional import pil_to_tensor

from stages import prepare
from synthetic import PARAMS
from toypipe.data import download
from toypipe.data import published as module
from toypipe.data.pictures import read_picture
from toypipe.data.published import Published, published, read_published
from toypipe.data.split import load_split
from toypipe.errors import ToypipeError
from toypipe.params.data_sets import Cifar100, Imagenette
from toypipe.params.rules import CLASSES, IMAGES, KNOWN, SIZE
from toypipe.params.schema import PrepareParams
from toypipe.pipeline.stage import Stage

RANDOM = np.random.default_rng(0)
TRAINING, TEST = 7, 4  # images
SIDE = 24  # pixels, of the images of Imagenette that are asked for
Images = Dataset[tuple[Any, int]]
Oracle = Callable[[Path, bool], Images]


def make_cifar100(raw: Path, patch: pytest.MonkeyPatch) -> tuple[Published, Oracle]:
    """Write the archive: three pickles in a folder."""
    names, kind = [f"thing{i}" for i in range(100)], datasets.CIFAR100
    folder = raw.parent / "made" / kind.base_folder
    folder.mkdir(parents=True)
    for name, count in (("train", TRAINING), ("test", TEST)):
        pixels = RANDOM.integers(0, 256, (count, 3072), dtype=np.uint8)
        content = {"data": pixels, "fine_labels": [99, 0, 50, 7, 3, 4, 5][:count]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    patch.setattr(kind, "train_list", [["train", md5(folder / "train")]])
    patch.setattr(kind, "test_list", [["test", md5(folder / "test")]])
    patch.setattr(kind, "meta", {**kind.meta, "md5": md5(folder / "meta")})
    with tarfile.open(raw / kind.filename, "w:gz") as tar:
        tar.add(folder, arcname=kind.base_folder)
    return module.CIFAR100, lambda _, train: kind(str(folder.parent), train=train)


def make_fashion_mnist(raw: Path, _: pytest.MonkeyPatch) -> tuple[Published, Oracle]:
    """Write the four files: a head with the shape, then bytes."""
    kind = datasets.FashionMNIST
    for half, count in (("train", TRAINING), ("t10k", TEST)):
        pixels = RANDOM.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = RANDOM.integers(0, 10, count, dtype=np.uint8)
        for name, values in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
            path = raw / f"FashionMNIST/raw/{half}-{name}-ubyte.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(head + values.tobytes()))
            unpacked = raw.parent / "made" / path.relative_to(raw).with_suffix("")
            unpacked.parent.mkdir(parents=True, exist_ok=True)
            unpacked.write_bytes(head + values.tobytes())
    return module.FASHION_MNIST, lambda root, train: kind(str(root.parent / "made"), train=train)


def make_svhn(raw: Path, patch: pytest.MonkeyPatch) -> tuple[Published, Oracle]:
    """Write the two files of MATLAB; the label of zero is 10."""
    lists = {}
    for half, count in (("train", TRAINING), ("test", TEST)):
        pixels = RANDOM.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        path = raw / f"{half}_32x32.mat"
        savemat(path, {"X": pixels, "y": np.array([[10, 1, 9, 5, 6, 7, 8]][0][:count])[:, None]})
        lists[half] = ["", path.name, md5(path)]
    patch.setattr(datasets.SVHN, "split_list", lists)
    return module.SVHN, lambda root, train: datasets.SVHN(str(root), "train" if train else "test")


def make_imagenette(raw: Path, _: pytest.MonkeyPatch) -> tuple[Published, Oracle]:
    """Write the archive: JPEG files of any shape, in a folder per class."""
    folder = raw.parent / "made/imagenette2-320"
    for half, each in (("train", 2), ("val", 1)):
        for number, wnid in enumerate(("n03888257", "n01440764")):
            (folder / half / wnid).mkdir(parents=True)
            for i in range(each):
                pixels = RANDOM.integers(0, 256, (30 + i, 40 + number, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / half / wnid / f"{wnid}_{i}.JPEG")
    with tarfile.open(raw / "imagenette2-320.tgz", "w:gz") as tar:
        tar.add(folder, arcname=folder.name)

    def oracle(_: Path, train: bool) -> Images:
        half = "train" if train else "val"
        read = lambda path: read_picture(Path(path), SIDE)  # noqa: E731
        images: Images = datasets.Imagenette(str(folder.parent), half, "320px", loader=read)
        return images

    return published(Imagenette(name="imagenette", size=SIDE)), oracle


MAKERS = {
    "cifar100": make_cifar100,
    "fashion_mnist": make_fashion_mnist,
    "svhn": make_svhn,
    "imagenette": make_imagenette,
}


def md5(path: Path) -> str:
    """Return a file's checksum."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture(params=MAKERS)
def made(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Published, Oracle, Path]:
    """Return a data set of a few images, how torchvision reads it, and the folder of its files."""
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setenv("no_proxy", "*")
    entry, oracle = MAKERS[request.param](raw, monkeypatch)
    files = tuple(
        file._replace(
            size=(raw / file.name).stat().st_size,
            md5=md5(raw / file.name),
            urls=("http://127.0.0.1:9/nothing",),
        )
        for file in entry.files
    )
    return entry._replace(files=files), oracle, raw


def test_images_labels_and_names_are_those_of_torchvision(
    made: tuple[Published, Oracle, Path],
) -> None:
    """In its order; what is grey has three equal channels, and 28 pixels become 32."""
    entry, oracle, raw = made
    for split, train in zip(read_published(entry, raw), (True, False), strict=True):
        dataset = oracle(raw, train)
        assert len(split) == len(dataset)  # type: ignore[arg-type]
        for i in range(len(split)):
            picture, label = dataset[i]
            if isinstance(picture, torch.Tensor):
                expected = picture.permute(2, 0, 1)
            else:
                expected = pil_to_tensor(picture)
                expected = F.pad(expected, [(32 - expected.shape[-1]) // 2] * 4).expand(3, -1, -1)
            assert torch.equal(split.images[i], expected)
            assert split.labels[i] == label
        classes = getattr(dataset, "classes", [str(digit) for digit in range(10)])
        assert split.classes == [n if isinstance(n, str) else n[0] for n in classes]
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
        assert split.images.is_contiguous(memory_format=torch.channels_last)


def test_a_damaged_file_is_named_and_stays(made: tuple[Published, Oracle, Path]) -> None:
    """Without a network, the message names the file, its length and checksum, and the demo."""
    entry, _, raw = made
    first = entry.files[0]
    half = (raw / first.name).read_bytes()[:-1]
    (raw / first.name).write_bytes(half)
    with pytest.raises(ToypipeError) as caught:
        read_published(entry, raw)

    said = f"{entry.title} is incomplete in {raw}"
    for part in (said, f"put {first.name} there", f"{first.size:,} bytes", first.md5, "make demo"):
        assert part in str(caught.value)
    assert (raw / first.name).read_bytes() == half


def test_the_archive_of_another_data_set_is_not_taken(
    made: tuple[Published, Oracle, Path], tmp_path: Path
) -> None:
    """A complete archive under a wrong name is refused by its checksum."""
    entry, _, raw = made
    with tarfile.open(tmp_path / "other.tgz", "w:gz") as tar:
        tar.add(__file__, arcname="imagenette2-320/train/n01440764/a.JPEG")
    (raw / entry.files[-1].name).write_bytes((tmp_path / "other.tgz").read_bytes())

    with pytest.raises(ToypipeError, match=f"{entry.title} is incomplete"):
        read_published(entry, raw)


def test_checksums_and_sources_are_those_of_torchvision() -> None:
    """The last source of each file is where torchvision finds it."""
    kind, fashion, svhn = datasets.CIFAR100, datasets.FashionMNIST, datasets.SVHN
    (cifar100,) = module.CIFAR100.files
    found = {
        file.urls[-1]: file.md5
        for entry in (module.FASHION_MNIST, module.SVHN)
        for file in entry.files
    }
    expected = {fashion.mirrors[0] + name: digest for name, digest in fashion.resources}
    expected |= {
        url: digest for url, _, digest in (svhn.split_list["train"], svhn.split_list["test"])
    }

    assert (cifar100.name, cifar100.md5, cifar100.urls[-1]) == (
        kind.filename,
        kind.tgz_md5,
        kind.url,
    )
    assert kind.base_folder == module.CIFAR100.extracted
    assert found == expected


@pytest.mark.parametrize(("size", "kind"), [(8, "320px"), (320, "320px"), (321, "full")])
def test_the_archive_of_imagenette_is_large_enough(size: int, kind: str) -> None:
    """No image is enlarged where there are larger ones."""
    (file,) = published(Imagenette(name="imagenette", size=size)).files
    assert (file.urls[-1], file.md5) == datasets.Imagenette._ARCHIVES[kind]  # noqa: SLF001


def test_missing_scipy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small install lacks it; the message says how to get it."""
    make_svhn(tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ToypipeError, match="pip install scipy"):
        module.SVHN.read(tmp_path, [])


def test_check_knows_each_data_set() -> None:
    """Facts for `check`: sizes are fixed but for Imagenette's, and CIFAR-100 has its classes."""
    assert {name for name, facts in KNOWN.items() if SIZE not in facts} == {"imagenette"}
    assert KNOWN["cifar100"][CLASSES] == 100
    assert all(facts[IMAGES] > 0 for facts in KNOWN.values())


def test_prepare_reads_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`prepare` finds the entry, and the files where DVC's root has them."""
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    entry, _ = make_cifar100(raw, monkeypatch)
    (file,) = entry.files
    small = file._replace(size=(raw / file.name).stat().st_size, md5=md5(raw / file.name))
    monkeypatch.setattr(module, "CIFAR100", entry._replace(files=(small,)))
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    params = PrepareParams(dataset=Cifar100(name="cifar100"))
    said = prepare.run(Stage("prepare", PARAMS, []), params, url=None)

    assert said.startswith(f"{TRAINING} training and {TEST} test images")
    assert len(load_split(Path("data/prepared/train.pt")).classes) == 100
    assert capsys.readouterr().err == ""
