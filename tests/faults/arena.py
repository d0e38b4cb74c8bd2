"""A project before each of its stages, from which every fault takes a copy."""

import itertools
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from conftest import make_project
from faults.project import Subject, Truth, await_
from faults.tally import Tally

STAGES = ("check", "prepare", "train", "evaluate")
OUTPUTS = {
    "check": ["data/params.ok"],
    "prepare": ["data/prepared/train.pt", "data/prepared/test.pt"],
    "train": ["data/model/checkpoint.pt", "data/reports/loss.csv", "data/reports/train.json"],
    "evaluate": [
        *(f"data/reports/{n}" for n in ("test.json", "confusion.csv", "per_class.csv")),
        *(f"data/reports/images/{n}" for n in ("confusion.png", "mistakes.png")),
    ],
}
KEPT = ["runs/*/run.json", "runs/*/state.pt"]
MADE = list(itertools.chain(*OUTPUTS.values()))


class Arena:
    """A project before each of its stages, its right results, and the time of each stage."""

    def __init__(self, root: Path, *, room: bool = True) -> None:
        """Run everything once, undisturbed; without `room`, images never fit the memory."""
        self.root, self._numbers, self._lock = root, itertools.count(), threading.Lock()
        root.mkdir(exist_ok=True)
        make_project(root / "first", each=12, epochs=2)
        first = Subject(root / "first")
        # States are saved often, so that a short run has many to go on from.
        text = "SOONEST, LATEST = 1.0, 55.0"
        first.edit("toypipe/pipeline/resume.py", text, "SOONEST, LATEST = 0.2, 0.2")
        if not room:
            first.edit("toypipe/compute/memory.py", "SHARE = 0.4 ", "SHARE = 0.0 ")
        self._learn_before(first)
        first.run("dvc", "repro")
        first.commit("Parameters A")
        self.recorded = first.truth()
        first.forget()
        for old, new in FROM_A_TO_B:
            first.edit("params.yaml", old, new)
        self.before, self.seconds = {}, {}
        for stage in STAGES:
            self.before[stage] = first.copy(f"before-{stage}")
            self.seconds[stage] = self._time(stage)
            first.run("dvc", "repro", stage)
        self.truth = first.truth()
        self.finished = first
        self.paused = self._pause()

    @staticmethod
    def _learn_before(first: Subject) -> None:
        """Make the checkpoint from which parameters B start, and let DVC know it."""
        first.run(*direct("prepare"), "-S", f"prepare.dataset.size={SIZE}")
        first.run(*direct("train"), "-S", "train.epochs=1")
        (first.path / LEARNED).parent.mkdir()
        (first.path / "data/model/checkpoint.pt").rename(first.path / LEARNED)
        first.forget()
        first.run("dvc", "add", "--quiet", LEARNED)
        first.edit(
            "dvc.yaml", "      - stages/train.py\n", f"      - {LEARNED}\n      - stages/train.py\n"
        )

    def _time(self, stage: str) -> float:
        """Return how long a stage takes by itself, in seconds."""
        subject = self.copy(stage)
        start = time.monotonic()
        subject.run(*direct(stage))
        seconds = time.monotonic() - start
        shutil.rmtree(subject.path)
        return seconds

    def _pause(self) -> Subject:
        """Return a project whose training was stopped half-way."""
        subject = self.copy("train")
        with subject.started(*direct("train")) as process:
            await_(lambda: len(list(subject.path.glob(".toypipe/runs/*/state.pt"))) == 1)
            process.terminate()
        assert process.returncode == 143, subject.printed
        subject.printed = ""
        return subject

    def copy(self, before: str) -> Subject:
        """Return a copy of one's own, in which this stage is the next to run."""
        return self.copy_of(self.before[before])

    def copy_of(self, subject: Subject) -> Subject:
        """Return a copy of one's own."""
        with self._lock:
            number = next(self._numbers)
        return subject.copy(f"copy-{number}")

    def place(self) -> Subject:
        """Return an empty folder of one's own."""
        with self._lock:
            number = next(self._numbers)
        (self.root / f"copy-{number}").mkdir()
        return Subject(self.root / f"copy-{number}")

    def truth_of(self, subject: Subject, *options: str) -> Truth:
        """Return what a project comes to undisturbed, by `dvc repro` with some options."""
        copy = self.copy_of(subject)
        copy.run("dvc", "repro", *options)
        truth = copy.truth()
        shutil.rmtree(copy.path)
        return truth


SIZE = 24  # pixels, of parameters B
LEARNED = "data/pretrained/checkpoint.pt"
FROM_A_TO_B = (
    ("size: 16 ", f"size: {SIZE} "),
    ("epochs: 2 ", "epochs: 50 "),
    ("patience: 0 ", "patience: 35 "),
    ("start: fresh ", f"start: {LEARNED} "),
    ("lr: 0.01\n", "lr: 0.02\n"),
    ("views: 1 ", "views: 2 "),
)


def direct(stage: str) -> list[str]:
    """Return the command that runs a stage without DVC."""
    return ["python", "-m", "stages", stage]


Case = Callable[[Arena, Random], Tally]
"""One fault, or several at once; its tally counts them."""
