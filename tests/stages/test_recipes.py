"""Every recipe trains and is tested, here on few images."""

import json
import sys
from pathlib import Path

import pytest
import torch

from imagenet import publish
from stages import evaluate, train
from synthetic import ROOT, make_split
from toypipe.data.split import save_split
from toypipe.networks.normalize import build_normalize
from toypipe.params.file import read_params
from toypipe.pipeline.stage import Stage

sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package

from speedrun import trained

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand where there are a few images like those of CIFAR-10."""
    monkeypatch.chdir(tmp_path)
    Path("data/prepared").mkdir(parents=True)
    for name, count in (("train", 48), ("test", 20)):
        with Path(f"data/prepared/{name}.pt").open("wb") as file:
            save_split(file, make_split(count, size=32, classes=10))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six steps, so that each of three sizes comes twice, and then the test, as it says."""
    if read_params(recipe).train.start == "imagenet":
        publish(Path("data/raw/weights"), "resnet18", monkeypatch)
    few = ["train.batch_size=16", "train.epochs=2", "evaluate.batch_size=10"]
    validation = min(read_params(recipe).train.validation, 8)
    changes = [*few, f"train.validation={validation}"]
    params = read_params(recipe, changes)
    train.run(Stage("train", recipe, changes), params.train, device="cpu")
    evaluate.run(Stage("evaluate", recipe, changes), params.evaluate, device="cpu")
    figures, metrics = (
        json.loads(Path(f"data/reports/{name}.json").read_text()) for name in ("train", "test")
    )

    assert figures["epoch"] == 2
    assert 0 < figures["train_loss"] < 4
    assert 0 < metrics["loss"] < 10


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_how_to_use_it(recipe: Path) -> None:
    """Its first line ends with the command that runs it."""
    manual = f": cp recipes/{recipe.name} params.yaml && dvc repro\n"

    assert recipe.read_text(encoding="utf-8").splitlines(keepends=True)[0].endswith(manual)


def test_the_speedrun_times_what_the_stage_makes() -> None:
    """benchmarks/speedrun.py trains the very network that `toypipe train` writes."""
    few = ["train.batch_size=16", "train.epochs=2"]
    recipe = ROOT / "recipes/quick.yaml"
    params = read_params(recipe, few).train
    train.run(Stage("train", recipe, few), params, device="cpu")
    split = make_split(48, size=32, classes=10)
    network = trained(params, split, build_normalize(params.normalize, split.images))
    written = torch.load("data/model/checkpoint.pt", weights_only=True)["weights"]

    for name, value in network.state_dict().items():
        assert torch.equal(value, written[name]), name
