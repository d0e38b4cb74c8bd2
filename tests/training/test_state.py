"""A run that was stopped and gone on with is the run that was never stopped, bit for bit."""

import io
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from synthetic import make_split, make_train_params
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.networks.whitening import fit_whitening
from toypipe.params.schema import TrainParams
from toypipe.training.loop import Step, begin, require_finite, train
from toypipe.training.state import Run

SPLIT = make_split(20, size=8)
"""In batches of 8: three steps an epoch, the last one of 4 images."""
HELD_OUT = make_split(9, size=8, seed=1)
REST = "{lr: 0.03, momentum: 0.9, nesterov: true, weight_decay: 0.01}"
ADAM = "{name: adam, lr: 0.005, beta1: 0.9, beta2: 0.99, weight_decay: 0.01}"
OPTIMIZERS = {
    "plain sgd": "{name: sgd, lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0}",
    "sgd": "{name: sgd, lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.01}",
    "adam": ADAM,
    "adamw": ADAM.replace("adam", "adamw"),
    "muon": f"{{name: muon, lr: 0.02, momentum: 0.6, nesterov: true, weight_decay: 0.0, "
    f"fixed_norm: true, bias_lr: 0.1, rest: {REST}}}",
}
EVERYTHING = (
    "train.epochs=2.6",
    "train.validation=9",
    "train.keep=best",
    "train.augment.flip=alternating",
    "train.augment.translate=2",
    "~train.schedule",
    "+train.schedule={name: cosine, warmup_epochs: 0.5, final: 0.1}",
)
SPEEDRUN = (
    *EVERYTHING,
    "~train.model",
    "+train.model={name: speedrun, width: 8, whitening: true, identity: true}",
    "~train.optimizer",
    f"+train.optimizer={OPTIMIZERS['muon']}",
    "train.sizes=[9,10,12]",
)
LARGER = make_split(20, size=12), make_split(9, size=12, seed=1)
EVENTS = 8 + 3
"""Steps and epochs of such a run."""


def _toy(params: TrainParams) -> nn.Module:
    normalize = build_normalize("standard", SPLIT.images)
    return build_model(params.model, Shape(8, 3), normalize, params.seed)


def _with_dropout_and_statistics(params: TrainParams) -> nn.Module:
    normalize = build_normalize("standard", SPLIT.images)
    torch.manual_seed(params.seed)
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))
    model = nn.Sequential(normalize, *layers, nn.Linear(288, 3))
    return model.to(memory_format=torch.channels_last)


def _speedrun(params: TrainParams) -> nn.Module:
    images = LARGER[0].images
    model = build_model(
        params.model, Shape(12, 3), build_normalize("standard", images), params.seed
    )
    fit_whitening(model, images)
    return model


def _saved(run: Run) -> dict[str, Any]:
    """Return the state of a run, by way of a file."""
    file = io.BytesIO()
    torch.save(run.state_dict(), file)
    file.seek(0)
    content: dict[str, Any] = torch.load(file, weights_only=True)
    return content


def _outcome(run: Run) -> tuple[bytes, list[Any]]:
    weights = [tensor.numpy().tobytes() for tensor in run.model.state_dict().values()]
    return b"".join(weights), run.epochs


def _advance(
    run: Run,
    params: TrainParams,
    most: int = EVENTS,
    images: tuple[Split, Split] = (SPLIT, HELD_OUT),
) -> Run:
    """Train for so many steps and epochs, or to the end."""
    deque(itertools.islice(train(run, *images, params), most), maxlen=0)
    if most >= EVENTS:
        deque(train(run, *images, params), maxlen=0)  # what comes after the last event
    return run


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("build", [_toy, _with_dropout_and_statistics])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_a_run_can_stop_after_any_event(
    optimizer: str, build: Callable[[TrainParams], nn.Module], precision: str
) -> None:
    """Saved and gone on with there, it ends with the same weights and the same figures."""
    change = ("~train.optimizer", f"+train.optimizer={optimizer}", f"train.precision={precision}")
    params = make_train_params(*EVERYTHING, *change)
    never_stopped = _outcome(_advance(begin(build(params), params), params))

    for stop in range(EVENTS + 1):
        state = _saved(_advance(begin(build(params), params), params, stop))
        torch.rand(7)  # whatever else draws numbers meanwhile
        run = begin(build(params), params)
        run.load_state_dict(state)

        assert _outcome(_advance(run, params)) == never_stopped, f"after {stop} events"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_speedrun_can_stop_after_any_event(precision: str) -> None:
    """With whitening, filters of fixed size and images that grow, it ends as one never stopped."""
    params = make_train_params(*SPEEDRUN, f"train.precision={precision}")
    never_stopped = _outcome(_advance(begin(_speedrun(params), params), params, images=LARGER))

    for stop in range(EVENTS):
        state = _saved(_advance(begin(_speedrun(params), params), params, stop, LARGER))
        run = begin(_speedrun(params), params)
        run.load_state_dict(state)

        assert _outcome(_advance(run, params, images=LARGER)) == never_stopped, f"after {stop}"


def test_a_run_can_stop_again_and_again() -> None:
    """Stopped after every single event, it still ends where a run ends that never was."""
    params = make_train_params(*EVERYTHING)
    build = _with_dropout_and_statistics
    never_stopped = _outcome(_advance(begin(build(params), params), params))
    run = begin(build(params), params)
    for _ in range(EVENTS):
        state = _saved(_advance(run, params, 1))
        run = begin(build(params), params)
        run.load_state_dict(state)

    assert _outcome(_advance(run, params)) == never_stopped


def test_a_state_is_the_same_bytes_for_the_same_run() -> None:
    """Nothing of the process, its time or its addresses is in it."""
    params = make_train_params(*EVERYTHING)
    files = []
    for _ in range(2):
        run = _advance(begin(_toy(params), params), params, 5)
        files.append(io.BytesIO())
        torch.save(run.state_dict(), files[-1])

    assert files[0].getvalue() == files[1].getvalue()


def test_a_run_that_has_gone_wrong_is_noticed_within_a_pass() -> None:
    """Before the end of an epoch, whoever asks is told which step and which rate it was."""
    params = make_train_params(
        "train.optimizer.lr=1e20",
        "~train.schedule",
        "+train.schedule={name: linear, warmup_epochs: 1, final: 1}",
    )
    run = _advance(begin(_toy(params), params), params, 2)

    with pytest.raises(ToypipeError, match=r"at step 2 of 6, in epoch 1, .*rate of 6\.66667e\+19"):
        require_finite(run, params, len(SPLIT))


def test_a_run_in_good_order_is_left_alone() -> None:
    """Whoever asks after any step hears nothing."""
    params = make_train_params()
    run = begin(_toy(params), params)
    for event in train(run, SPLIT, HELD_OUT, params):
        if isinstance(event, Step):
            require_finite(run, params, len(SPLIT))
