"""Checkpoints: complete, safe to open, the same bytes for the same network."""

import io
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from synthetic import BAD_NAMES, Network, make_network_params, make_split
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, build_model
from toypipe.networks.checkpoint import Classifier, load_checkpoint, save_checkpoint
from toypipe.networks.normalize import build_normalize
from toypipe.networks.whitening import fit_whitening

CPU = torch.device("cpu")
CLASSES = ["cat", "dog", "toy"]
IMAGES = make_split(8, size=32).images


def _classifier(name: Network = "toy", seed: int = 0) -> Classifier:
    params = make_network_params(name)
    normalize = build_normalize("standard", IMAGES)
    model = build_model(params, Shape(32, 3), normalize, seed)
    fit_whitening(model, IMAGES)
    model(IMAGES)  # so that batch norm has seen images, as after a training
    return Classifier(model, params, 32, CLASSES)


def _bytes(classifier: Classifier) -> bytes:
    file = io.BytesIO()
    save_checkpoint(file, classifier)
    return file.getvalue()


def _saved(path: Path, classifier: Classifier) -> Path:
    path.write_bytes(_bytes(classifier))
    return path


@pytest.mark.parametrize(
    "name",
    ["toy", "speedrun", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "regnet_y_400mf"],
)
def test_a_checkpoint_rebuilds_the_network(tmp_path: Path, name: Network) -> None:
    """The file alone gives the same logits, size, classes and parameters."""
    classifier = _classifier(name)
    loaded = load_checkpoint(_saved(tmp_path / "checkpoint.pt", classifier), CPU)

    with torch.inference_mode():
        assert torch.equal(loaded.model(IMAGES), classifier.model.eval()(IMAGES))
    assert (loaded.params, loaded.size, loaded.classes) == (classifier.params, 32, CLASSES)
    fixed = {n for n, weight in classifier.model.named_parameters() if not weight.requires_grad}
    assert {n for n, weight in loaded.model.named_parameters() if not weight.requires_grad} == fixed


@pytest.mark.parametrize("name", ["toy", "speedrun", "shufflenet_v2_x0_5", "mnasnet0_5"])
def test_saving_what_was_loaded_gives_the_same_bytes(tmp_path: Path, name: Network) -> None:
    """Loading and saving again gives the same bytes."""
    path = _saved(tmp_path / "checkpoint.pt", _classifier(name))

    assert _bytes(load_checkpoint(path, CPU)) == path.read_bytes()


def test_a_loaded_network_is_ready_to_evaluate(tmp_path: Path) -> None:
    """It is in evaluation mode, so a call does not change its statistics."""
    loaded = load_checkpoint(_saved(tmp_path / "checkpoint.pt", _classifier()), CPU)

    assert not any(module.training for module in loaded.model.modules())


def test_a_checkpoint_is_plain_data(tmp_path: Path) -> None:
    """torch.load with weights_only reads it, without toypipe."""
    classifier = _classifier()
    path = _saved(tmp_path / "checkpoint.pt", classifier)
    content = torch.load(path, weights_only=True)

    assert content["format"] == 1
    assert content["model"] == {"name": "toy"}
    assert content["size"] == 32
    assert content["classes"] == CLASSES
    weights = classifier.model.state_dict()
    assert list(content["weights"]) == list(weights)
    assert all(torch.equal(content["weights"][name], value) for name, value in weights.items())


def test_equal_networks_give_equal_bytes(tmp_path: Path) -> None:
    """Under two file names the bytes are the same; another seed gives other bytes."""
    for name in ("one.pt", "another.pt"):
        with (tmp_path / name).open("wb") as file:
            save_checkpoint(file, _classifier())
    one = (tmp_path / "one.pt").read_bytes()

    assert (tmp_path / "another.pt").read_bytes() == one
    assert _bytes(_classifier(seed=1)) != one


def test_equal_names_are_saved_alike() -> None:
    """Equal class names give equal bytes, whichever string objects they are."""
    classifier = _classifier()
    names = ["".join(list(name)) for name in CLASSES]
    same = Classifier(classifier.model, classifier.params, 32, names)

    assert _bytes(same) == _bytes(classifier)


@pytest.mark.parametrize("name", ["toy", "speedrun", "shufflenet_v2_x0_5"])
def test_the_layout_of_memory_is_not_in_a_checkpoint(name: Network) -> None:
    """Weights in another memory layout give the same bytes."""
    classifier = _classifier(name)
    before = _bytes(classifier)
    classifier.model.to(memory_format=torch.contiguous_format)

    assert _bytes(classifier) == before


def test_saving_leaves_the_network_as_it_was() -> None:
    """Its weights stay in channels_last memory, and it stays in training mode."""
    classifier = _classifier()
    _bytes(classifier)

    filters = [weight for weight in classifier.model.parameters() if weight.ndim == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in filters)
    assert classifier.model.training


