"""What can be seen of a training while it runs."""

import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from synthetic import make_network_params, make_split, make_train_params
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.pipeline import live
from toypipe.pipeline.live import Live, Progress, read_progress, read_table
from toypipe.pipeline.resume import claimed, kept
from toypipe.training.loop import Step, begin, train
from toypipe.training.state import Epoch, TrainingState, loss_table

SPLIT = make_split(40)
PARAMS = make_train_params("train.epochs=3")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(live, "SOONEST", 0.0)
    monkeypatch.setattr(live, "COST", 0.0)


def start() -> TrainingState:
    """Return a training before its first step."""
    normalize = build_normalize("unit", SPLIT.images)
    model = build_model(make_network_params("toy"), Shape(16, 3), normalize, seed=0)
    return begin(model, PARAMS)


def followed() -> Iterator[tuple[Step | Epoch, TrainingState, Path]]:
    """Train, and yield each event with the state and the folder, when its files are written."""
    run = start()
    with claimed({}, {}) as folder:
        for event in kept(train(run, SPLIT, None, PARAMS), run, folder, PARAMS, len(SPLIT)):
            yield event, run, folder.path


def test_the_table_is_whole_after_each_epoch() -> None:
    """It has the rows that are finished, and no other; at the end it is data/reports/loss.csv."""
    lengths = []
    for _, run, folder in followed():
        lengths.append(len(read_table(folder)))
        assert lengths[-1] in {len(run.epochs), len(run.epochs) - 1}  # written after the yield

    assert sorted(set(lengths)) == [0, 1, 2]
    assert (folder / "loss.csv").read_bytes() == loss_table(run.epochs)
    assert read_table(folder) == run.epochs


def test_the_epoch_under_way_is_shown() -> None:
    """After 7 steps of 5 an epoch: the losses of the two in it, and how far it is."""
    *_, (event, run, folder) = islice(followed(), 9)
    progress = read_progress(folder)

    assert event.epoch == 2
    assert len(run.losses) == 5
    assert progress.epoch == pytest.approx(1 + 2 / 5)
    assert [place for place, _ in progress.losses] == pytest.approx([1.2, 1.4])
    assert [loss for _, loss in progress.losses] == pytest.approx(run.losses[:2].tolist())
    assert progress.images_per_second > 0
    assert progress.seconds_left > 0


def test_a_long_epoch_is_thinned_by_means() -> None:
    """Of a thousand batches 200 points are kept, each the mean of five."""
    written: dict[str, bytes] = {}
    losses = torch.arange(1000.0)
    Live(written.__setitem__, 2).note_step(Step(1, 2, 0, 8000, 16_000, losses))
    points = json.loads(written["progress.json"])["losses"]

    assert len(points) == 200
    assert points[0] == [pytest.approx(0.0025), 2.0]
    assert points[-1] == [pytest.approx(0.5), 997.0]


def test_speed_and_time_left_are_those_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an epoch of 1,000 images in ten seconds: 50 a second, and 30 seconds for the rest."""
    written: dict[str, bytes] = {}
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown = Live(written.__setitem__, 2)
    now = 110.0
    shown.note_step(Step(1, 2, 0, 500, 1000, torch.ones(5)))
    progress = Progress.model_validate_json(written["progress.json"])

    assert progress.images_per_second == pytest.approx(50)
    assert progress.seconds_left == pytest.approx(30)


def test_writing_costs_a_quarter_of_a_percent_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """What took a tenth of a second is not repeated for forty; what took nothing, for a second."""
    monkeypatch.undo()
    now, writes = 0.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for cost, pause in ((0.1, 40), (0.0, 1)):

        def write(*_: object, seconds: float = cost) -> None:
            nonlocal now
            now += seconds
            writes.append(now)

        shown, step = Live(write, 2), Step(1, 2, 0, 500, 1000, torch.ones(5))
        now += 1
        shown.note_step(step)
        count, now = len(writes), now + pause - 0.01
        shown.note_step(step)
        assert len(writes) == count
        now += 0.02
        shown.note_step(step)
        assert len(writes) == count + 1


def test_losses_that_are_no_numbers_are_not_written() -> None:
    """The training ends for them; what was written before stays."""
    written: dict[str, bytes] = {}
    Live(written.__setitem__, 2).note_step(Step(1, 2, 0, 8, 16, torch.tensor([float("nan")])))

    assert written == {}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"epoch": NaN}', b'{"losses": [[1]]}', b"\xff"]
)
def test_a_damaged_file_is_an_empty_one(content: bytes, tmp_path: Path) -> None:
    """The page shows the run without it."""
    for name in ("loss.csv", "progress.json"):
        (tmp_path / name).write_bytes(content)

    assert read_table(tmp_path) == []
    assert read_progress(tmp_path) == Progress()
    assert read_table(tmp_path / "nowhere") == []
    assert read_progress(tmp_path / "nowhere") == Progress()


def test_the_table_of_a_resumed_run_has_the_rows_from_before() -> None:
    """Rows that a full disk cost are there again when it goes on."""
    *_, (_, _, folder) = islice(followed(), 12)
    run = start()
    run.epochs = [Epoch(1, 2.0, None, None, 0.1)]
    (folder / "loss.csv").unlink()
    with claimed({}, {}) as again:
        next(kept(train(run, SPLIT, None, PARAMS), run, again, PARAMS, len(SPLIT)))

    assert read_table(folder) == run.epochs
