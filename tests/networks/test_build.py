"""The networks: the tutorial's exactly, torchvision's by trying all of them."""

from typing import Any, get_args

import pytest
import torch
import torchvision
from torch import Tensor, nn

from synthetic import make_split
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import Normalize, build_normalize
from toypipe.params.architectures import Arch
from toypipe.params.schema import Speedrun, Torchvision, Toy

TOY = Toy(name="toy")
SMALL = Torchvision(name="torchvision", arch="shufflenet_v2_x0_5")
SPEEDRUN = Speedrun(
    name="speedrun", channels=[8, 8, 32, 32, 32, 32], kernels=[3] * 6, whitening=True, identity=True
)


def _build(
    params: Toy | Speedrun | Torchvision, size: int = 32, classes: int = 10, seed: int = 0
) -> Any:
    normalize = Normalize(torch.zeros(3), torch.ones(3))
    return build_model(params, Shape(size, classes), normalize, seed)


def test_the_toy_network_is_that_of_the_tutorial() -> None:
    """With the same weights, the tutorial's network gives the same logits for pixels in 0..1."""
    tutorial = nn.Sequential(
        nn.Conv2d(3, 32, kernel_size=5, stride=1, padding=2),
        nn.MaxPool2d(kernel_size=2),
        nn.Conv2d(32, 32, kernel_size=5, stride=1, padding=2),
        nn.MaxPool2d(kernel_size=2),
        nn.Conv2d(32, 64, kernel_size=5, stride=1, padding=2),
        nn.MaxPool2d(kernel_size=2),
        nn.Flatten(),
        nn.Linear(1024, 64),
        nn.Linear(64, 10),
    )
    images, model = make_split(4, size=32).images, _build(TOY)
    tutorial.load_state_dict(model.network.state_dict())

    assert sum(weight.numel() for weight in model.parameters()) == 145_578
    torch.testing.assert_close(model(images), tutorial(images / 255))


@pytest.mark.parametrize(("size", "classes"), [(8, 2), (16, 3), (40, 100)])
def test_the_toy_network_adapts(size: int, classes: int) -> None:
    """It accepts any size that can be halved three times, and any number of classes."""
    model = _build(TOY, size, classes)

    assert model(make_split(4, size=size).images).shape == (4, classes)


@pytest.mark.parametrize(
    ("params", "name", "size"),
    [
        (SPEEDRUN, "speedrun", 8),
        (Torchvision(name="torchvision", arch="vgg11"), "vgg11", 16),
        (Torchvision(name="torchvision", arch="densenet121"), "densenet121", 16),
        (Torchvision(name="torchvision", arch="squeezenet1_1"), "squeezenet1_1", 8),
    ],
)
def test_images_that_a_network_does_not_accept_are_refused(
    monkeypatch: pytest.MonkeyPatch, params: Speedrun | Torchvision, name: str, size: int
) -> None:
    """The message names the network, the size and the parameters to change."""
    _skip_initialization(monkeypatch)
    expected = rf"{name} .*{size} pixels.*prepare\.dataset\.size or train\.model"
    with pytest.raises(ToypipeError, match=expected):
        _build(params, size)


@pytest.mark.parametrize("params", [TOY, SMALL])
def test_weights_depend_on_the_seed_only(params: Toy | Torchvision) -> None:
    """A seed gives the same weights whatever was drawn before; another seed gives others."""
    first = _build(params, seed=1).state_dict()
    torch.manual_seed(99)
    again = _build(params, seed=1).state_dict()
    other = _build(params, seed=2).state_dict()

    assert all(torch.equal(again[name], value) for name, value in first.items())
    matrices = [name for name, value in first.items() if value.ndim > 1 and "network" in name]
    assert not any(torch.equal(other[name], first[name]) for name in matrices)


@pytest.mark.parametrize("params", [TOY, SMALL])
def test_building_leaves_the_global_generator_alone(params: Toy | Torchvision) -> None:
    """Building a network does not change torch's global generator."""
    before = torch.get_rng_state()
    _build(params)

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("params", [TOY, SMALL])
def test_a_new_network_is_ready_to_train(params: Toy | Torchvision) -> None:
    """It is in training mode and float32, in channels_last memory, with untouched batch norms."""
    model = _build(params)
    filters = [weight for weight in model.parameters() if weight.ndim == 4]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]

    assert all(module.training for module in model.modules())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in filters)
    assert all(norm.num_batches_tracked == 0 for norm in norms)


def test_normalizing_is_the_first_layer_but_learns_nothing() -> None:
    """A network accepts bytes, and its mean and deviation are not trained."""
    images = make_split(8, size=32).images
    normalize = build_normalize("standard", images)
    model: Any = build_model(TOY, Shape(32, 3), normalize, seed=0)

    assert torch.equal(model(images), model.network(normalize(images)))
    assert not any(name.startswith("normalize") for name, _ in model.named_parameters())


def _skip_initialization(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the initialization of weights: then even large ones need no memory and no time."""
    for name in dir(nn.init):
        if name.endswith("_") and not name.startswith("_"):
            monkeypatch.setattr(nn.init, name, lambda *_, **__: None)


def _accepts(name: str) -> bool:
    """Tell whether a network maps 32-pixel images to logits, in training and in evaluation."""
    try:
        with torch.device("meta"):
            model = torchvision.models.get_model(name, weights=None, num_classes=7)
    except RuntimeError:  # it computes with tensors when it is built
        model = torchvision.models.get_model(name, weights=None, num_classes=7).to("meta")
    images = torch.empty(4, 3, 32, 32, device="meta")
    try:
        with torch.inference_mode():
            outputs = [model.train()(images), model.eval()(images)]
    except (RuntimeError, ValueError, AssertionError):
        return False
    return all(isinstance(output, Tensor) and output.shape == (4, 7) for output in outputs)


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
def test_the_list_of_architectures_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has exactly the classifiers of torchvision that accept 32-pixel images."""
    _skip_initialization(monkeypatch)
    # It keeps the shape, but on the meta device it takes longer than everything else.
    monkeypatch.setattr(torch, "batch_norm", lambda inputs, *_: inputs)
    names = torchvision.models.list_models(module=torchvision.models)

    assert sorted(filter(_accepts, names)) == sorted(get_args(Arch))
