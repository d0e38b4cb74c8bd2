"""Training, against a plain loop in torch and by hand."""

import copy
import io
import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthetic import make_split, make_train_params
from toypipe.compute.seeding import make_generator
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.params.schema import LossName, Toy, TrainParams
from toypipe.training.augment import draw_portions, mix
from toypipe.training.batches import count_batches
from toypipe.training.loop import Step, begin, train
from toypipe.training.losses import LOSSES, one_hot
from toypipe.training.schedules import rate_factor
from toypipe.training.state import Epoch

SPLIT = make_split(20, size=8)
"""In batches of 8, the last of each epoch is of 4."""
HELD_OUT = make_split(9, size=8, seed=1)

ADAM = "{name: adam, lr: 0.005, beta1: 0.9, beta2: 0.999, weight_decay: 0.0}"
ADAMW = ADAM.replace("adam", "adamw")
REST = "{lr: 0.03, momentum: 0.9, nesterov: true, weight_decay: 0.0}"
MUON = (
    "{name: muon, lr: 0.02, momentum: 0.6, nesterov: true, weight_decay: 0.0, fixed_norm: false,"
    f" bias_lr: 0.03, rest: {REST}}}"
)
SGD = "{name: sgd, lr: 0.1, momentum: 0.5, nesterov: false, weight_decay: 0.0}"
OPTIMIZERS = pytest.mark.parametrize(
    "optimizer", [SGD, ADAM, ADAMW, MUON], ids=["sgd", "adam", "adamw", "muon"]
)


def _replace(key: str, choice: str) -> tuple[str, str]:
    """Return the overrides that change to a choice with other fields."""
    return f"~train.{key}", f"+train.{key}={choice}"


def _model(split: Split = SPLIT, seed: int = 0) -> nn.Module:
    normalize = build_normalize("standard", split.images)
    shape = Shape(split.size, len(split.classes))
    return build_model(Toy(name="toy"), shape, normalize, seed)


def _dropout_model() -> nn.Module:
    normalize = build_normalize("standard", SPLIT.images)
    torch.manual_seed(0)
    return nn.Sequential(normalize, nn.Flatten(), nn.Dropout(), nn.Linear(192, 3))


def _train(
    model: nn.Module, params: TrainParams, split: Split = SPLIT, validation: Split | None = None
) -> list[Epoch]:
    return [
        each
        for each in train(begin(model, params), split, validation, params)
        if isinstance(each, Epoch)
    ]


