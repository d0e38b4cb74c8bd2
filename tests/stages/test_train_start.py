"""The stages `check` and `train` where a training starts from learned weights, or patience ends."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import Project
from imagenet import publish
from stages import check, train
from synthetic import PARAMS, make_network_params, make_split
from toypipe.compute.memory import load_or_open
from toypipe.data.split import save_split
from toypipe.errors import InputsChangedError, ToypipeError
from toypipe.networks.build import Shape, build_model
from toypipe.networks.checkpoint import Classifier, save_checkpoint
from toypipe.networks.normalize import build_normalize
from toypipe.pipeline.run_store import list_runs
from toypipe.pipeline.stage import Stage

SMALL = ["train.epochs=1", "train.batch_size=8", "train.validation=4"]
SQUEEZENET = ["~train.model", "+train.model={name: torchvision, arch: squeezenet1_1}"]
START = Path("pretrained/checkpoint.pt")
CLASSES = make_split(3).classes


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a project with a few training images and a checkpoint of others."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, "params.yaml")
    list_start()
    Path("data/prepared").mkdir(parents=True)
    with Path("data/prepared/train.pt").open("wb") as file:
        save_split(file, make_split(20, size=32))
    write_start()


def list_start(*deps: Path) -> None:
    """Write a dvc.yaml with these dependencies of train."""
    Path("dvc.yaml").write_text(f"stages: {{train: {{deps: {[str(dep) for dep in deps]}}}}}")


def write_start(size: int = 32, classes: list[str] = CLASSES, seed: int = 1) -> None:
    """Write the checkpoint to start from: a toy network."""
    toy = make_network_params("toy")
    normalize = build_normalize("standard", make_split(8).images)
    model = build_model(toy, Shape(size, len(classes)), normalize, seed)
    START.parent.mkdir(exist_ok=True)
    with START.open("wb") as file:
        save_checkpoint(file, Classifier(model, toy, size, classes))


def edit(old: str, new: str) -> None:
    """Change params.yaml."""
    text = Path("params.yaml").read_text()
    assert text.count(old) == 1
    Path("params.yaml").write_text(text.replace(old, new))


def run(*overrides: str) -> str | None:
    """Train as `toypipe train` does."""
    stage = Stage("train", Path("params.yaml"), [*SMALL, *overrides])
    return train.run(stage, stage.params.train, device="cpu")


def run_check() -> None:
    """Check as `toypipe check` does."""
    stage = Stage("check", Path("params.yaml"), [])
    check.run(stage, stage.params)


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the weights in a checkpoint."""
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["weights"]
    return found


def line_of_start() -> str:
    """Return how a message begins that blames train.start in params.yaml."""
    lines = Path("params.yaml").read_text().splitlines()
    (number,) = [n for n, line in enumerate(lines, 1) if line.startswith("  start: ")]
    return f"params.yaml:{number}: train.start: "


def refused(*overrides: str) -> str:
    """Return the message with which `train` refuses to start; it writes nothing."""
    with pytest.raises(ToypipeError) as caught:
        run(*overrides)
    assert not Path("data/model").exists()
    return str(caught.value)


# from a checkpoint --------------------------------------------------------------------------------


def test_a_training_starts_from_a_checkpoint() -> None:
    """At a rate of almost zero it ends with its weights, but for a last layer of other classes."""
    write_start(classes=["one", "other"])
    run(f"train.start={START}", "train.optimizer.lr=1e-30")
    before, after = weights(START), weights(Path("data/model/checkpoint.pt"))

    differ = {name for name in before if not torch.equal(before[name], after[name])}
    assert differ == {"network.8.weight", "network.8.bias"}


def test_the_checkpoint_is_part_of_what_names_a_run() -> None:
    """With another file under the same name, another training begins; dvc.yaml need not list it."""
    for seed in (1, 2):
        write_start(seed=seed)
        run(f"train.start={START}")
    list_start(START.parent)
    run(f"train.start={START}")
    noted = [found.record.values["inputs"][str(START)] for found in list_runs()]

    assert len(noted) == 3 - 1  # listed or not, it is the same training
    assert len(set(noted)) == 2


def test_a_checkpoint_that_changes_meanwhile_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As every input is, although only the parameter names it."""

    def load_and_edit(*where: Any) -> object:
        write_start(seed=3)
        return load_or_open(*where)

    monkeypatch.setattr(train, "load_or_open", load_and_edit)
    with pytest.raises(InputsChangedError, match=f"{START} was edited"):
        run(f"train.start={START}")


def test_dvc_must_know_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else `train` refuses, at the parameter's line; with it, or its folder, listed it runs."""
    edit("start: fresh ", f"start: {START} ")
    monkeypatch.setenv("DVC_STAGE", "train")
    known = f"{line_of_start()}DVC would not notice when {START} changes: add `- {START}` to the"
    assert refused() == f"{known} deps of the stage train in dvc.yaml"
    for dep in (START, START.parent):
        list_start(dep)
        run()


