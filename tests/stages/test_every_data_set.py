"""Every data set, size and start goes from the images to a predicted class, a page and a model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

from imagenet import publish
from stages.cli import app
from synthetic import PARAMS, SPEEDRUN, make_folder
from toypipe.commands.report import page
from toypipe.params.overrides import apply_overrides

YAML_1_2 = YAML(typ="safe", pure=True)
CLASSES = ("cat", "dog", "fox")
FOLDER = "{name: folder, path: mine, size: %d}"
SPLIT = "{name: split_folder, path: mine/train, size: %d, test_share: 0.34, seed: 1}"
SQUEEZENET = "{name: torchvision, arch: squeezenet1_1}"
EARLIER = "earlier/checkpoint.pt"
SMALL = (
    *("train.epochs=2", "train.batch_size=5", "train.validation=3", "train.keep=best"),
    *("train.patience=1", "train.sampling=balanced", "train.augment.crop=0.5"),
    *("train.augment.cutout=4", "train.augment.mixup=0.2", "train.normalize=standard"),
)
"""A recipe of seconds that uses what photographs use."""
CASES = [
    (FOLDER, 16, "{name: toy}", "fresh"),
    (SPLIT, 24, SPEEDRUN, "fresh"),
    (FOLDER, 24, SPEEDRUN, EARLIER),
    (SPLIT, 224, SQUEEZENET, "imagenet"),
]


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "mine", CLASSES)
    monkeypatch.setattr(page, "bundle", lambda: "")  # the drawing library takes seconds


def toypipe(*arguments: str) -> str:
    """Run a command in this process; return what it prints on standard output."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def configure(dataset: str, size: int, model: str, start: str) -> None:
    """Write params.yaml, and a dvc.yaml that lists what it names."""
    changes = [
        *("~prepare.dataset", f"+prepare.dataset={dataset % size}"),
        *("~train.model", f"+train.model={model}", f"train.start={start}"),
        *SMALL,
    ]
    YAML_1_2.dump(apply_overrides(YAML_1_2.load(PARAMS), changes), Path("params.yaml"))
    Path("dvc.yaml").write_text(
        f"stages: {{prepare: {{deps: [mine]}}, train: {{deps: [{EARLIER}]}}}}"
    )


def run_stages() -> None:
    """Run all stages, as `dvc repro` does."""
    for stage in ("check", "prepare", "train", "evaluate"):
        toypipe(stage)


@pytest.mark.parametrize(
    ("dataset", "size", "model", "start"), CASES, ids=["toy", "split", "start", "imagenet"]
)
def test_a_network_is_used_whatever_it_learned_from(
    dataset: str, size: int, model: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predict, report and export take each network, of each size, with all of its classes."""
    publish(Path("data/raw/weights"), "squeezenet1_1", monkeypatch)
    if start == EARLIER:  # of two other classes
        configure(SPLIT, 24, model, "fresh")
        shutil.move("mine/train/fox", "fox")
        shutil.move("mine/test/fox", "test-fox")
        run_stages()
        shutil.move("fox", "mine/train/fox")
        shutil.move("test-fox", "mine/test/fox")
        Path("data/model").rename("earlier")
    configure(dataset, size, model, start)
    run_stages()

    images = torch.load("data/prepared/test.pt", weights_only=True)["images"]
    assert images.shape[2:] == (size, size)
    answer = json.loads(toypipe("predict", "--json", "mine/train/cat/0.png"))
    assert answer["probabilities"].keys() == set(CLASSES)
    assert answer["class"] == max(answer["probabilities"], key=answer["probabilities"].get)
    toypipe("report")
    assert "Left out" not in Path("data/reports/index.html").read_text(encoding="utf-8")
    toypipe("export")
    assert Path("data/model/model.onnx").exists()
