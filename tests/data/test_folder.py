"""The user's own images: every kind that Pillow opens, and everything that can be wrong."""

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from faults import hostile_contents
from stages import prepare
from synthetic import PARAMS, make_folder
from toypipe.data import pictures
from toypipe.data.folder import read_folder
from toypipe.data.listing import split_classes
from toypipe.data.pictures import read_picture
from toypipe.data.split import load_split
from toypipe.errors import ToypipeError
from toypipe.params.data_sets import Folder, SplitFolder
from toypipe.params.schema import PrepareParams
from toypipe.pipeline.stage import Stage

SIZE = 8  # pixels
RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
GRAY = RANDOM.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
GRAY16 = RANDOM.integers(0, 65536, (SIZE, SIZE), dtype=np.uint16)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pixels(path: Path, size: int = SIZE) -> NDArray[np.uint8]:
    """Return an image file as an array of shape (size, size, 3)."""
    array: NDArray[np.uint8] = read_picture(path, size).numpy()
    return array


def threefold(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a gray image as red, green and blue."""
    return np.stack([gray] * 3, axis=-1)


# pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm", "a.gif"])
def test_image_of_the_right_size_is_not_changed(tmp_path: Path, name: str) -> None:
    """An image that has the size already keeps every pixel."""
    Image.fromarray(RGB).save(tmp_path / name)
    np.testing.assert_array_equal(pixels(tmp_path / name), RGB)


def test_jpeg_is_what_pillow_decodes(tmp_path: Path) -> None:
    """A JPEG of the right size is decoded and not touched otherwise."""
    Image.fromarray(RGB).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        np.testing.assert_array_equal(pixels(tmp_path / "a.jpg"), np.asarray(image))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("L", threefold(GRAY)),
        ("LA", threefold(GRAY)),
        ("1", threefold(np.where(GRAY > 127, 255, 0).astype(np.uint8))),
        ("RGBA", RGB),
    ],
)
def test_other_modes_become_rgb(tmp_path: Path, mode: str, expected: NDArray[np.uint8]) -> None:
    """Gray becomes three equal colours; transparency is left out."""
    images = {
        "L": Image.fromarray(GRAY),
        "LA": Image.fromarray(np.stack([GRAY, 255 - GRAY], axis=-1)),
        "1": Image.fromarray(GRAY > 127),
        "RGBA": Image.fromarray(np.dstack([RGB, GRAY])),
    }
    images[mode].save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("transparency", [1, b"\x00\x80\xff\xff"], ids=["number", "table"])
def test_palette_is_looked_up(tmp_path: Path, transparency: int | bytes) -> None:
    """A palette's numbers become its colours, with any kind of transparency."""
    colours = RANDOM.integers(0, 256, (4, 3), dtype=np.uint8)
    image = Image.fromarray(GRAY % 4)
    image.putpalette(colours.tobytes())
    image.save(tmp_path / "a.png", transparency=transparency)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), colours[GRAY % 4])


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.pgm"])
def test_sixteen_bit_gray_is_scaled(tmp_path: Path, name: str) -> None:
    """The upper 8 of 16 bits are kept: values are scaled, not cut off or clipped."""
    if name == "a.pgm":
        header = f"P5 {SIZE} {SIZE} 65535\n".encode()
        (tmp_path / name).write_bytes(header + GRAY16.astype(">u2").tobytes())
    else:
        Image.fromarray(GRAY16).save(tmp_path / name)
    np.testing.assert_array_equal(
        pixels(tmp_path / name), threefold((GRAY16 >> 8).astype(np.uint8))
    )