def test_check_knows_that_dvc_must_know_the_checkpoint() -> None:
    """So the last model is still there when it refuses; and it must exist."""
    edit("start: fresh ", f"start: {START} ")
    with pytest.raises(ToypipeError, match=rf"^{line_of_start()}DVC would not notice"):
        run_check()
    list_start(START)
    run_check()
    START.unlink()
    with pytest.raises(ToypipeError, match=rf"^{line_of_start()}there is no file {START}$"):
        run_check()


def test_a_checkpoint_of_another_size_is_refused() -> None:
    """The layer that does not fit is named, at the line of the parameter."""
    write_start(size=16)
    edit("start: fresh ", f"start: {START} ")

    message = refused()
    assert message.startswith(f"{line_of_start()}these weights do not fit the network: network.7.w")
    assert "\n" not in message


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint"])
def test_what_is_no_checkpoint_is_refused(content: bytes | None) -> None:
    """A missing file, an empty one and any other, in one line."""
    START.unlink()
    if content is not None:
        START.write_bytes(content)
    edit("start: fresh ", f"start: {START} ")

    message = refused()
    assert message.startswith(f"{line_of_start()}{START} ")
    assert "\n" not in message


def test_a_start_that_this_call_names_is_blamed_on_it() -> None:
    """The line of the file has another value."""
    START.unlink()

    assert refused(f"train.start={START}").startswith(f"-S: train.start: {START} does not exist")


# from ImageNet ------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["here", "main checkout"])
def test_a_training_starts_from_imagenet(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the weights in data/raw/weights; an experiment's workspace has the main checkout's."""
    raw = Path("data/raw/weights")
    if where == "main checkout":
        monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
        raw = tmp_path / "main" / raw
    path = publish(raw, "squeezenet1_1", monkeypatch)
    run(*SQUEEZENET, "train.start=imagenet", "train.optimizer.lr=1e-30")
    before, after = torch.load(path), weights(Path("data/model/checkpoint.pt"))

    assert len(after["network.classifier.1.weight"]) == len(CLASSES)
    for name in before.keys() - {"classifier.1.weight", "classifier.1.bias"}:
        torch.testing.assert_close(before[name], after[f"network.{name}"])


def test_weights_that_are_nowhere_are_blamed_on_the_parameter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message begins at its line and says where to put the file."""
    monkeypatch.setenv("no_proxy", "*")
    path = publish(tmp_path / "elsewhere", "squeezenet1_1", monkeypatch)
    edit("start: fresh ", "start: imagenet ")
    edit("name: toy ", "name: torchvision\n    arch: squeezenet1_1 ")
    missing = Path("data/raw/weights", path.name)

    assert refused().startswith(f"{line_of_start()}there is no {missing} of torchvision's weights")


# patience -----------------------------------------------------------------------------------------


def test_a_run_that_patience_ends_says_so() -> None:
    """And is delivered without work like any other, with the same bytes."""
    few = ["train.epochs=9", "train.optimizer.lr=1e-30", "train.patience=2", "train.keep=best"]
    said = run(*few)
    files = [Path("data/model/checkpoint.pt"), *Path("data/reports").iterdir()]
    before = {path: path.read_bytes() for path in files}
    for path in files:
        path.unlink()

    assert said is not None
    assert "; ended after epoch 3 of 9: 2 brought no better validation accuracy" in said
    assert run(*few) == said
    assert {path: path.read_bytes() for path in files} == before
    (only,) = list_runs()
    assert (only.state, only.record.epoch) == ("finished", 3)
    assert len(Path("data/reports/loss.csv").read_text().splitlines()) == 1 + 3


def test_a_run_that_patience_does_not_end_does_not_say_so() -> None:
    """Even where its last epoch is the one that would have ended it."""
    said = run("train.epochs=3", "train.optimizer.lr=1e-30", "train.patience=2")

    assert said is not None
    assert "ended" not in said


# in the pipeline ----------------------------------------------------------------------------------


def test_a_recorded_checkpoint_starts_the_next_training(project: Project) -> None:
    """DVC reruns `train` when it changes, and not when it does not."""
    os.environ.pop("DVC_ROOT", None)
    shutil.copytree(project.path / "data/model", project.path / "data/pretrained")
    (project.path / "data/pretrained/.gitignore").unlink(missing_ok=True)
    before = "      - stages/train.py\n"
    project.edit("dvc.yaml", before, f"      - data/pretrained/checkpoint.pt\n{before}")
    project.edit("params.yaml", "start: fresh ", "start: data/pretrained/checkpoint.pt ")

    assert "train" in project.ran()
    assert project.ran() == []
    shutil.copy(project.path / "data/model/checkpoint.pt", project.path / "data/pretrained")
    assert project.ran() == ["train", "evaluate"]
