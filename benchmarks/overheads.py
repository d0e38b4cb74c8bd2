"""What is not training: start-up, a pipeline with nothing to do, prepare, and memory.

    python benchmarks/overheads.py [REPEATS]

Each figure is a ratio to a reference that is measured beside it, in turn, and the medians are
printed. It needs the data set in data/raw, and a pipeline that is up to date (`dvc repro`).
"""

import hashlib
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from toypipe.params.data_sets import Cifar10
from toypipe.params.schema import PrepareParams
from toypipe.pipeline.stage import Stage

TO_THE_FIRST_STEP = """
import os, sys
import toypipe.training.loop
toypipe.training.loop.train_step = lambda *_, **__: os._exit(0)
from stages.cli import app
app(["train"])
"""
NOTHING = "stages:\n  nothing:\n    cmd: 'true'\n"


def main(repeats: int) -> None:
    """Measure and print everything."""
    import torch

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {repeats} repeats each")
    with tempfile.TemporaryDirectory() as path:
        training, nothing = Path(path, "training"), Path(path, "nothing")
        copy_project(training)
        # First, for a process begins its life with the memory of the one that starts it.
        print(f"peak memory of an epoch: {peak_memory_of_an_epoch(training) / 1e6:,.0f} MB")
        make_nothing(nothing)
        compare(
            repeats,
            {
                "python -c 'import torch'": runs(sys.executable, "-c", "import torch"),
                "toypipe train, to its first step": runs(
                    sys.executable, "-c", TO_THE_FIRST_STEP, folder=training
                ),
            },
        )
        compare(
            repeats,
            {
                "dvc repro of one stage that does nothing": runs("dvc", "repro", folder=nothing),
                "dvc repro with nothing to do": runs("dvc", "repro"),
            },
        )
        prepared = Path(path, "prepared")
        compare(repeats, {"md5 of what prepare writes": md5, "prepare": lambda: prepare(prepared)})


def compare(repeats: int, both: dict[str, Callable[[], float | None]]) -> None:
    """Time two things in turn; print their medians and the median ratio of the pairs."""
    seconds: dict[str, list[float]] = {name: [] for name in both}
    for repeat in range(repeats + 1):
        for name, work in both.items():
            start = time.perf_counter()
            took = work() or time.perf_counter() - start
            if repeat > 0:  # the first warms the disk's cache
                seconds[name].append(took)
    for name, measured in seconds.items():
        print(f"{name}: {statistics.median(measured):.2f} s ", end="")
        print(f"({min(measured):.2f} to {max(measured):.2f})")
    reference, ours = seconds.values()
    ratio = statistics.median(b / a for a, b in zip(reference, ours, strict=True))
    print(f"  ratio: {ratio:.2f}")


def runs(*command: str, folder: Path = Path()) -> Callable[[], None]:
    """Return a function that runs a command in a folder."""

    def run() -> None:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    return run


def copy_project(folder: Path) -> None:
    """Copy what training needs, so that its state is kept elsewhere."""
    for name in ("stages", "toypipe"):
        shutil.copytree(name, folder / name)
    for name in ("params.yaml", "dvc.yaml", "data/prepared/train.pt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, folder / name)


def peak_memory_of_an_epoch(folder: Path) -> int:
    """Train the recipe for an epoch, and forget it; return the most memory it had, in bytes."""
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("epochs: 20 ", "epochs: 1 "))
    runs(sys.executable, "-m", "stages", "train", folder=folder)()
    (folder / "params.yaml").write_text(text)
    shutil.rmtree(folder / ".toypipe")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit


def make_nothing(folder: Path) -> None:
    """Make a DVC project with a single stage that does nothing."""
    folder.mkdir()
    (folder / "dvc.yaml").write_text(NOTHING)
    shutil.copytree(".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    runs("git", "init", folder=folder)()
    runs("dvc", "repro", folder=folder)()


def md5() -> None:
    """Hash what prepare writes, once."""
    for name in ("train", "test"):
        with Path(f"data/prepared/{name}.pt").open("rb") as file:
            hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))


def prepare(folder: Path) -> float:
    """Run the stage `prepare` into another folder; return its seconds, imports left out."""
    import torchvision  # noqa: F401

    from stages import prepare as stage

    start = time.perf_counter()
    stage.run(
        Stage("prepare", Path("recipes/toy.yaml"), []),
        PrepareParams(dataset=Cifar10(name="cifar10")),
        url=None,
        train=folder / "train.pt",
        test=folder / "test.pt",
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
