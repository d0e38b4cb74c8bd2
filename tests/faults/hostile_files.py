"""Hostile files: each is refused or read, within ten seconds and a gigabyte; none is waited for.

`python -m faults.hostile_files KIND SEED COUNT` tries some, in a process of its own.
"""

import contextlib
import faulthandler
import io
import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import torch
from PIL import Image
from typer.testing import CliRunner

from faults import hostile_contents
from faults.arena import Arena, Case
from faults.tally import Tally
from stages.cli import app
from synthetic import ROOT
from toypipe.commands import predict
from toypipe.data.pictures import read_picture
from toypipe.data.split import load_split
from toypipe.errors import ToypipeError
from toypipe.networks.checkpoint import load_checkpoint

SECONDS = 10.0
MEGABYTES = 1000.0
CHECKPOINT, SPLIT = Path("data/model/checkpoint.pt"), Path("data/prepared/test.pt")
WRONG, CRASHED, DONE = "wrong: ", "crashed: ", "done"


def images(_: Arena) -> list[Case]:
    """Return cases of 250 images each, in every format."""
    return [partial(try_some, kind="images", count=250)] * 42


def sizes(_: Arena) -> list[Case]:
    """Return cases of files that claim more than they hold."""
    return [partial(try_some, kind="sizes", count=16)] * 12


def special_files(_: Arena) -> list[Case]:
    """Return a case for each way to read a file."""
    return [partial(try_some, kind=reader, count=len(SPECIAL)) for reader in READERS]


def try_some(arena: Arena, random: Random, kind: str, count: int) -> Tally:
    """Try hostile files of a kind in another process, which may hang or be killed."""
    subject = arena.copy_of(arena.finished)
    command = ["python", "-m", "faults.hostile_files", kind, str(random.randrange(10**9))]
    subject.end(*command, str(count), PYTHONPATH=str(ROOT / "tests"))
    lines = subject.printed.splitlines()
    wrong, crashed = ([x for x in lines if x.startswith(start)] for start in (WRONG, CRASHED))
    tally = Tally(count, outputs=len(wrong), tracebacks=len(crashed))
    tally.notes = [f"{kind}: {line}" for line in (*wrong, *crashed)]
    if lines[-1:] != [DONE]:
        tally.outputs += 1
        tally.notes.append(f"{kind}: {subject.printed[-2000:]}")
    shutil.rmtree(subject.path)
    return tally


# in the other process -------------------------------------------------------------------------


