"""Where memory has no room for the images, every stage makes the same bytes from their file."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import evaluate, train
from synthetic import PARAMS, SPEEDRUN, finish_run, make_split
from toypipe.commands.report import page as report
from toypipe.compute import memory
from toypipe.data.split import save_split
from toypipe.errors import InputsChangedError
from toypipe.params.file import read_params
from toypipe.pipeline.resume import Events, kept
from toypipe.pipeline.signals import Interrupted, interrupts
from toypipe.pipeline.stage import Stage

PLAIN = ("train.epochs=2", "train.batch_size=8", "train.validation=10", "evaluate.batch_size=7")
EVERYTHING = (
    *PLAIN,
    *(
        "~train.model",
        f"+train.model={SPEEDRUN}",
    ),
    *("train.normalize=standard", "train.keep=best", "train.sampling=balanced"),
    *("train.augment.flip=random", "train.augment.translate=2", "train.augment.crop=0.5"),
    *("train.augment.cutout=4", "train.augment.mixup=0.2", "evaluate.views=6"),
)
NO_ROOM = 1e-9  # of what is free


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/prepared").mkdir(parents=True)
    for name, count, seed in (("train", 61, 0), ("test", 30, 1)):
        with Path(f"data/prepared/{name}.pt").open("wb") as file:
            save_split(file, make_split(count, seed=seed))


def run(*overrides: str) -> dict[str, bytes]:
    """Train, evaluate and forget the run; return what was written."""
    params = read_params(PARAMS, list(overrides))
    train.run(Stage("train", PARAMS, []), params.train, device="cpu")
    evaluate.run(Stage("evaluate", PARAMS, []), params.evaluate, device="cpu")
    shutil.rmtree(".toypipe")
    paths = [*Path("data/model").rglob("*.*"), *Path("data/reports").rglob("*.*")]
    return {path.name: path.read_bytes() for path in paths}


def in_third_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let something happen when a training has taken its third step."""

    def acted(events: Events) -> Events:
        for number, event in enumerate(events):
            if number == 2:
                act()
            yield event

    monkeypatch.setattr(train, "kept", lambda events, *rest: kept(acted(events), *rest))


@pytest.mark.parametrize("overrides", [PLAIN, EVERYTHING])
def test_the_results_are_the_same_to_the_byte(
    overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checkpoint, losses, metrics and pictures do not tell where the images lay."""
    before = run(*overrides)
    assert "no room" not in capsys.readouterr().err
    monkeypatch.setattr(memory, "SHARE", NO_ROOM)

    assert run(*overrides) == before
    assert len(before) == 8
    assert "no room for the images in memory: they stay in data/p" in capsys.readouterr().err


def test_a_training_may_begin_with_room_and_end_without(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped after its third step and resumed where less is free, it is the same training."""
    before = run(*EVERYTHING)
    params = read_params(PARAMS, list(EVERYTHING)).train

    in_third_step(monkeypatch, lambda: signal.raise_signal(signal.SIGTERM))
    with interrupts.listening(), pytest.raises(Interrupted, match="3 of 7 steps"):
        train.run(Stage("train", PARAMS, []), params, device="cpu")
    monkeypatch.setattr(train, "kept", kept)
    interrupts.received = None
    monkeypatch.setattr(memory, "SHARE", NO_ROOM)

    assert run(*EVERYTHING) == before
    assert "resuming after epoch 0 and 3 of 7 steps" in capsys.readouterr().err


def test_images_that_change_while_it_trains_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the next batch, which is not trained on: what is kept of the training is sound."""
    before = run(*PLAIN)
    params, images = read_params(PARAMS, list(PLAIN)).train, Path("data/prepared/train.pt")
    saved = images.read_bytes()

    monkeypatch.setattr(memory, "SHARE", NO_ROOM)
    in_third_step(monkeypatch, lambda: images.write_bytes(bytes(len(saved))))
    with pytest.raises(InputsChangedError, match=rf"{images} was written to"):
        train.run(Stage("train", PARAMS, []), params, device="cpu")
    monkeypatch.setattr(train, "kept", kept)
    images.write_bytes(saved)

    assert run(*PLAIN) == before


def test_the_report_draws_images_that_have_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is the same to the byte, pictures of mistakes included."""
    monkeypatch.setattr(report, "bundle", lambda: "")  # the drawing library takes seconds
    finish_run(Path())
    before = report.run(None).read_bytes()
    monkeypatch.setattr(memory, "SHARE", NO_ROOM)

    assert report.run(None).read_bytes() == before
    assert b"data:image/png" in before