def test_a_missing_checkpoint_says_what_makes_it(tmp_path: Path) -> None:
    """The message names the file and both commands."""
    expected = r"checkpoint\.pt does not exist.*toypipe train.*dvc repro train"
    with pytest.raises(ToypipeError, match=expected):
        load_checkpoint(tmp_path / "checkpoint.pt", CPU)


GOOD = _bytes(_classifier())


CONTENT: dict[str, Any] = torch.load(io.BytesIO(GOOD), weights_only=True)
WEIGHTS: dict[str, Any] = CONTENT["weights"]
FIRST = WEIGHTS["network.0.weight"]


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        torch.zeros(3),
        make_split(4).__dict__,
        *({key: CONTENT[key] for key in CONTENT if key != missing} for missing in CONTENT),
        CONTENT | {"model": {"name": "toy", "depth": 3}},
        CONTENT | {"model": {"name": "torchvision", "arch": "resnet19"}},
        CONTENT | {"model": {"name": "torchvision", "arch": "squeezenet1_1"}},
        CONTENT | {"size": 40},
        CONTENT | {"size": 4},
        CONTENT | {"size": 10**9},
        CONTENT | {"size": "32"},
        CONTENT | {"classes": CLASSES[:2]},
        CONTENT | {"classes": 3},
        *(CONTENT | {"classes": ["cat", "dog", name]} for name in BAD_NAMES),
        CONTENT | {"weights": {}},
        CONTENT | {"weights": [1, 2]},
        CONTENT | {"weights": WEIGHTS | {"network.0.weight": torch.zeros(3)}},
        CONTENT | {"weights": WEIGHTS | {"network.0.weight": "zero"}},
        CONTENT | {"weights": WEIGHTS | {"network.99.weight": torch.zeros(3)}},
        CONTENT | {"weights": WEIGHTS | {"network.0.weight": FIRST.to_sparse()}},
        CONTENT | {"weights": WEIGHTS | {"network.0.weight": FIRST.to("meta")}},
        CONTENT | {"weights": WEIGHTS | {"network.0.weight": FIRST[:1, :1].expand(FIRST.shape)}},
        CONTENT | {"weights": WEIGHTS | {"network.2.bias": WEIGHTS["network.0.bias"]}},
        CONTENT | {"weights": WEIGHTS | {"network.0.weight": FIRST.int()}},
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: object) -> None:
    """A file that torch can read but that is not a network of toypipe is refused."""
    path = tmp_path / "checkpoint.pt"
    torch.save(content, path)
    with pytest.raises(ToypipeError, match=r"checkpoint\.pt .*toypipe train"):
        load_checkpoint(path, CPU)


def _peak() -> float:
    """Return the most memory that this process has had, in MB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1000


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is found in /proc")
@pytest.mark.parametrize(
    "claim",
    [
        {
            "model": {
                "name": "speedrun",
                "channels": [1024] * 6,
                "kernels": [3] * 6,
                "whitening": True,
                "identity": True,
            }
        },
        {"model": {"name": "torchvision", "arch": "regnet_y_128gf"}},
        {"model": {"name": "torchvision", "arch": "vgg19"}, "size": 1024},
        {"size": 1024},
        {"classes": [str(i) for i in range(10_000)]},
    ],
)
def test_a_small_file_of_a_large_network_takes_no_memory(
    tmp_path: Path, claim: dict[str, Any]
) -> None:
    """A network of gigabytes is refused before it is built."""
    path = tmp_path / "checkpoint.pt"
    torch.save(CONTENT | claim, path)
    before = _peak()
    with pytest.raises(ToypipeError, match=r"checkpoint\.pt .*toypipe train"):
        load_checkpoint(path, CPU)
    assert _peak() - before < 100


def test_a_pickled_network_is_refused(tmp_path: Path) -> None:
    """A file that holds a module, and so code, is refused."""
    path = tmp_path / "checkpoint.pt"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(ToypipeError, match=r"checkpoint\.pt .*toypipe train"):
        load_checkpoint(path, CPU)


@pytest.mark.parametrize("number", [0, 2])
def test_another_format_is_refused(tmp_path: Path, number: int) -> None:
    """The message names the format of the file and the supported one."""
    path = tmp_path / "checkpoint.pt"
    torch.save(CONTENT | {"format": number}, path)
    expected = rf"checkpoint\.pt has format {number}, .*reads 1.*toypipe train"
    with pytest.raises(ToypipeError, match=expected):
        load_checkpoint(path, CPU)


class _Mischief:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [False, True])
def test_code_in_a_file_is_not_run(tmp_path: Path, zipped: bool) -> None:
    """A pickle that would run code when it is read is refused, and does not run it."""
    path, trace = tmp_path / "checkpoint.pt", tmp_path / "trace"
    if zipped:
        torch.save(CONTENT | {"size": _Mischief(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(_Mischief(trace), protocol=2))
    with pytest.raises(ToypipeError, match=r"checkpoint\.pt .*toypipe train"):
        load_checkpoint(path, CPU)

    assert not trace.exists()
