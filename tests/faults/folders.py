"""Folders of images: names swapped while `prepare` reads them, and links in them."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from unittest import mock

from faults.arena import Arena, Case
from faults.tally import Tally
from stages import prepare
from synthetic import make_folder
from toypipe.data import folder as reader
from toypipe.data.folder import read_folder
from toypipe.data.pictures import read_picture
from toypipe.data.split import load_split
from toypipe.errors import ToypipeError
from toypipe.params.file import read_params
from toypipe.pipeline.stage import Stage

PARAMS, MINE = Path("params.yaml"), Path("data/mine")
OUTPUTS = (Path("data/prepared/train.pt"), Path("data/prepared/test.pt"))
EACH = 3  # pictures of each class in each half, so 12 in all
PAIRS = (
    *(("train/cat", "train/dog"), ("test/cat", "test/dog"), ("train", "test")),
    *(("train/cat", "test/dog"), ("train/cat/0.png", "train/dog/1.png"), (".", "../other")),
)


@contextlib.contextmanager
def _project(arena: Arena) -> Iterator[None]:
    """Stand in a project whose images all have the same size and times."""
    subject, original = arena.place(), arena.before["prepare"].path
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copy(original / file, subject.path)
    for name in ("mine", "other"):
        make_folder(subject.path / "data" / name, each=EACH)
    for path in subject.path.rglob("*.png"):
        path.write_bytes(path.read_bytes().ljust(2000, b"\0"))
        os.utime(path, (1e9, 1e9))
    with contextlib.chdir(subject.path):
        yield
    shutil.rmtree(subject.path)


def _prepare() -> str:
    """Run the stage; return its error, or nothing."""
    stage = Stage("prepare", PARAMS, [])
    try:
        prepare.run(stage, read_params(PARAMS, []).prepare, url=None)
    except ToypipeError as error:
        return str(error)
    return ""


def _are_true() -> bool:
    """Tell whether the outputs hold the images that lie in the folder."""
    wanted = read_folder(read_params(PARAMS, []).prepare.dataset, Path())  # type: ignore[arg-type]
    found = map(load_split, OUTPUTS)
    return all(
        one.images.equal(other.images) and one.labels.equal(other.labels)
        for one, other in zip(wanted, found, strict=True)
    )


def _swap(pair: tuple[str, str]) -> None:
    one, other = (Path(os.path.normpath(MINE / name)) for name in pair)
    one.rename("aside")
    other.rename(one)
    Path("aside").rename(other)


def _swapping(pair: tuple[str, str], moments: list[int]) -> Callable[..., object]:
    """Return a reader of pictures that swaps two names before the pictures of these numbers."""
    count = 0

    def read(path: Path, size: int) -> object:
        nonlocal count
        for _ in range(moments.count(count)):
            _swap(pair)
        count += 1
        return read_picture(path, size)

    return read


def swapped(arena: Arena, random: Random, pair: tuple[str, str], *, back: bool) -> Tally:
    """Swap two names at a random moment of reading, and perhaps back at a later one."""
    tally, moments = Tally(1), sorted(random.choices(range(4 * EACH), k=1 + back))
    with _project(arena):
        with mock.patch.object(reader, "read_picture", _swapping(pair, moments)):
            said = _prepare()
        if not said:
            tally.records = not _are_true()
        tally.outputs = bool(said) and any(path.exists() for path in OUTPUTS)
        tally.outputs += bool(_prepare()) or not _are_true()
    if not tally.good:
        tally.notes.append(f"{pair} swapped before pictures {moments}: {said or 'published'}")
    return tally


def linked(arena: Arena, random: Random, name: str, *, broken: bool) -> Tally:
    """Put a link in the place of a picture, a class or a half; it is refused by its name."""
    tally = Tally(1)
    with _project(arena):
        place = MINE / name
        place.rename("elsewhere")
        target = Path("gone" if broken else "elsewhere").absolute()
        place.symlink_to(os.path.relpath(target, place.parent) if random.random() < 0.5 else target)
        said = _prepare()
        tally.records = not said  # DVC does not look into linked folders
        tally.outputs = str(place) not in said or any(path.exists() for path in OUTPUTS)
        place.unlink()
        Path("elsewhere").rename(place)
        tally.outputs += bool(_prepare()) or not _are_true()
    if not tally.good:
        tally.notes.append(f"{name} is a link{' to nothing' * broken}: {said or 'published'}")
    return tally


def cases(_: Arena) -> list[Case]:
    """Return 120 swaps and 40 links."""
    found: list[Case] = [
        partial(swapped, pair=pair, back=back)
        for pair in PAIRS
        for back in (False, True)
        for _ in range(10)
    ]
    found += [
        partial(linked, name=name, broken=broken)
        for name in ("train", "test/dog", "train/cat", "train/dog/2.png", "test/cat/0.png")
        for broken in (False, True)
        for _ in range(4)
    ]
    return found
