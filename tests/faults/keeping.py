"""A .toypipe that can keep nothing: full, read-only, or with something else in its place."""

import shutil
import subprocess
from functools import partial
from random import Random

from faults.arena import Arena, Case
from faults.forks import bare, end, settle, start
from faults.tally import Tally

DISKS = ("full", "without names", "read-only")
FILES = (".toypipe", ".toypipe/runs", ".toypipe/runs/{run}")
FOLDERS = (
    ".toypipe/runs/{run}.lock",
    *(
        f".toypipe/runs/{{run}}/{name}"
        for name in (
            "state.pt",
            "run.json",
            "log.txt",
        )
    ),
)


def disk(arena: Arena, random: Random, how: str) -> Tally:
    """Train where .toypipe lies on a disk that takes little or nothing; data/ has room."""
    options = {
        "full": f"size={4096 * random.randrange(1, 100)}",
        "without names": f"size=1m,nr_inodes={random.randrange(1, 8)}",
        "read-only": "size=4096,ro",
    }[how]
    subject = bare(arena, "train")
    place = subject.path / ".toypipe"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "faults", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        shutil.rmtree(subject.path)
        return Tally(notes=["skipped: this user may mount no disk"])
    try:
        code = end(subject, start(subject, "train"))
    finally:
        subprocess.run(["umount", str(place)], check=True)
    what = f"train with .toypipe on a disk with {options}"
    return settle(arena, subject, what, stage="train", code=code, allowed={0})


def occupied(arena: Arena, _: Random, name: str) -> Tally:
    """Train where a file lies in place of a folder of .toypipe, or a folder in place of a file."""
    subject = bare(arena, "train")
    (run,) = (path.name for path in arena.paused.path.glob(".toypipe/runs/*/"))
    place = subject.path / name.format(run=run)
    place.parent.mkdir(parents=True, exist_ok=True)
    if name in FILES:
        place.touch()
    else:
        place.mkdir()
    code = end(subject, start(subject, "train"))
    return settle(arena, subject, f"train with {place}", stage="train", code=code, allowed={0})


def cases(_: Arena) -> list[Case]:
    """Return 120 of them."""
    found: list[Case] = [partial(disk, how=how) for how in DISKS for _ in range(33)]
    return found + [partial(occupied, name=name) for name in (*FILES, *FOLDERS) for _ in range(3)]
