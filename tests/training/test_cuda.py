"""On a CUDA device: a captured step is the step, and everything repeats to the bit."""

import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from test_state import EVERYTHING, HELD_OUT, LARGER, OPTIMIZERS, SPEEDRUN, SPLIT, _saved
from test_state import _speedrun as speedrun
from test_state import _toy as toy
from test_state import _with_dropout_and_statistics as with_dropout_and_statistics
from torch import nn

import toypipe.training.loop
from synthetic import make_network_params, make_split, make_train_params
from toypipe.compute.devices import describe, explained, pick_device
from toypipe.data.split import open_split, save_split
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.params.schema import TrainParams
from toypipe.training.loop import begin, train
from toypipe.training.state import TrainingState

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
PRECISIONS = pytest.mark.parametrize("precision", ["float32", "bfloat16"])
NETWORKS = pytest.mark.parametrize("build", [toy, with_dropout_and_statistics])


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    pick_device("cuda")
    yield
    torch.set_deterministic_debug_mode("default")  # the tests of other devices set none


def _params(optimizer: str, precision: str = "float32", *more: str) -> TrainParams:
    change = ("~train.optimizer", f"+train.optimizer={OPTIMIZERS[optimizer]}")
    # Ten steps an epoch: three by which the capture is warmed up, seven that are replayed.
    return make_train_params(
        *EVERYTHING, *change, f"train.precision={precision}", "train.batch_size=2", *more
    )


def _events(run: TrainingState, params: TrainParams) -> Iterator[Any]:
    device = torch.device("cuda")
    return train(run, SPLIT.to(device), HELD_OUT.to(device), params)


def _start(build: Any, params: TrainParams) -> TrainingState:
    model: nn.Module = build(params)
    return begin(model.to("cuda"), params)


def _outcome(run: TrainingState) -> tuple[bytes, list[Any]]:
    weights = [tensor.cpu().numpy().tobytes() for tensor in run.model.state_dict().values()]
    return b"".join(weights), run.epochs


def _trained(build: Any, params: TrainParams) -> tuple[bytes, list[Any]]:
    run = _start(build, params)
    for _ in _events(run, params):
        pass
    return _outcome(run)


@PRECISIONS
@NETWORKS
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_captured_step_is_the_step(
    optimizer: str, build: Any, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replayed, with a schedule and a short last batch, it gives the bits of the eager step."""
    params = _params(optimizer, precision, "train.batch_size=3")
    captured = _trained(build, params)
    monkeypatch.setattr(toypipe.training.loop, "captured", lambda step, _: step)

    assert _trained(build, params) == captured


@PRECISIONS
def test_each_size_of_images_has_a_capture_of_its_own(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With images that grow, a captured step gives the bits of the eager step."""
    params = make_train_params(
        *SPEEDRUN, "train.batch_size=3", "train.epochs=3", f"train.precision={precision}"
    )
    device = torch.device("cuda")
    training, validation = (split.to(device) for split in LARGER)

    def trained() -> tuple[bytes, list[Any]]:
        run = begin(speedrun(params).to(device), params)
        for _ in train(run, training, validation, params):
            pass
        return _outcome(run)

    captured = trained()
    monkeypatch.setattr(toypipe.training.loop, "captured", lambda step, _: step)

    assert trained() == captured


def test_a_network_of_torchvision_takes_captured_steps() -> None:
    """Gradients of its 1x1 convolutions may lie otherwise than the weights: updates must agree."""
    params = make_train_params("train.batch_size=3")
    device, split = torch.device("cuda"), make_split(30, size=32)
    normalize = build_normalize("unit", split.images)
    model = build_model(make_network_params("resnet18"), Shape(32, 3), normalize, seed=0)
    run = begin(model.to(device), params)
    for _ in train(run, split.to(device), None, params):
        pass

    assert len(run.epochs) == 2


def test_images_that_stay_in_a_file_train_the_same(tmp_path: Path) -> None:
    """Read ahead into pinned memory and copied to the device, they give the bits of a capture."""
    params, device = _params("sgd", "float32", "train.batch_size=3"), torch.device("cuda")
    stored = []
    for name, split in (("train", SPLIT), ("validation", HELD_OUT)):
        with (tmp_path / name).open("wb") as file:
            save_split(file, split)
        stored.append(open_split(tmp_path / name).to(device))
    run = _start(toy, params)
    for _ in train(run, stored[0], stored[1], params):
        pass

    assert _outcome(run) == _trained(toy, params)


@PRECISIONS
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_repeats_to_the_bit(optimizer: str, precision: str) -> None:
    """On one GPU the same parameters give the same weights and figures."""
    params = _params(optimizer, precision)

    assert _trained(toy, params) == _trained(toy, params)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_can_be_resumed(optimizer: str) -> None:
    """Saved before, during and after the capture, a run ends like one that was never stopped."""
    params = _params(optimizer)
    never_stopped = _trained(with_dropout_and_statistics, params)
    for stop in (1, 3, 4, 5, 9, 10, 11, 17):
        run = _start(with_dropout_and_statistics, params)
        for _ in islice(_events(run, params), stop):
            pass
        state = _saved(run)
        torch.rand(7, device="cuda")
        again = _start(with_dropout_and_statistics, params)
        again.load_state_dict(state)
        for _ in _events(again, params):
            pass

        assert _outcome(again) == never_stopped, f"after {stop} events"


def test_the_rate_moves_without_another_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a cosine schedule, over several epochs, the step is captured once."""
    captures = []
    begin_capture = torch.cuda.CUDAGraph.capture_begin

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        captures.append(self)
        return begin_capture(self, *args, **options)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "capture_begin", counted)
    _trained(toy, _params("sgd"))

    assert len(captures) == 1


def test_it_learns_what_the_cpu_learns() -> None:
    """The same run on the CPU has nearly the same losses."""
    params = _params("sgd", "float32", "train.optimizer.lr=0.01")
    on_cuda = _start(toy, params)
    for _ in _events(on_cuda, params):
        pass
    on_cpu = begin(toy(params), params)
    for _ in train(on_cpu, SPLIT, HELD_OUT, params):
        pass

    for ours, theirs in zip(on_cuda.epochs, on_cpu.epochs, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)


def test_too_much_is_explained() -> None:
    """If memory runs out, the message has the batch size."""
    with pytest.raises(ToypipeError, match="512"), explained("train.batch_size", 512):
        torch.empty(1 << 60, dtype=torch.uint8, device="cuda")


def test_the_device_is_described_by_its_name() -> None:
    """A run is described by its GPU, because another model of GPU gives other bits."""
    assert describe(torch.device("cuda"))["device"] == torch.cuda.get_device_name()


def test_a_run_waits_for_the_device_once_an_epoch() -> None:
    """Within an epoch, no step reads a number from the device."""
    params = make_train_params("train.epochs=1", "train.batch_size=2")
    split = make_split(40, size=8).to(torch.device("cuda"))
    run = _start(toy, params)
    events = train(run, split, None, params)
    for _ in islice(events, 6):  # the warm-up and the capture may wait
        pass
    with warnings.catch_warnings(action="ignore"):  # it is a prototype, says torch
        torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in islice(events, 12):
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")
