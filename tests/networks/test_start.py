"""A network starts from learned weights; torchvision itself says what those of ImageNet do."""

import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import densenet, get_model_weights

from imagenet import publish, serve
from synthetic import Network, make_network_params, make_split
from toypipe.data import download
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, build_model
from toypipe.networks.checkpoint import Classifier, save_checkpoint
from toypipe.networks.normalize import Normalize, build_normalize
from toypipe.networks.start import (
    Learned,
    imagenet_url,
    last_layer,
    learned_in,
    learned_on_imagenet,
    start_from,
)
from toypipe.params.architectures import WITHOUT_WEIGHTS, Arch

CLASSES = ["cat", "dog", "toy"]
IMAGES = make_split(4, size=64).images
THOUSAND = get_model_weights("resnet18")["IMAGENET1K_V1"].meta["categories"]
FAMILIES: list[Network] = [
    *("toy", "speedrun", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s"),
    *("mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18"),
    *("resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11"),
]


def build(name: Network, size: int = 32, classes: int = 3, seed: int = 0) -> Any:
    """Return a network before its training, in evaluation mode."""
    normalize = Normalize(torch.zeros(3), torch.ones(3))
    return build_model(make_network_params(name), Shape(size, classes), normalize, seed).eval()


def learned(name: Network, size: int = 32) -> Learned:
    """Return what another network of the kind has learned: the weights of another seed."""
    model = build(name, size, seed=1)
    model.normalize = build_normalize("standard", IMAGES)
    return Learned(model.state_dict(), CLASSES)


def same_but(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    """Return the names of the weights that differ."""
    return {name for name, weight in first.items() if not torch.equal(weight, second[name])}


# from any network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_layer_computes_the_logits(name: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every family of networks, the layer that is found has one output a class."""
    for init in dir(nn.init):
        if init.endswith("_") and not init.startswith("_"):
            monkeypatch.setattr(nn.init, init, lambda *_, **__: None)
    model = build(name, size=64, classes=37)
    model(IMAGES).sum().backward()
    layer = model.get_submodule(last_layer(model))

    assert len(layer.weight) == 37
    assert layer.weight.grad is not None


@pytest.mark.parametrize("name", ["speedrun", "squeezenet1_1", "shufflenet_v2_x0_5"])
def test_all_but_the_last_layer_is_taken_for_other_classes(name: Network) -> None:
    """The normalisation too; the last layer has the weights of its own seed."""
    model, before, source = build(name), build(name).state_dict(), learned(name)
    start_from(model, source, [*CLASSES[1:], CLASSES[0]])
    after, head = model.state_dict(), last_layer(model)

    fresh = same_but(after, source.weights)
    assert fresh
    assert all(name.startswith(f"{head}.") for name in fresh)
    assert not same_but({name: after[name] for name in fresh}, before)


def test_the_last_layer_is_taken_for_the_same_classes() -> None:
    """The network then is the other one, to the bit."""
    model, source = build("squeezenet1_1"), learned("squeezenet1_1")
    start_from(model, source, CLASSES)

    assert not same_but(model.state_dict(), source.weights)


def test_a_network_may_have_learned_from_images_of_another_size() -> None:
    """Where the weights do not depend on the size."""
    model, source = build("speedrun", size=16), learned("speedrun", size=32)
    start_from(model, source, CLASSES)

    assert not same_but(model.state_dict(), source.weights)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (learned("toy", size=16), r"network\.7\.weight is \[64, 256\], and here \[64, 1024\]\. "),
        (learned("speedrun"), r"network\.0\.weight .*; .*; .* and \d+ more\."),
        (Learned({}, ["other"]), r"normalize\.scale is missing, and here \[1, 3, 1, 1\]; "),
        (
            Learned({**learned("toy").weights, "network.99.weight": torch.zeros(2)}, CLASSES),
            r"network\.99\.weight is \[2\], and here unknown",
        ),
    ],
)
def test_layers_that_do_not_fit_are_named(source: Learned, named: str) -> None:
    """With both shapes, and the parameter to change; the network is as it was."""
    model = build("toy")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(ToypipeError, match=rf"do not fit .*{named}.*train\.model"):
        start_from(model, source, ["another"])

    assert not same_but(model.state_dict(), before)


def test_a_checkpoint_is_read_with_its_classes(tmp_path: Path) -> None:
    """All weights and the names of the outputs."""
    model = build("speedrun", seed=1)
    path = tmp_path / "checkpoint.pt"
    with path.open("wb") as file:
        save_checkpoint(file, Classifier(model, make_network_params("speedrun"), 32, CLASSES))
    found = learned_in(path)

    assert not same_but(found.weights, model.state_dict())
    assert found.classes == CLASSES


# from ImageNet ------------------------------------------------------------------------------------


