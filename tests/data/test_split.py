"""Splits: as files, and divided in two to validate."""

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from synthetic import BAD_NAMES, make_split
from toypipe.data.split import Split, load_split, open_split, save_split
from toypipe.errors import ToypipeError
from toypipe.training.holdout import hold_out

reads = pytest.mark.parametrize("read", [load_split, open_split])


def _bytes(split: Split) -> bytes:
    file = io.BytesIO()
    save_split(file, split)
    return file.getvalue()


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    """Pixels, labels, names, types and memory layout are the same after loading."""
    split, path = make_split(7), tmp_path / "train.pt"
    path.write_bytes(_bytes(split))
    loaded = load_split(path)

    assert torch.equal(loaded.images, split.images)
    assert loaded.images.dtype == torch.uint8
    assert loaded.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(loaded.labels, split.labels)
    assert loaded.labels.dtype == torch.int64
    assert loaded.classes == split.classes


def test_a_file_is_what_its_description_says(tmp_path: Path) -> None:
    """torch.load with weights_only reads images, labels and classes."""
    split, path = make_split(7), tmp_path / "train.pt"
    path.write_bytes(_bytes(split))
    content = torch.load(path, weights_only=True)

    assert list(content) == ["images", "labels", "classes"]
    assert torch.equal(content["images"], split.images)


def test_the_name_of_a_file_is_not_in_it(tmp_path: Path) -> None:
    """Written under two names, or read and written again, a split has the same bytes."""
    for name in ("one.pt", "another.pt"):
        with (tmp_path / name).open("wb") as file:
            save_split(file, make_split(7))
    one = (tmp_path / "one.pt").read_bytes()

    assert (tmp_path / "another.pt").read_bytes() == one
    assert _bytes(load_split(tmp_path / "one.pt")) == one


def test_part_of_a_split_has_bytes_of_its_own() -> None:
    """A slice of a split is saved alone, without the memory of the other images."""
    many = make_split(50)
    cut = Split(many.images[:7], many.labels[:7], many.classes)
    copied = Split(cut.images.clone(), cut.labels.clone(), many.classes)

    assert _bytes(cut) == _bytes(copied)


@pytest.mark.parametrize("name", ["dog", "images", "storage"])
def test_equal_names_are_saved_alike(name: str) -> None:
    """Equal names give equal bytes, whichever string objects they are, even the format's own."""
    split = make_split(7, classes=2)
    same = Split(split.images, split.labels, ["".join(list(name)), "cat"])

    assert _bytes(same) == _bytes(Split(split.images, split.labels, [name, "cat"]))


@reads
def test_a_missing_file_says_what_makes_it(read: Callable[[Path], object], tmp_path: Path) -> None:
    """The message names the file and both commands."""
    path = tmp_path / "train.pt"
    expected = r"train\.pt does not exist.*toypipe prepare.*dvc repro prepare"
    with pytest.raises(ToypipeError, match=expected):
        read(path)


GOOD = _bytes(make_split(7))


IMAGES, LABELS = make_split(7).images, make_split(7).labels


