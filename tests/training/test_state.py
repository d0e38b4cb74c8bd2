"""A run that was stopped and resumed ends like one that was never stopped, bit for bit."""

import io
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from synthetic import SPEEDRUN as NETWORK
from synthetic import make_split, make_train_params
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.networks.whitening import fit_whitening
from toypipe.params.schema import TrainParams
from toypipe.training.loop import Step, begin, require_finite, train
from toypipe.training.state import Epoch, TrainingState, out_of_patience

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
    "train.augment.crop=0.5",
    "train.augment.cutout=2",
    "train.augment.mixup=0.4",
    "~train.schedule",
    "+train.schedule={name: cosine, warmup_epochs: 0.5, final: 0.1}",
)
SPEEDRUN = (
    *EVERYTHING,
    "~train.model",
    f"+train.model={NETWORK}",
    "~train.optimizer",
    f"+train.optimizer={OPTIMIZERS['muon']}",
    "~prepare.dataset",
    "+prepare.dataset={name: folder, path: mine, size: 12}",
    "train.sizes=[9,10,12]",
)
LARGER = make_split(20, size=12), make_split(9, size=12, seed=1)
EVENTS = 8 + 3
"""Steps and epochs of such a run."""

Build = Callable[[TrainParams], nn.Module]


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


def _saved(state: TrainingState) -> dict[str, Any]:
    """Return the content of a state after saving and loading it."""
    file = io.BytesIO()
    torch.save(state.state_dict(), file)
    file.seek(0)
    content: dict[str, Any] = torch.load(file, weights_only=True)
    return content


def _outcome(state: TrainingState) -> tuple[bytes, list[Any]]:
    weights = [tensor.numpy().tobytes() for tensor in state.model.state_dict().values()]
    return b"".join(weights), state.epochs


def _restored(build: Build, params: TrainParams, content: dict[str, Any]) -> TrainingState:
    torch.rand(7)  # other draws must not matter
    state = begin(build(params), params)
    state.load_state_dict(content)
    return state


def _assert_resumable(
    build: Build, params: TrainParams, images: tuple[Split, Split] = (SPLIT, HELD_OUT)
) -> None:
    """Save a run after each event, resume all of these states, and compare how they end."""
    state = begin(build(params), params)
    contents = [_saved(state), *(_saved(state) for _ in train(state, *images, params))]
    assert len(contents) == EVENTS + 1
    for number, content in enumerate(contents):
        resumed = _restored(build, params, content)
        left = len(list(train(resumed, *images, params)))

        assert left == EVENTS - number
        assert _outcome(resumed) == _outcome(state), f"after {number} events"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("build", [_toy, _with_dropout_and_statistics])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_a_run_can_be_resumed_after_any_event(optimizer: str, build: Build, precision: str) -> None:
    """Saved and resumed after any step or epoch, a run ends with the same weights and results."""
    change = ("~train.optimizer", f"+train.optimizer={optimizer}", f"train.precision={precision}")
    _assert_resumable(build, make_train_params(*EVERYTHING, *change))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_speedrun_can_be_resumed_after_any_event(precision: str) -> None:
    """The same holds with whitening, filters of fixed norm and images that grow."""
    _assert_resumable(
        _speedrun, make_train_params(*SPEEDRUN, f"train.precision={precision}"), LARGER
    )


def test_a_run_can_be_resumed_again_and_again() -> None:
    """A run that is stopped after every event ends like one that was never stopped."""
    params = make_train_params(*EVERYTHING)
    never_stopped = begin(_with_dropout_and_statistics(params), params)
    for _ in train(never_stopped, SPLIT, HELD_OUT, params):
        pass
    state = begin(_with_dropout_and_statistics(params), params)
    for _ in range(EVENTS + 1):
        next(train(state, SPLIT, HELD_OUT, params), None)
        state = _restored(_with_dropout_and_statistics, params, _saved(state))

    assert list(train(state, SPLIT, HELD_OUT, params)) == []
    assert _outcome(state) == _outcome(never_stopped)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_finished_run_is_a_state_with_no_steps_left(keep: str) -> None:
    """Restored from its last epoch or its end, it yields nothing and has the weights to keep."""
    validation = make_split(60, size=8, seed=1)
    params = make_train_params(
        "train.epochs=10",
        "train.validation=60",
        f"train.keep={keep}",
        "train.optimizer.lr=0.05",
        "train.optimizer.momentum=0.9",
    )
    finished = begin(_toy(params), params)
    weights = []
    for event in train(finished, SPLIT, validation, params):
        if isinstance(event, Epoch):
            weights.append(_outcome(finished)[0])
            last = _saved(finished)
    accuracies = [epoch.validation_accuracy or 0 for epoch in finished.epochs]
    kept = accuracies.index(max(accuracies)) if keep == "best" else 9
    assert keep == "last" or 0 < kept < 9, "if the last epoch is the best, this shows nothing"

    for content in (last, _saved(finished)):
        restored = _restored(_toy, params, content)

        assert list(train(restored, SPLIT, validation, params)) == []
        assert _outcome(restored) == (weights[kept], finished.epochs)


def test_equal_states_give_equal_bytes() -> None:
    """A saved state depends on the run only, not on the process."""
    params = make_train_params(*EVERYTHING)
    files = []
    for _ in range(2):
        state = _after(5, params)
        files.append(io.BytesIO())
        torch.save(state.state_dict(), files[-1])

    assert files[0].getvalue() == files[1].getvalue()


def _after(events: int, params: TrainParams) -> TrainingState:
    """Return the state of a run after so many events."""
    state = begin(_toy(params), params)
    for _ in itertools.islice(train(state, SPLIT, HELD_OUT, params), events):
        pass
    return state


def test_a_run_that_has_diverged_is_noticed_within_an_epoch() -> None:
    """The message names the step, the epoch and the learning rate."""
    params = make_train_params(
        "train.optimizer.lr=1e20",
        "~train.schedule",
        "+train.schedule={name: linear, warmup_epochs: 1, final: 1}",
    )
    expected = r"at step 2 of 6, in epoch 1, .*rate of 6\.66667e\+19"
    with pytest.raises(ToypipeError, match=expected):
        require_finite(_after(2, params), params, len(SPLIT))


def test_a_run_that_has_not_diverged_passes_the_check() -> None:
    """After no step does the check raise an error."""
    params = make_train_params()
    state = begin(_toy(params), params)
    for event in train(state, SPLIT, HELD_OUT, params):
        if isinstance(event, Step):
            require_finite(state, params, len(SPLIT))


@pytest.mark.parametrize(
    ("accuracies", "patience", "ended"),
    [
        ([], 1, False),
        ([0.1], 1, False),
        ([0.1, 0.1], 1, True),  # equal is no better
        ([0.1, 0.1], 2, False),
        ([0.1, 0.3, 0.2, 0.29], 2, True),
        ([0.1, 0.3, 0.2, 0.31], 2, False),
        ([0.0, 0.0], 2, True),
        ([0.3, 0.2, 0.1], 0, False),
    ],
)
def test_patience_counts_the_epochs_after_the_best(
    accuracies: list[float], patience: int, ended: bool
) -> None:
    """The first of the best counts; without patience nothing ends."""
    epochs = [Epoch(i + 1.0, 1.0, 1.0, each, 0.1) for i, each in enumerate(accuracies)]

    assert out_of_patience(epochs, patience) == ended
