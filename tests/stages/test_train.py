"""The stage `train` refuses what only the images themselves show to be impossible."""

from pathlib import Path

import pytest

from stages import train
from synthetic import PARAMS, SPEEDRUN, make_split, make_train_params
from toypipe.data.split import save_split
from toypipe.errors import ToypipeError
from toypipe.pipeline.stage import Stage

VGG = "{name: torchvision, arch: vgg11}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["train.batch_size=21"], r"train\.batch_size: must be at most 20.*got 21"),
        (["train.augment.translate=16"], r"train\.augment\.translate: must be below 16"),
        (
            [f"train.model={SPEEDRUN}", "train.sizes=[12,32]"],
            r"train\.sizes: must be at most 16",
        ),
        ([f"train.model={SPEEDRUN}", "train.batch_size=1"], r"train\.batch_size 1 .* 20 images"),
    ],
)
def test_what_the_images_do_not_allow_is_refused(
    changes: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the parameter, its value and the limit; nothing is written."""
    monkeypatch.chdir(tmp_path)
    with Path("train.pt").open("wb") as file:
        save_split(file, make_split(20, size=16))
    swaps = [each for change in changes for each in _replacing(change)]
    with pytest.raises(ToypipeError, match=expected):
        run(*swaps)

    assert not Path("data").exists()


def test_a_network_that_takes_no_smaller_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the size and what to change."""
    monkeypatch.chdir(tmp_path)
    with Path("train.pt").open("wb") as file:
        save_split(file, make_split(20, size=32))
    with pytest.raises(ToypipeError, match=r"does not accept images of 16 pixels .*train\.sizes"):
        run(*_replacing(f"train.model={VGG}"), "train.sizes=[16,32]")


def test_a_training_that_learns_nothing_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once in the third epoch at chance, and at the end; a training that learns says nothing."""
    monkeypatch.chdir(tmp_path)
    with Path("train.pt").open("wb") as file:
        save_split(file, make_split(48, size=16))
    warning = "warning: for three epochs the train loss has been that of a constant guess"
    said = run("train.epochs=5", "train.optimizer.lr=1e-12")

    assert said is not None
    assert warning in said
    assert capsys.readouterr().err.count(warning) == 1
    assert run("train.epochs=5", "train.optimizer.lr=0.1") is not None
    assert warning not in capsys.readouterr().err


def run(*overrides: str) -> str | None:
    """Train on the images in train.pt, with a small recipe and changes to it."""
    params = make_train_params(*overrides)
    stage = Stage("train", PARAMS, [])
    return train.run(stage, params, device="cpu", train_images=Path("train.pt"))


def _replacing(change: str) -> list[str]:
    """Return the overrides that change a value, or to a choice with other fields."""
    key, _, value = change.partition("=")
    return [f"~{key}", f"+{change}"] if value.startswith("{") else [change]