@reads
@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        torch.zeros(3),
        {"images": IMAGES, "labels": LABELS},
        {"images": IMAGES, "labels": LABELS, "classes": ["a", "b", "c"], "more": 1},
        {"images": IMAGES.float(), "labels": LABELS, "classes": ["a", "b", "c"]},
        {"images": IMAGES[:, :1], "labels": LABELS, "classes": ["a", "b", "c"]},
        {"images": IMAGES[..., :8], "labels": LABELS, "classes": ["a", "b", "c"]},
        {"images": IMAGES[0], "labels": LABELS, "classes": ["a", "b", "c"]},
        {"images": IMAGES[:3], "labels": LABELS, "classes": ["a", "b", "c"]},
        {"images": IMAGES[:0], "labels": LABELS[:0], "classes": ["a", "b", "c"]},
        {"images": IMAGES, "labels": LABELS.int(), "classes": ["a", "b", "c"]},
        {"images": IMAGES, "labels": LABELS, "classes": ["a", "b"]},
        {"images": IMAGES, "labels": LABELS - 1, "classes": ["a", "b", "c"]},
        {"images": IMAGES, "labels": LABELS, "classes": [1, 2, 3]},
        *(
            {"images": IMAGES, "labels": LABELS, "classes": ["cat", "dog", name]}
            for name in BAD_NAMES
        ),
        {"images": IMAGES[:1].expand(7, 3, 16, 16), "labels": LABELS, "classes": ["a", "b", "c"]},
        {
            "images": IMAGES[:1, :1, :1, :1].expand(3 * 10**8, 3, 16, 16),
            "labels": LABELS[:1].expand(3 * 10**8),
            "classes": ["a", "b", "c"],
        },
        {"images": IMAGES, "labels": LABELS[:1].expand(7), "classes": ["a", "b", "c"]},
    ],
)
def test_other_contents_are_refused(
    read: Callable[[Path], object], content: object, tmp_path: Path
) -> None:
    """A file that torch can read but that holds other contents is refused."""
    path = tmp_path / "train.pt"
    torch.save(content, path)
    with pytest.raises(ToypipeError, match=r"train\.pt .*toypipe prepare"):
        read(path)


class _Mischief:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@reads
def test_code_in_a_file_is_not_run(read: Callable[[Path], object], tmp_path: Path) -> None:
    """A pickle that would act when it is read is refused, and does not act."""
    path, trace = tmp_path / "train.pt", tmp_path / "trace"
    path.write_bytes(pickle.dumps(_Mischief(trace), protocol=2))
    with pytest.raises(ToypipeError, match=r"train\.pt .*toypipe prepare"):
        read(path)

    assert not trace.exists()


def _rows(split: Split) -> set[tuple[int, ...]]:
    """Return each image with its label, hashable; those of make_split all differ."""
    flat = split.images.flatten(1).tolist()
    return {(label, *row) for label, row in zip(split.labels.tolist(), flat, strict=True)}


def test_holding_out_divides_a_split() -> None:
    """Both parts together are all images with their labels, and have none in common."""
    split = make_split(40)
    training, validation = hold_out(split, 12, seed=0)
    assert validation is not None

    assert len(training) == 28
    assert len(validation) == 12
    assert _rows(training) | _rows(validation) == _rows(split)
    assert training.classes == validation.classes == split.classes


def test_held_out_images_depend_on_the_seed_only() -> None:
    """The same seed holds out the same images; another seed holds out others."""
    split = make_split(40)
    held = [hold_out(split, 12, seed)[1] for seed in (0, 0, 1)]
    first, again, other = [_rows(part) for part in held if part]

    assert again == first
    assert other != first


def test_both_parts_keep_order_and_layout() -> None:
    """Images stay in the order of the data set, in channels_last memory."""
    split = make_split(40)
    numbered = Split(split.images, torch.arange(40), [str(i) for i in range(40)])
    for part in hold_out(numbered, 12, seed=0):
        assert part is not None
        assert part.labels.tolist() == sorted(part.labels.tolist())
        assert part.images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("seed", range(5))
def test_every_class_keeps_an_image_to_train_on(seed: int) -> None:
    """However few are left, each class is among them, even one that has a single image."""
    labels = torch.tensor([0] * 30 + [1] + [2] * 9)
    split = Split(make_split(40).images, labels, ["cat", "dog", "eel"])
    for count in (1, 20, 37):
        training, _ = hold_out(split, count, seed)
        assert len(training) == 40 - count
        assert set(training.labels.tolist()) == {0, 1, 2}


def test_holding_out_none_returns_the_split() -> None:
    """With a count of 0, all images are left to train on."""
    split = make_split(5)

    assert hold_out(split, 0, seed=0) == (split, None)