def _weights(model: nn.Module) -> list[Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def _same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(map(torch.equal, first, second))


def _plain_order(params: TrainParams, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of an epoch, taken by index from the split."""
    order = torch.randperm(len(SPLIT), generator=make_generator(params.seed, "order", epoch))
    for index in order.split(params.batch_size):
        yield SPLIT[index].images, SPLIT.labels[index]


def test_the_loop_is_that_of_the_tutorial() -> None:
    """Zero the gradients, forward, backward, step: both loops give the same bits."""
    params = make_train_params("train.optimizer.lr=0.1")
    model, plain = _model(), _model()
    _train(model, params)

    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, fused=True)
    for epoch in range(2):
        for images, labels in _plain_order(params, epoch):
            optimizer.zero_grad()
            F.cross_entropy(plain(images), F.one_hot(labels, 3).float()).backward()
            optimizer.step()

    assert not _same(_weights(plain), _weights(_model()))
    assert _same(_weights(model), _weights(plain))


def test_schedule_smoothing_and_momentum_reach_the_loop() -> None:
    """With all three, the weights are those of a plain loop, bit for bit."""
    params = make_train_params(
        "train.seed=3",
        "train.label_smoothing=0.2",
        *_replace(
            "optimizer", "{name: sgd, lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.01}"
        ),
        *_replace("schedule", "{name: linear, warmup_epochs: 0.5, final: 0.1}"),
    )
    model, plain = _model(), _model()
    _train(model, params)

    optimizer = torch.optim.SGD(
        plain.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01, fused=True
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(params.schedule, step, 6, 3)
    )
    for epoch in range(2):
        for images, labels in _plain_order(params, epoch):
            optimizer.zero_grad()
            F.cross_entropy(plain(images), one_hot(labels, 3, 0.2)).backward()
            optimizer.step()
            scheduler.step()

    assert _same(_weights(model), _weights(plain))


@pytest.mark.parametrize("loss", LOSSES)
def test_mixtures_reach_the_loop(loss: LossName) -> None:
    """With mixup and smoothing, each loss trains as a plain loop over mixed images and targets."""
    params = make_train_params(
        "train.augment.mixup=0.5", "train.label_smoothing=0.1", f"train.loss={loss}"
    )
    model, plain = _model(), _model()
    _train(model, params)

    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, fused=True)
    for epoch in range(2):
        portions = draw_portions(len(SPLIT), params.augment, params.seed, epoch)
        images, labels = map(torch.cat, zip(*_plain_order(params, epoch), strict=True))
        targets = one_hot(labels, 3, 0.1)
        around = torch.cat([images, images[:1]]), torch.cat([targets, targets[:1]])
        mixed = zip(*(part.split(8) for part in mix(*around, portions)), strict=True)
        for batch, target in mixed:
            optimizer.zero_grad()
            LOSSES[loss](plain(batch), target).backward()
            optimizer.step()

    assert not _same(_weights(plain), _weights(_model()))
    for ours, theirs in zip(_weights(model), _weights(plain), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@OPTIMIZERS
def test_the_same_seed_gives_the_same_bits(optimizer: str) -> None:
    """With augmentation, two runs give the same weights; another seed gives others."""
    varied = ("train.augment.flip=random", "train.augment.translate=2")
    params = make_train_params(*varied, *_replace("optimizer", optimizer))
    other = make_train_params(*varied, *_replace("optimizer", optimizer), "train.seed=1")
    results = []
    for each in (params, params, other):
        model = _model()
        results.append((_train(model, each), _weights(model)))
        torch.rand(3)
    (first, weights), (again, same), (_, others) = results

    assert again == first
    assert _same(same, weights)
    assert not _same(others, weights)


def test_dropout_is_decided_by_seed_and_epoch() -> None:
    """Earlier draws make no difference to the losses of equal images at a rate near zero."""
    alike = Split(SPLIT.images[:1].repeat(20, 1, 1, 1), SPLIT.labels[:1].repeat(20), SPLIT.classes)
    losses: list[list[float]] = []
    for seed in (0, 0, 5):
        params = make_train_params(f"train.seed={seed}", "train.optimizer.lr=1e-12")
        model = _dropout_model()
        torch.rand(len(losses))
        losses.append([epoch.train_loss for epoch in _train(model, params, alike)])
    first, again, other = losses

    assert again == first
    assert len({*first, *other}) == 4


@OPTIMIZERS
def test_every_optimizer_learns(optimizer: str) -> None:
    """After a few epochs all images are classified right, also in bfloat16."""
    split = make_split(48, size=8)
    for precision in ("float32", "bfloat16"):
        params = make_train_params(
            "train.epochs=8", f"train.precision={precision}", *_replace("optimizer", optimizer)
        )
        assert _train(_model(split), params, split, split)[-1].validation_accuracy == 1


def test_train_loss_is_the_mean_over_images() -> None:
    """With a rate near zero, it is the loss of all images at once, despite the short batch."""
    params = make_train_params("train.optimizer.lr=1e-12")
    model = _model()
    expected = F.cross_entropy(model(SPLIT.images), SPLIT.labels).item()

    losses = [epoch.train_loss for epoch in _train(model, params)]
    assert losses == pytest.approx([expected] * 2, rel=1e-5)


def test_train_loss_weighs_the_losses_of_the_batches() -> None:
    """Batches of 8, 8 and 4 have the weights two fifths, two fifths and one fifth."""
    params = make_train_params("train.optimizer.lr=0.3", "train.epochs=1")
    *steps, epoch = train(begin(_model(), params), SPLIT, None, params)
    assert isinstance(steps[-1], Step)
    first, second, last = steps[-1].losses.tolist()

    assert isinstance(epoch, Epoch)
    assert epoch.train_loss == pytest.approx((8 * first + 8 * second + 4 * last) / 20)


@pytest.mark.parametrize(
    ("epochs", "steps", "rows"),
    [
        (1, 5, [1]),
        (2, 10, [1, 2]),
        (1.4, 7, [1, 1.4]),
        (0.6, 3, [0.6]),
        (0.01, 1, [0.01]),  # there is always one
    ],
)
def test_epochs_may_be_fractional(epochs: float, steps: int, rows: list[float]) -> None:
    """With five batches an epoch, a fraction of them is taken; the last row covers a part."""
    params = make_train_params(f"train.epochs={epochs}", "train.batch_size=4")
    events = list(train(begin(_model(), params), SPLIT, None, params))

    assert len([each for each in events if isinstance(each, Step)]) == steps
    assert [each.epoch for each in events if isinstance(each, Epoch)] == rows


def test_a_partial_epoch_averages_over_what_it_saw() -> None:
    """The loss of two fifths of an epoch is that of its eight images."""
    params = make_train_params("train.epochs=0.4", "train.batch_size=4", "train.optimizer.lr=1e-12")
    model = _model()
    index = torch.randperm(20, generator=make_generator(0, "order"))[:8]
    expected = F.cross_entropy(model(SPLIT.images[index]), SPLIT.labels[index]).item()

    assert _train(model, params)[0].train_loss == pytest.approx(expected, rel=1e-5)


def test_steps_have_the_progress_of_a_run() -> None:
    """In two epochs and a half of 20 images, the last one ends at 16, after two batches of 8."""
    params = make_train_params("train.epochs=2.6")
    steps = [
        each
        for each in train(begin(_model(), params), SPLIT, None, params)
        if isinstance(each, Step)
    ]

    assert [each.epoch for each in steps] == [1, 1, 1, 2, 2, 2, 3, 3]
    assert {each.epochs for each in steps} == {3}
    assert [each.done for each in steps] == [8, 16, 20, 8, 16, 20, 8, 16]
    assert [each.images for each in steps] == [20] * 6 + [16] * 2
    assert [len(each.losses) for each in steps] == [1, 2, 3, 1, 2, 3, 1, 2]


def test_without_validation_there_are_no_figures() -> None:
    """Without validation, loss and accuracy are None."""
    for epoch in _train(_model(), make_train_params()):
        assert epoch.validation_loss is None
        assert epoch.validation_accuracy is None


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "l1"])
def test_validation_is_measured_after_each_epoch(loss: str, smoothing: float) -> None:
    """Loss and accuracy are those of the network after the epoch; the loss is the trained one."""
    params = make_train_params(f"train.loss={loss}", f"train.label_smoothing={smoothing}")
    model = _model()
    for each in train(begin(model, params), SPLIT, HELD_OUT, params):
        if isinstance(each, Epoch):
            logits = model(HELD_OUT.images)
            targets = one_hot(HELD_OUT.labels, 3, smoothing)
            accuracy = (logits.argmax(1) == HELD_OUT.labels).float().mean().item()

            expected = LOSSES[params.loss](logits, targets).item()
            assert each.validation_loss == pytest.approx(expected)
            assert each.validation_accuracy == pytest.approx(accuracy)


def test_validation_drops_nothing() -> None:
    """Dropout is off during validation, and on again in the next epoch."""
    model, params = _dropout_model(), make_train_params()
    events = train(begin(model, params), SPLIT, HELD_OUT, params)
    *_, last = [each for each in events if isinstance(each, Epoch)]

    expected = F.cross_entropy(model.eval()(HELD_OUT.images), HELD_OUT.labels).item()
    assert last.validation_loss == pytest.approx(expected)
    unmeasured = _dropout_model()
    _train(unmeasured, params)
    assert _same(_weights(unmeasured), _weights(model))


def test_many_validation_images_are_measured_like_few() -> None:
    """If they need several batches, loss and accuracy are means over all images."""
    many = make_split(601, size=8, seed=2)
    model = _model()
    epochs = _train(model, make_train_params("train.epochs=1"), SPLIT, many)

    logits = model(many.images)
    assert epochs[-1].validation_loss == pytest.approx(F.cross_entropy(logits, many.labels).item())
    right = int((logits.argmax(1) == many.labels).sum())
    assert epochs[-1].validation_accuracy == right / 601


def test_validation_images_are_never_trained_on() -> None:
    """With other validation images, or none, the weights are the same bit for bit."""
    params = make_train_params("train.augment.flip=random")
    results = []
    for validation in (None, HELD_OUT, make_split(30, size=8, seed=2)):
        model = _model()
        _train(model, params, SPLIT, validation)
        results.append(_weights(model))

    assert _same(results[0], results[1])
    assert _same(results[0], results[2])


def test_keep_best_restores_the_best_epoch() -> None:
    """The weights are those after the first epoch with the highest validation accuracy."""
    options = ("train.epochs=10", "train.optimizer.lr=0.05", "train.optimizer.momentum=0.9")
    validation, model = make_split(60, size=8, seed=1), _model()
    seen, accuracies = [], []
    params = make_train_params(*options)
    for each in train(begin(model, params), SPLIT, validation, params):
        if isinstance(each, Epoch):
            seen.append(_weights(model))
            accuracies.append(each.validation_accuracy or 0.0)
    best = accuracies.index(max(accuracies))
    assert 0 < best < 9, "a run whose first or last epoch is the best shows nothing"

    kept = _model()
    keep = ("train.keep=best", "train.validation=60")
    _train(kept, make_train_params(*options, *keep), SPLIT, validation)
    assert _same(_weights(kept), seen[best])
    assert _same(_weights(model), seen[-1])


STILL = ("train.epochs=9", "train.optimizer.lr=1e-12", "train.validation=9")
"""With so small a rate nothing changes, so that the first epoch stays the best."""


def test_a_run_ends_when_patience_is_out() -> None:
    """Two epochs after the best one; its rows are the first ones of the whole run."""
    schedule = _replace("schedule", "{name: linear, warmup_epochs: 4.0, final: 0.0}")
    whole = _train(_model(), make_train_params(*STILL, *schedule), SPLIT, HELD_OUT)
    patient = make_train_params(*STILL, *schedule, "train.patience=2")

    assert _train(_model(), patient, SPLIT, HELD_OUT) == whole[:3]


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_run_that_patience_ends_resumes_from_every_step(keep: str) -> None:
    """The weights are the same, and when it has ended nothing is left to do."""
    params = make_train_params(*STILL, "train.patience=1", f"train.keep={keep}")
    model, saved = _model(), list[bytes]()
    state = begin(model, params)
    for _ in train(state, SPLIT, HELD_OUT, params):
        file = io.BytesIO()
        torch.save(state.state_dict(), file)
        saved.append(file.getvalue())

    assert len(saved) == 8
    for done, content in enumerate(saved, start=1):
        again = begin(_model(), params)
        again.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
        assert len(list(train(again, SPLIT, HELD_OUT, params))) == 8 - done
        assert _same(_weights(again.model), _weights(model))


def test_bfloat16_lands_near_float32() -> None:
    """The weights are float32, and differ slightly from those of a float32 run."""
    exact, rounded = _model(), _model()
    in_float32 = _train(exact, make_train_params())
    in_bfloat16 = _train(rounded, make_train_params("train.precision=bfloat16"))

    assert {weight.dtype for weight in rounded.parameters()} == {torch.float32}
    assert not _same(_weights(rounded), _weights(exact))
    assert in_bfloat16[-1].train_loss == pytest.approx(in_float32[-1].train_loss, rel=0.02)
    for ours, theirs in zip(rounded.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.01, rtol=0)


def test_the_learning_rate_is_that_of_the_last_step() -> None:
    """In six steps from 0.1 down to 0, the third has three fifths of the rate."""
    schedule = _replace("schedule", "{name: linear, warmup_epochs: 0.0, final: 0.0}")
    params = make_train_params("train.optimizer.lr=0.1", *schedule)

    rates = [epoch.learning_rate for epoch in _train(_model(), params)]
    assert rates == pytest.approx([0.06, 0.0])


def test_the_learning_rate_is_that_of_the_first_group() -> None:
    """With Muon it is the rate of the filters, not that of the rest."""
    (epoch,) = _train(_model(), make_train_params("train.epochs=1", *_replace("optimizer", MUON)))

    assert epoch.learning_rate == 0.02


@OPTIMIZERS
def test_a_schedule_moves_every_rate(optimizer: str) -> None:
    """If a schedule ends at zero, no parameter of any optimizer moves at the last step."""
    params = make_train_params(
        *_replace("optimizer", optimizer),
        *_replace("schedule", "{name: cosine, warmup_epochs: 0.0, final: 0.0}"),
    )
    model = _model()
    steps = [
        _weights(model)
        for each in train(begin(model, params), SPLIT, None, params)
        if type(each) is Step
    ]

    assert not _same(steps[-3], steps[-2])
    assert _same(steps[-2], steps[-1])


@pytest.mark.parametrize("validation", [None, HELD_OUT])
def test_a_run_that_diverges_is_stopped(validation: Split | None) -> None:
    """The message names the step, the learning rate and the parameter to lower."""
    params = make_train_params("train.optimizer.lr=1e+20")
    expected = r"the loss is (nan|inf) at step 2 of 6, .*rate of 1e\+20: .*train\.optimizer\.lr"
    with pytest.raises(ToypipeError, match=expected):
        _train(_model(), params, SPLIT, validation)


def test_a_run_that_diverges_at_its_last_step_is_noticed() -> None:
    """The training losses are still finite, but a weight or the validation loss is not."""
    params = make_train_params("train.optimizer.lr=1e+30", "train.epochs=0.1")
    with pytest.raises(ToypipeError, match=r"is (nan|inf) at step 1 of 1, .*1e\+30"):
        _train(_model(), params, SPLIT, HELD_OUT)


def test_figures_are_finite_plain_numbers() -> None:
    """The results of an epoch are finite Python numbers."""
    (epoch,) = _train(_model(), make_train_params("train.epochs=1"), SPLIT, HELD_OUT)

    for value in epoch:
        assert isinstance(value, (int, float))
        assert math.isfinite(value)


def test_training_leaves_the_images_alone() -> None:
    """Training does not change the stored images."""
    split = copy.deepcopy(SPLIT)
    varied = ("train.augment.flip=alternating", "train.augment.translate=1")
    _train(_model(), make_train_params(*varied), split)

    assert torch.equal(split.images, SPLIT.images)
    assert torch.equal(split.labels, SPLIT.labels)


class _Recorder(nn.Module):
    """Records the size of its images."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.head = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(images.shape[-1])
        logits: Tensor = self.head(images.float().mean((2, 3)))
        return logits


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ([], [8, 8, 8, 8, 8, 8]),
        ([4, 8], [4, 4, 4, 8, 8, 8]),
        ([4, 6, 8], [4, 4, 6, 6, 8, 8]),
        ([4, 4, 6, 8], [4, 4, 4, 6, 6, 8]),
        ([6], [6, 6, 6, 6, 6, 6]),
    ],
)
def test_each_size_has_an_equal_share_of_the_run(sizes: list[int], shown: list[int]) -> None:
    """Sizes change at equal shares of the run, also within an epoch; validation has full size."""
    params = make_train_params().model_copy(update={"sizes": sizes})
    model = _Recorder()
    _train(model, params, SPLIT, HELD_OUT)

    assert [*model.sizes[:3], *model.sizes[4:7]] == shown
    assert model.sizes[3::4] == [8, 8]


def test_a_last_image_alone_joins_the_batch_before_it() -> None:
    """Batch norm cannot learn from one image: nine in batches of eight are one batch of nine."""
    split, ends = make_split(9, size=8), []
    for batch_size in (8, 9):
        params = make_train_params(f"train.batch_size={batch_size}", "train.augment.flip=random")
        normalize = build_normalize("unit", split.images)
        state = begin(build_model(params.model, Shape(8, 3), normalize, 0), params)
        steps = [
            event.done for event in train(state, split, None, params) if isinstance(event, Step)
        ]
        ends.append((steps, state.epochs, [weight.tolist() for weight in state.model.parameters()]))

    assert ends[0][0] == [9, 9]
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("images", "batch_size", "batches"),
    [(1, 8, 1), (8, 8, 1), (9, 8, 1), (10, 8, 2), (16, 8, 2), (17, 8, 2), (18, 8, 3), (3, 1, 3)],
)
def test_batches_of_an_epoch(images: int, batch_size: int, batches: int) -> None:
    """They hold every image, and none holds one alone, unless all do."""
    assert count_batches(images, batch_size) == batches
