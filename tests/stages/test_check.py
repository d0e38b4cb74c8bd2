"""The stage `check` counts the files of a folder: a mistake stops before DVC removes a network."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Project
from stages import check
from synthetic import PARAMS, make_folder
from toypipe.errors import ToypipeError
from toypipe.pipeline.stage import Stage

FOLDER = "{name: folder, path: mine, size: 16}"
FITS = ("train.batch_size=4", "train.validation=2")
KNOWN = "stages: {prepare: {deps: [mine]}}"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "mine")
    Path("dvc.yaml").write_text(KNOWN)


def run(*overrides: str) -> str:
    """Check twelve training images of two classes, with changes to the default parameters."""
    changes = ["~prepare.dataset", f"+prepare.dataset={FOLDER}", *FITS, *overrides]
    stage = Stage("check", PARAMS, changes)
    return check.run(stage, stage.params)


@pytest.mark.parametrize(
    "fits", [["train.validation=8"], ["train.batch_size=10"], ["train.validation=0"]]
)
def test_images_that_are_enough_pass(fits: list[str]) -> None:
    """The bytes of the confirmation are the same for all of them."""
    assert run(*fits).endswith("is valid")
    assert Path("data/params.ok").read_bytes() == b"ok\n"


def _few_pictures() -> None:
    for file in list(Path("mine/train/cat").iterdir()):
        file.unlink()


@pytest.mark.parametrize(
    ("overrides", "change", "expected"),
    [
        (["train.validation=12"], None, "-S: train.validation: must be below 12"),
        (["train.validation=9"], None, "-S: train.batch_size: must be at most 3"),
        (
            ["train.validation=11", "train.batch_size=1"],
            None,
            "-S: train.validation: leaves 1 of the 12 images to train on, fewer than the 2 classes",
        ),
        ([], lambda: Path("mine").rename("yours"), "mine/train is not a folder"),
        ([], _few_pictures, "mine/train/cat has no images"),
        ([], lambda: Path("mine/test/cat").rename("mine/test/cow"), "cat is only in train"),
        ([], lambda: Path("dvc.yaml").write_text("stages: {}"), "add `- mine` to the deps of the"),
    ],
)
def test_images_that_are_missing_or_too_few_are_refused(
    overrides: list[str], change: Callable[[], object] | None, expected: str
) -> None:
    """The message begins with the place of the parameter; nothing is written."""
    if change:
        change()
    with pytest.raises(ToypipeError, match=r"^-S: (train|prepare)\.") as caught:
        run(*overrides)

    assert expected in str(caught.value)
    assert not Path("data").exists()


def test_twenty_thousand_files_are_counted_at_once() -> None:
    """The command takes no longer than a moment, and imports neither torch nor Pillow."""
    for half, name in (("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "dog")):
        folder = Path("mine", half, name)
        for i in range(5000):
            os.link(folder / "0.png", folder / f"{i + 10}.png")
    code = (
        "import json, sys, time; from stages.cli import app; start = time.perf_counter()\n"
        f"app({['check', '--params', 'mine.yaml']!r}, standalone_mode=False)\n"
        "print(json.dumps([time.perf_counter() - start, 'torch' in sys.modules,"
        " 'PIL' in sys.modules]))"
    )
    fields = "name: folder\n    path: mine\n    size: 16 "
    Path("mine.yaml").write_text(PARAMS.read_text().replace("name: cifar10 ", fields))
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, torch, pillow = json.loads(result.stdout.splitlines()[-1])

    assert not torch
    assert not pillow
    assert seconds < 2  # a third of a second on a machine that is free


def test_the_last_network_outlives_images_that_are_too_few(project: Project) -> None:
    """Under DVC, `check` stops new parameters and `prepare` a changed folder, before `train`."""
    network = project.path / "data/model/checkpoint.pt"
    project.edit("params.yaml", "validation: 2 ", "validation: 12 ")
    message = project.run("dvc", "repro", status=255)

    assert "params.yaml:11: train.validation: must be below 12" in message
    assert "'check'" in message
    project.edit("params.yaml", "validation: 12 ", "validation: 2 ")
    for name in ("cat", "dog"):
        for i in range(1, 5):
            (project.path / f"data/mine/train/{name}/{i}.png").unlink()
    project.run("dvc", "add", "--quiet", "data/mine")
    message = project.run("dvc", "repro", status=255)

    assert "params.yaml:10: train.batch_size: must be at most 2" in message
    assert "'prepare'" in message
    assert network.exists()