@contextlib.contextmanager
def watched(what: str) -> Iterator[None]:
    """Say what goes wrong with a file, and end where it takes too long."""

    def memory(name: str) -> float:
        status = Path("/proc/self/status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0]) / 1000

    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is used now
    before = memory("VmRSS")
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        yield
    except ToypipeError:
        pass
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        print(f"{CRASHED}{what}: {error!r}"[:300])
    faulthandler.cancel_dump_traceback_later()
    if (used := memory("VmHWM") - before) > MEGABYTES:
        print(f"{WRONG}{what} took {used:.0f} MB")


def try_images(random: Random, count: int) -> None:
    """Read fuzzed images one by one; then all at once by `predict`, with three good ones."""
    folder = Path("hostile")
    folder.mkdir()
    for i in range(count):
        path = folder / f"{i:03}.img"
        path.write_bytes(hostile_contents.image(random))
        with watched(f"an image like {path.read_bytes()[:40]!r}"):
            read_picture(path, 16)
    good = {str(folder / name) for name in ("000.png", "100.png", "999.png")}
    for name in good:
        Image.new("RGB", (20, 20)).save(name)
    answered = set()
    with watched("predict"), contextlib.redirect_stderr(io.StringIO()):
        names = [str(folder)]
        for batch in predict.run(names, checkpoint=CHECKPOINT, device="cpu", views=1):
            answered |= {answer.path for answer in batch}
    if not good <= answered:
        print(f"{WRONG}a valid image has no answer")


def try_sizes(random: Random, count: int) -> None:
    """Read images, checkpoints and splits that claim more than they hold."""
    cpu = torch.device("cpu")
    contents, good = hostile_contents, (CHECKPOINT.read_bytes(), SPLIT.read_bytes())
    for i in range(count):
        if i == 0:
            Path("bomb").write_bytes(contents.image_bomb(random))
            with watched(f"an image like {Path('bomb').read_bytes()[:40]!r}"):
                read_picture(Path("bomb"), 16)
            continue
        which = i % 2
        own = contents.split if which else contents.checkpoint
        make = random.choice((own, own, contents.archive))
        Path("bad.pt").write_bytes(make(good[which], random))
        what = f"{make.__name__} {i} ({Path('bad.pt').stat().st_size:,} bytes)"
        with watched(what):
            _ = load_split(Path("bad.pt")) if which else load_checkpoint(Path("bad.pt"), cpu)
            print(f"{WRONG}{what} is accepted")


def fifo(path: Path) -> None:
    """Make a named pipe into which nobody writes."""
    os.mkfifo(path)


def linked_fifo(path: Path) -> None:
    """Make a link to a named pipe."""
    os.mkfifo("fifo")
    path.symlink_to(Path("fifo").resolve())


def unix_socket(path: Path) -> None:
    """Make a socket."""
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


def device(name: str) -> Callable[[Path], None]:
    """Return what makes a link to a device."""
    return lambda path: path.symlink_to(f"/dev/{name}")


SPECIAL = (
    *(fifo, linked_fifo, unix_socket),
    *map(device, ("zero", "full", "null", "random", "urandom", "tty", "ptmx")),
)
READERS = {
    "image": ("other.png", "predict --device cpu other.png good.png"),
    "image in a folder": ("pictures/x.png", "predict --device cpu pictures"),
    "checkpoint to predict": ("other.pt", "predict --device cpu --checkpoint other.pt good.png"),
    "checkpoint to evaluate": (str(CHECKPOINT), "evaluate --device cpu"),
    "test images": (str(SPLIT), "evaluate --device cpu"),
    "training images": ("data/prepared/train.pt", "train --device cpu"),
    "image of a class": ("data/mine/train/cat/x.png", "prepare"),
    "test image of a class": ("data/mine/test/dog/x.png", "prepare"),
    "parameters to check": ("other.yaml", "check --params other.yaml"),
    "parameters to prepare": ("other.yaml", "prepare --params other.yaml"),
    "parameters to train": ("other.yaml", "train --params other.yaml"),
}
"""A file, and the command that reads it."""


def try_special(reader: str) -> None:
    """Put what is no regular file in the place of a file that a command reads."""
    place, command = Path(READERS[reader][0]), READERS[reader][1].split()
    Image.new("RGB", (20, 20)).save("good.png")
    Path("pictures").mkdir()
    shutil.copy("good.png", "pictures/good.png")
    for make in SPECIAL:
        place.unlink(missing_ok=True)
        make(place)
        with watched(f"{reader}: {place}"):
            result = CliRunner().invoke(app, command)
            answered = command[0] != "predict" or place.suffix == ".pt" or "good" in result.stdout
            if result.exception and not isinstance(result.exception, SystemExit):
                raise result.exception
            if result.exit_code != 2 or not answered:
                print(f"{WRONG}{reader}: exit code {result.exit_code}")


def main(kind: str, seed: str, count: str) -> None:
    """Try some files of a kind."""
    torch.set_num_threads(1)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 6 * 10**9,) * 2)  # spares the machine
    match kind:
        case "images":
            try_images(Random(seed), int(count))
        case "sizes":
            try_sizes(Random(seed), int(count))
        case _:
            try_special(kind)
    print(DONE)


if __name__ == "__main__":
    main(*sys.argv[1:])