TURNS: list[Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = [
    lambda a: a,
    lambda a: a[:, ::-1],
    lambda a: a[::-1, ::-1],
    lambda a: a[::-1],
    lambda a: a.transpose(1, 0, 2),
    lambda a: np.rot90(a, -1),
    lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    np.rot90,
]
"""For each value of EXIF's orientation, from 1: how stored pixels are turned for display."""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed(tmp_path: Path, orientation: int) -> None:
    """An image is turned and mirrored the way its EXIF data says."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), TURNS[orientation - 1](RGB))


@pytest.mark.parametrize(("width", "height"), [(8, 14), (14, 8), (100, 8)])
def test_middle_is_kept(tmp_path: Path, width: int, height: int) -> None:
    """An image that is not square is cropped equally at both ends, not squeezed."""
    long = RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(long).save(tmp_path / "a.png")
    top, left = (height - SIZE) // 2, (width - SIZE) // 2
    expected = long[top : top + SIZE, left : left + SIZE]
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), expected)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 50), (64, 48), (1000, 1), (7, 9)])
def test_any_size_is_brought_to_one(tmp_path: Path, width: int, height: int) -> None:
    """An image of one colour keeps it at any size."""
    Image.new("RGB", (width, height), (250, 120, 3)).save(tmp_path / "a.png")
    expected = np.full((SIZE, SIZE, 3), (250, 120, 3))
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), expected)


def test_shrinking_averages_over_the_area(tmp_path: Path) -> None:
    """A fine chequerboard shrinks to gray: pixels are averaged, not sampled."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "a.png")
    assert np.abs(pixels(tmp_path / "a.png").astype(int) - 127.5).max() < 2


def _jpeg_with_odd_exif() -> bytes:
    entries = (
        b"\x01\x01\x00\x02\x00\x00\x00\x04abc\x00" + b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06"
    )
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02" + entries + bytes(6)
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG", exif=exif)
    return file.getvalue()


def _encoded(image_format: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, image_format)
    return file.getvalue()


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False).map(hostile_contents.image))
@example(_jpeg_with_odd_exif())
@example(b"DDS " + (124).to_bytes(4, "little") + bytes(72) + b"\4\0\0\0ZZZZ" + bytes(40))
@example(b"BLP2" + bytes([1, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0]) + bytes(2000))
def test_damaged_image_is_read_or_refused(content: bytes) -> None:
    """A damaged file of any format gives pixels or a ToypipeError, never another error."""
    path = Path("damaged.img")
    path.write_bytes(content)
    with suppress(ToypipeError):
        assert pixels(path).shape == (SIZE, SIZE, 3)


def test_large_image_is_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow warns above a number of pixels, which a photograph may have; twice it is refused."""
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE * SIZE - 1)  # warnings are errors here
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE * SIZE // 2 - 1)
    with pytest.raises(ToypipeError, match="exceeds limit"):
        pixels(tmp_path / "a.png")


def test_a_jpeg_of_countless_scans_is_refused(tmp_path: Path) -> None:
    """Each scan of a progressive JPEG visits every pixel; photographs have about ten."""
    file = io.BytesIO()
    Image.new("L", (3000, 3000)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(content[:-2] + 10 * scan + content[-2:])
    assert pixels(tmp_path / "a.jpg").shape == (SIZE, SIZE, 3)
    (tmp_path / "a.jpg").write_bytes(content[:-2] + 500 * scan + content[-2:])
    with pytest.raises(ToypipeError, match=r"its kind may have \S+ million pixels"):
        pixels(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.webp", "a.jp2", "a.blp", "a.qoi"])
def test_formats_that_take_much_memory_or_time_have_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An image of more pixels than its format may have is refused before it is decoded."""
    image = Image.fromarray(RGB)
    (image.convert("P") if name == "a.blp" else image).save(tmp_path / name)
    assert pixels(tmp_path / name).shape == (SIZE, SIZE, 3)
    for limit in ("HEAVY", "SLOW"):
        monkeypatch.setattr(pictures, limit, SIZE * SIZE - 1)
    with pytest.raises(ToypipeError, match=r"its kind may have \S+ million pixels"):
        pixels(tmp_path / name)


# folders --------------------------------------------------------------------------------------


def mine(root: Path) -> Folder:
    """Return the parameters of a folder with two halves."""
    return Folder(name="folder", path=str(root), size=SIZE)


def divided(root: Path, share: float = 0.25, seed: int = 0) -> SplitFolder:
    """Return the parameters of a folder of classes that is to be divided."""
    path = str(root)
    return SplitFolder(name="split_folder", path=path, size=SIZE, test_share=share, seed=seed)


def refused(root: Path, params: Callable[[Path], Folder | SplitFolder] = mine) -> list[str]:
    """Return the lines of the message that refuses a folder."""
    with pytest.raises(ToypipeError) as caught:
        read_folder(params(root), root.parent)
    return str(caught.value).splitlines()


