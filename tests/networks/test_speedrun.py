"""The speedrun network, against the paper and by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synthetic import make_split
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.params.rules import RULES
from toypipe.params.schema import Speedrun

SPLIT = make_split(8, size=32)


def _build(width: int = 8, *, whitening: bool = True, identity: bool = True, size: int = 32) -> Any:
    channels = [width, width, *[4 * width] * 4]
    params = Speedrun(
        name="speedrun",
        channels=channels,
        kernels=[3] * 6,
        whitening=whitening,
        identity=identity,
    )
    normalize = build_normalize("standard", SPLIT.images)
    return build_model(params, Shape(size, 10), normalize, seed=0)


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in model.modules() if type(layer) is nn.Conv2d]


def test_at_width_64_it_has_the_size_of_the_papers() -> None:
    """It has the paper's 1.97 million weights: the filters of seven convolutions, and a head."""
    model = _build(64)
    filters = 24 * 64 * 9 + 64 * 64 * 9 + 64 * 256 * 9 + 3 * 256 * 256 * 9
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)

    assert sum(layer.weight.numel() for layer in _convolutions(model)) == filters
    assert trained == filters + 256 * 10 + 2 * (64 + 256 + 256)


def test_each_convolution_has_its_own_shape() -> None:
    """By hand: filters of two pixels shrink the image by one, and pass on a neighbour at first."""
    channels = [8, 16, 24, 32, 40, 48]
    params = Speedrun(
        name="speedrun",
        channels=channels,
        kernels=[1, 2, 3, 3, 2, 1],
        whitening=True,
        identity=True,
    )
    normalize = build_normalize("standard", SPLIT.images)
    model = build_model(params, Shape(32, 10), normalize, seed=0)
    layers = _convolutions(model)

    assert [tuple(layer.weight.shape) for layer in layers] == [
        (8, 24, 1, 1),
        (16, 8, 2, 2),
        (24, 16, 3, 3),
        (32, 24, 3, 3),
        (40, 32, 2, 2),
        (48, 40, 1, 1),
    ]
    maps = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(layers[1](maps)[:, :8], maps[:, :, 1:, 1:])
    assert model(SPLIT.images).shape == (8, 10)


@pytest.mark.parametrize("size", [9, 24, 28, 32, 47])
def test_one_network_takes_images_of_any_size(size: int) -> None:
    """The same weights work for images of any size from nine pixels up."""
    assert _build()(make_split(4, size=size).images).shape == (4, 10)


@pytest.mark.parametrize("kernels", [[3] * 6, [2, 3, 3, 3, 3, 3], [3, 3, 3, 3, 3, 2], [2] * 6])
def test_the_smallest_images_are_those_that_the_rule_allows(kernels: list[int]) -> None:
    """The rule of params.yaml is what the network itself accepts."""
    params = Speedrun(
        name="speedrun", channels=[8] * 6, kernels=kernels, whitening=True, identity=True
    )
    rule = RULES["prepare.dataset.size", "train.model.kernels"]
    allowed = [size for size in range(8, 40) if not rule(size, kernels)]
    normalize = build_normalize("unit", SPLIT.images)

    build_model(params, Shape(allowed[0], 10), normalize, seed=0)
    with pytest.raises(ToypipeError):
        build_model(params, Shape(allowed[0] - 1, 10), normalize, seed=0)


def test_before_training_all_classes_are_nearly_alike() -> None:
    """For any image the loss is close to that of guessing, ln 10."""
    logits = _build(64)(SPLIT.images).detach()
    loss = nn.functional.cross_entropy(logits, torch.arange(8))

    assert float(loss) == pytest.approx(math.log(10), abs=0.1)


def test_filters_start_as_the_identity() -> None:
    """A convolution starts by passing its input channels on unchanged."""
    for layer in _convolutions(_build(16)):
        maps = torch.randn(2, layer.in_channels, 5, 5)
        kept = min(layer.in_channels, layer.out_channels)

        torch.testing.assert_close(layer(maps)[:, :kept], maps[:, :kept])
    for layer in _convolutions(_build(16, identity=False))[1:]:
        maps = torch.randn(2, layer.in_channels, 5, 5)

        assert not torch.allclose(layer(maps)[:, 0], maps[:, 0], atol=0.1)


def test_without_whitening_the_first_filters_are_trained() -> None:
    """The first layer then has the same shape, and its weights are trained."""
    fixed, trained = (_build(whitening=each).network[0] for each in (True, False))

    assert fixed.weight.shape == trained.weight.shape
    assert not fixed.weight.requires_grad
    assert trained.weight.requires_grad


def test_an_image_counts_by_its_peaks() -> None:
    """Only the largest value of each channel counts, wherever it is, and gets the gradient."""
    peak = _build().network[5]
    maps = torch.randn(3, 4, 3, 3, requires_grad=True)
    answer: Tensor = peak(maps)
    answer.sum().backward()

    torch.testing.assert_close(answer, nn.functional.max_pool2d(maps, 3).flatten(1))
    assert maps.grad is not None
    assert torch.equal(maps.grad != 0, maps == answer[:, :, None, None])