def test_the_table_says_for_which_architectures_torchvision_has_weights() -> None:
    """And the name of each file ends with at least eight digits of its checksum."""
    catalogue = {arch: get_model_weights(arch).__members__ for arch in get_args(Arch)}

    assert {arch for arch in catalogue if "IMAGENET1K_V1" not in catalogue[arch]} == WITHOUT_WEIGHTS
    for arch in catalogue.keys() - WITHOUT_WEIGHTS:
        assert re.fullmatch(r"https://.+-[0-9a-f]{8,}\.pth", imagenet_url(arch))


@pytest.mark.parametrize(
    ("arch", "zipped"),
    [("squeezenet1_1", False), ("shufflenet_v2_x0_5", True), ("mnasnet0_5", False)],
)
def test_published_weights_compute_what_torchvision_computes(
    arch: Arch, zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the thousand classes, of the same file: the same logits from normalised pixels."""
    path = publish(tmp_path / "served", arch, monkeypatch, zipped=zipped)
    arrived: list[tuple[int, int]] = []
    with serve(path, arch, monkeypatch):
        source = learned_on_imagenet(
            arch,
            tmp_path / "raw",
            lambda counts, size: (arrived.append((n, size)) or n for n in counts),  # type: ignore[func-returns-value]
        )
    model = build(arch, size=64, classes=1000)
    start_from(model, source, THOUSAND)
    theirs = torchvision.models.get_model(arch).eval()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    pixels = get_model_weights(arch)["IMAGENET1K_V1"].transforms(crop_size=64, resize_size=64)

    torch.testing.assert_close(model(IMAGES), theirs(pixels(IMAGES)))
    assert (tmp_path / "raw" / path.name).read_bytes() == path.read_bytes()
    assert arrived[-1] == (path.stat().st_size, path.stat().st_size)


def test_the_old_names_of_densenet_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every weight has the value that a reader of torchvision gives it."""
    path = publish(tmp_path, "densenet121", monkeypatch)
    source = learned_on_imagenet("densenet121", tmp_path)
    theirs = torchvision.models.densenet121()
    state = torch.load(path, weights_only=True)
    weights: Any = SimpleNamespace(get_state_dict=lambda **_: state)
    densenet._load_state_dict(theirs, weights, progress=False)  # noqa: SLF001

    model = build("densenet121", size=64, classes=1000)
    start_from(model, source, THOUSAND)
    assert not same_but(model.network.state_dict(), theirs.state_dict())


def test_weights_that_lie_there_need_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing answers at the address that the catalogue has."""
    publish(tmp_path, "squeezenet1_1", monkeypatch)
    model = build("squeezenet1_1", size=64)
    start_from(model, learned_on_imagenet("squeezenet1_1", tmp_path), CLASSES)

    assert model(IMAGES).shape == (4, 3)


def test_weights_that_are_nowhere_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has the address, and where to put the file."""
    monkeypatch.setenv("no_proxy", "*")
    path = publish(tmp_path / "served", "squeezenet1_1", monkeypatch)
    here = tmp_path / "raw" / path.name
    with pytest.raises(ToypipeError) as caught:
        learned_on_imagenet("squeezenet1_1", tmp_path / "raw")
    first, reason, last = str(caught.value).splitlines()

    assert first == f"there is no {here} of torchvision's weights, and it could not be downloaded:"
    assert "refused" in reason
    assert last.endswith(f"or put the file there, from http://127.0.0.1:9/{path.name}")


@pytest.mark.parametrize("served", [True, False])
def test_weights_with_a_wrong_checksum_are_refused(
    served: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that lie there, and those that arrive; what lay there stays."""
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setenv("no_proxy", "*")
    path = publish(tmp_path / "served", "squeezenet1_1", monkeypatch)
    here = tmp_path / "raw" / path.name
    here.parent.mkdir()
    here.write_bytes(b"damaged")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    digest = f"sha256 {path.stem[-8:]}"
    server = serve(path, "squeezenet1_1", monkeypatch) if served else nullcontext()
    with server, pytest.raises(ToypipeError) as caught:
        learned_on_imagenet("squeezenet1_1", here.parent)

    assert str(caught.value).startswith(f"{here} has not the {digest} of torchvision's weights, ")
    assert (f"not those with {digest}" in str(caught.value)) == served
    assert here.read_bytes() == b"damaged"


def test_damaged_weights_are_downloaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a damaged archive of images is."""
    path = publish(tmp_path / "served", "squeezenet1_1", monkeypatch)
    here = tmp_path / "raw" / path.name
    here.parent.mkdir()
    here.write_bytes(b"damaged")
    with serve(path, "squeezenet1_1", monkeypatch):
        learned_on_imagenet("squeezenet1_1", here.parent)

    assert here.read_bytes() == path.read_bytes()