def test_folder_gives_images_with_the_names_of_their_classes(tmp_path: Path) -> None:
    """Every file is read once, in alphabetical order; its label is its folder's position."""
    make_folder(tmp_path, classes=("dog", "Ape", "cat"), each=3)
    for split, half in zip(read_folder(mine(tmp_path), tmp_path), ("train", "test"), strict=True):
        assert split.classes == ["Ape", "cat", "dog"]
        assert split.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        for i, name in enumerate(split.classes):
            for j in range(3):
                file = tmp_path / half / name / f"{j}.png"
                assert torch.equal(
                    split.images[3 * i + j].permute(1, 2, 0), read_picture(file, SIZE)
                )


def test_folder_gives_the_memory_that_training_wants(tmp_path: Path) -> None:
    """Images are uint8 in channels_last memory, labels int64."""
    for split in read_folder(mine(make_folder(tmp_path)), tmp_path):
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
        assert split.images.shape == (12, 3, SIZE, SIZE)
        assert split.images.is_contiguous(memory_format=torch.channels_last)


def test_order_of_reading_a_directory_does_not_matter(tmp_path: Path) -> None:
    """Files made in another order give the same images."""
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        for half in ("train", "test"):
            for label in ("x", "y"):
                folder = tmp_path / name / half / label
                folder.mkdir(parents=True)
                for i in order:
                    Image.new("RGB", (SIZE, SIZE), (i, 0, 0)).save(folder / f"{i}.png")
    first, second = (read_folder(mine(tmp_path / name), tmp_path)[0] for name in ("a", "b"))
    assert torch.equal(first.images, second.images)


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    """Files and folders whose names start with a dot are skipped."""
    make_folder(tmp_path)
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "train" / "cat" / ".DS_Store").write_bytes(b"x")
    training, _ = read_folder(mine(tmp_path), tmp_path)
    assert training.classes == ["cat", "dog"]
    assert len(training) == 12


@pytest.mark.parametrize(
    "content", [b"", b"no image", _encoded("PNG")[:60], _encoded("JPEG")[:-40]]
)
def test_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    """The message names a file that is not a whole image, and says what to do."""
    bad = make_folder(tmp_path) / "train" / "dog" / "bad.png"
    bad.write_bytes(content)
    line, advice = refused(tmp_path)
    assert line.startswith(f"{bad} cannot be read as an image: ")
    assert "Repair or remove" in advice


def test_a_folder_is_named(tmp_path: Path) -> None:
    """A folder within a class is refused like a bad image."""
    more = make_folder(tmp_path) / "test" / "cat" / "more"
    more.mkdir()
    line, _ = refused(tmp_path)
    assert line.startswith(f"{more} cannot be read as an image")


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
@pytest.mark.parametrize("name", ["train", "test/cat", "train/dog/0.png"])
@pytest.mark.parametrize("broken", [False, True])
def test_a_link_is_named(tmp_path: Path, name: str, *, broken: bool) -> None:
    """DVC does not see what a linked folder holds, so no link within the data folder is read."""
    link = make_folder(tmp_path / "mine") / name
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / ("gone" if broken else "elsewhere"))
    line, advice = refused(tmp_path / "mine")
    assert line == f"{link} is a symbolic link"
    assert "copy the files there" in advice


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_links_that_dvc_sees_through_are_read(tmp_path: Path) -> None:
    """The data folder may be a link, and its files may be links into DVC's cache."""
    cached = tmp_path / "cache" / "files/md5/0f" / ("1a" * 15)
    cached.parent.mkdir(parents=True)
    picture = make_folder(tmp_path / "elsewhere") / "train/cat/0.png"
    picture.rename(cached)
    picture.symlink_to(cached)
    (tmp_path / "mine").symlink_to(tmp_path / "elsewhere")

    assert len(read_folder(mine(tmp_path / "mine"), tmp_path)[0]) == 12


def test_many_bad_images_are_counted(tmp_path: Path) -> None:
    """The message names the first ten bad files of both halves, and counts the others."""
    make_folder(tmp_path)
    for i in range(7):
        (tmp_path / "train" / "cat" / f"bad{i}.png").touch()
        (tmp_path / "test" / "dog" / f"bad{i}.png").touch()
    *named, count, _ = refused(tmp_path)
    assert len(named) == 10
    assert named[0].startswith(str(tmp_path / "train" / "cat" / "bad0.png"))
    assert named[9].startswith(str(tmp_path / "test" / "dog" / "bad2.png"))
    assert count == "and 4 more"


def test_empty_classes_are_named(tmp_path: Path) -> None:
    """Every class without an image is named, in both halves."""
    make_folder(tmp_path)
    empty = [tmp_path / half / "eel" for half in ("train", "test")]
    for folder in empty:
        folder.mkdir()
    assert refused(tmp_path) == [f"{folder} has no images" for folder in empty]


def test_classes_that_differ_are_named(tmp_path: Path) -> None:
    """Classes that only one half has are named with the half that has them."""
    make_folder(tmp_path)
    (tmp_path / "train" / "eel").mkdir()
    (tmp_path / "test" / "fox").mkdir()
    (line,) = refused(tmp_path)
    assert line.endswith("eel is only in train, fox is only in test")


@pytest.mark.parametrize("half", ["train", "test"])
def test_missing_half_is_named(tmp_path: Path, half: str) -> None:
    """If train or test is missing, the message says what the folder must contain."""
    make_folder(tmp_path)
    (tmp_path / half).rename(tmp_path / "other")
    (line,) = refused(tmp_path)
    assert line.startswith(f"{tmp_path / half} is not a folder: ")
    assert "train/ and test/" in line


def test_one_class_is_too_few(tmp_path: Path) -> None:
    """A data set with a single class is refused."""
    make_folder(tmp_path, classes=("cat",))
    (line,) = refused(tmp_path)
    assert line.startswith(f"{tmp_path / 'train'} has 1 folder")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep file names in Unicode")
def test_class_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """A folder whose name is not UTF-8 is refused now, not when reports are written."""
    make_folder(tmp_path)
    for half in ("train", "test"):
        (tmp_path / half / "cat").rename(tmp_path / half / os.fsdecode(b"caf\xe9"))
    with pytest.raises(ToypipeError):
        read_folder(mine(tmp_path), tmp_path)


# a folder to be divided -----------------------------------------------------------------------


def make_classes(root: Path, **counts: int) -> Path:
    """Make empty files, so many for each class, and return their folder."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i}.png").touch()
    return root


def halved(root: Path, seed: int = 0) -> dict[str, set[str]]:
    """Return the names of the test images of each class."""
    _, test = split_classes(root, 0.25, seed)
    return {name: {file.name for file in files} for name, files in test.items()}


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.99])
def test_each_class_is_divided_by_the_share(tmp_path: Path, share: float) -> None:
    """Each file is in one half, and the halves have the share, but none is empty."""
    counts = {"cat": 2, "dog": 3, "eel": 40}
    make_classes(tmp_path, **counts)
    for name, train, test in zip(
        counts, *(half.values() for half in split_classes(tmp_path, share, 0)), strict=True
    ):
        assert train == sorted(train)
        assert test == sorted(test)
        assert sorted([*train, *test]) == sorted((tmp_path / name).iterdir())
        assert len(test) == min(max(round(share * counts[name]), 1), counts[name] - 1)


def test_the_division_depends_on_seed_and_names_only(tmp_path: Path) -> None:
    """A folder of the same names elsewhere is divided alike; another seed divides it otherwise."""
    here, there = (make_classes(tmp_path / name, cat=40, dog=40) for name in ("here", "there"))

    assert halved(here) == halved(there)
    assert halved(here) != halved(here, seed=1)
    assert halved(here)["cat"] != halved(here)["dog"]


def test_a_new_file_moves_one_other_at_most(tmp_path: Path) -> None:
    """However many files a class has, one more changes the half of one of them or of none."""
    make_classes(tmp_path, cat=2, dog=2)
    before = halved(tmp_path)["cat"]
    for i in range(30):
        (tmp_path / "cat" / f"new{i}.png").touch()
        after = halved(tmp_path)["cat"]
        assert len((before ^ after) - {f"new{i}.png"}) <= 1
        before = after


def test_a_divided_folder_gives_the_images_of_its_halves(tmp_path: Path) -> None:
    """Images are read as from a folder with halves; hidden ones are passed over."""
    folder = make_folder(tmp_path, each=4) / "train"
    (folder / "cat" / ".DS_Store").touch()
    listed = split_classes(folder, 0.25, 0)
    for split, half in zip(read_folder(divided(folder), tmp_path), listed, strict=True):
        files = [file for name in ("cat", "dog") for file in half[name]]
        expected = torch.stack([read_picture(file, SIZE) for file in files])
        assert torch.equal(split.images.permute(0, 2, 3, 1), expected)
        assert split.classes == ["cat", "dog"]
    assert [len(split) for split in read_folder(divided(folder), tmp_path)] == [6, 2]


def test_a_class_of_one_image_cannot_be_divided(tmp_path: Path) -> None:
    """Every class with fewer than two images is named, in one line."""
    make_classes(tmp_path, cat=1, dog=2, eel=0)
    (line,) = refused(tmp_path, divided)
    assert line == (
        "each class needs an image to train on and one to test on, but"
        f" {tmp_path / 'cat'} has 1, {tmp_path / 'eel'} has 0"
    )


def test_a_folder_to_be_divided_is_refused_like_a_half(tmp_path: Path) -> None:
    """A missing folder, a single class and a file that is no image are named."""
    (line,) = refused(tmp_path / "none", divided)
    assert line.startswith(f"{tmp_path / 'none'} is not a folder: your images need one folder per")
    (line,) = refused(make_classes(tmp_path / "one", cat=2), divided)
    assert line.startswith(f"{tmp_path / 'one'} has 1 folder")
    *bad, advice = refused(make_classes(tmp_path / "bad", cat=2, dog=2), divided)
    assert len(bad) == 4
    assert "Repair or remove" in advice


# the stage ------------------------------------------------------------------------------------


@pytest.fixture
def under_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder with images, with DVC's variables for the stage prepare."""
    monkeypatch.setenv("DVC_STAGE", "prepare")
    make_folder(Path("mine"))


MINE = PrepareParams(dataset=Folder(name="folder", path="mine", size=SIZE))


@pytest.mark.usefixtures("under_dvc")
@pytest.mark.parametrize("dependency", ["mine", "./mine/", "."])
def test_folder_that_dvc_knows_is_prepared(dependency: str) -> None:
    """Under DVC, a folder that is a dependency of prepare, or lies in one, is read."""
    Path("dvc.yaml").write_text(f"stages: {{prepare: {{deps: ['{dependency}']}}}}")
    enough = ["train.batch_size=4", "train.validation=2"]
    prepare.run(Stage("prepare", PARAMS, enough), MINE, url=None)
    for name in ("train", "test"):
        assert load_split(Path(f"data/prepared/{name}.pt")).classes == ["cat", "dog"]


@pytest.mark.usefixtures("under_dvc")
@pytest.mark.parametrize("stage", ["{prepare: {deps: [mine2, other]}}", "{train: {deps: [mine]}}"])
def test_folder_unknown_to_dvc_is_refused(stage: str) -> None:
    """Under DVC, any other folder is refused: DVC would not see it change."""
    Path("dvc.yaml").write_text(f"stages: {stage}")
    with pytest.raises(ToypipeError, match="add `- mine` to the deps of the stage prepare"):
        prepare.run(Stage("prepare", PARAMS, []), MINE, url=None)
    assert not Path("data").exists()


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, dtype: type[np.generic]) -> None:
    """Pixels that are fractions or have more than 16 bits are refused."""
    values = np.linspace(0, 1, SIZE * SIZE).reshape(SIZE, SIZE)
    scale = 1 if dtype is np.float32 else 1e9
    Image.fromarray((values * scale).astype(dtype)).save(tmp_path / "a.tiff")

    with pytest.raises(ToypipeError, match=r"a\.tiff cannot be read as an image: its pixels"):
        read_picture(tmp_path / "a.tiff", SIZE)


def test_eps_is_refused(tmp_path: Path) -> None:
    """Pillow would run it as a program, where Ghostscript is installed."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    with pytest.raises(ToypipeError, match=r"a\.eps cannot be .* EPS, which is a program"):
        read_picture(tmp_path / "a.eps", SIZE)
