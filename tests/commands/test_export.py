"""The exported model gives torch's answers, and its file holds nothing else."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torchvision.models import ShuffleNetV2
from typer.testing import CliRunner

from stages.cli import app
from synthetic import ROOT, Network, make_network_params, make_split
from toypipe.commands import export
from toypipe.commands.onnx_model import LIBRARIES, OPSET, export_onnx
from toypipe.data.split import save_split
from toypipe.networks.build import Shape, build_model
from toypipe.networks.checkpoint import Classifier, save_checkpoint
from toypipe.networks.normalize import build_normalize
from toypipe.networks.whitening import fit_whitening

SPLIT = make_split(40, size=32)
MODEL = Path("data/model/model.onnx")


def make_classifier(name: Network = "toy") -> Classifier:
    """Return a network in evaluation mode whose batch norms have seen images."""
    params = make_network_params(name)
    normalize = build_normalize("standard", SPLIT.images)
    model = build_model(params, Shape(32, 3), normalize, seed=0)
    for part in model.modules():
        if isinstance(part, ShuffleNetV2):  # one unit per stage shows as much as all, and is faster
            del part.stage2[1:], part.stage3[1:], part.stage4[1:]
    fit_whitening(model, SPLIT.images)
    with torch.no_grad():
        model(SPLIT.images)
    return Classifier(model.eval(), params, 32, SPLIT.classes)


CLASSIFIER = make_classifier()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand where there are a network and test images."""
    monkeypatch.chdir(tmp_path)
    Path("data/model").mkdir(parents=True)
    Path("data/prepared").mkdir()
    with Path("data/model/checkpoint.pt").open("wb") as file:
        save_checkpoint(file, CLASSIFIER)
    with Path("data/prepared/test.pt").open("wb") as file:
        save_split(file, SPLIT)


def run(*arguments: str, status: int = 0) -> str:
    """Export in this process; return what it says."""
    result = CliRunner().invoke(app, ["export", *arguments], catch_exceptions=False)
    assert result.exit_code == status, result.stderr
    return result.stderr if status else result.stdout


@cache
def exported(name: Network) -> tuple[Classifier, bytes]:
    """Return a network and its ONNX model."""
    classifier = CLASSIFIER if name == "toy" else make_classifier(name)
    return classifier, export_onnx(classifier)


@pytest.mark.parametrize("name", ["toy", "speedrun", "resnet18", "shufflenet_v2_x0_5"])
def test_onnx_runtime_answers_as_torch_does(name: Network) -> None:
    """For one image and for many, from the bytes of the images, the logits are torch's."""
    classifier, model = exported(name)
    with torch.inference_mode():
        expected = classifier.model(SPLIT.images)

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for count in (1, 40):
        (found,) = session.run(None, {"images": SPLIT.images[:count].contiguous().numpy()})
        torch.testing.assert_close(torch.from_numpy(found), expected[:count], rtol=1e-4, atol=1e-4)


def test_the_file_says_what_it_takes_and_gives() -> None:
    """Inputs, outputs, classes, size and opset are in the file, and it is valid ONNX."""
    assert f"opset {OPSET}" in run("--format", "onnx")
    model = onnx.load(MODEL)
    onnx.checker.check_model(model, full_check=True)
    (images,), (logits,) = model.graph.input, model.graph.output

    assert _describe(images) == ("images", onnx.TensorProto.UINT8, ["N", 3, 32, 32])
    assert _describe(logits) == ("logits", onnx.TensorProto.FLOAT, ["N", 3])
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties.keys() == {"classes", "size", "opset"}
    assert json.loads(properties["classes"]) == SPLIT.classes
    assert (properties["size"], properties["opset"]) == ("32", str(OPSET))


def _describe(value: Any) -> tuple[str, int, list[str | int]]:
    kind = value.type.tensor_type
    shape = [axis.dim_param or axis.dim_value for axis in kind.shape.dim]
    return value.name, kind.elem_type, shape


def test_the_same_network_gives_the_same_bytes() -> None:
    """Another process, with other hashes of strings, writes the same bytes, without any path."""
    command = [sys.executable, "-m", "stages", "export"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    subprocess.run(command, env=environment, check=True)

    content = exported("toy")[1]
    assert MODEL.read_bytes() == content
    for word in (str(ROOT), sys.prefix, "toypipe", torch.__version__):
        assert word.encode() not in content


@pytest.mark.parametrize("difference", [2e-4, float("nan")])
def test_a_model_that_answers_otherwise_is_not_written(
    difference: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If ONNX Runtime differs from torch, an error says so and the old file stays."""
    MODEL.write_bytes(b"before")
    monkeypatch.setattr(export, "export_onnx", lambda _: exported("toy")[1])
    monkeypatch.setattr(export, "largest_difference", lambda *_: difference)

    message = run(status=2)
    assert f"{difference:.1g}" in message
    assert "not written" in message
    assert MODEL.read_bytes() == b"before"
    assert sorted(path.name for path in MODEL.parent.iterdir()) == ["checkpoint.pt", MODEL.name]


def test_a_wrong_model_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is real: the model of other weights is refused."""
    other = make_classifier()
    for parameter in other.model.parameters():
        parameter.data *= 1.5
    with Path("data/model/checkpoint.pt").open("wb") as file:
        save_checkpoint(file, other)
    monkeypatch.setattr(export, "export_onnx", lambda _: exported("toy")[1])

    assert "not written" in run(status=2)
    assert not MODEL.exists()


def test_without_test_images_random_ones_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison takes test images that fit the network, otherwise noise."""
    monkeypatch.setattr(export, "export_onnx", lambda _: exported("toy")[1])
    assert "40 test images" in run()
    with Path("data/prepared/test.pt").open("wb") as file:
        save_split(file, make_split(4, size=16))
    assert "random images" in run()
    Path("data/prepared/test.pt").unlink()
    assert "random images" in run()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_missing_library_is_named_in_one_line(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says how to install the extra libraries and keep the editable install."""
    monkeypatch.setitem(sys.modules, library, None)

    message = run(status=2)
    assert message.startswith(f"error: export needs {library}, which is not installed: ")
    assert message.endswith(": pip install -e '.[export]'\n")
    assert message.count("\n") == 1
    assert not MODEL.exists()


def test_a_network_too_large_for_the_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX file holds 2 GiB: the message comes before protobuf's error."""
    monkeypatch.setattr("toypipe.commands.onnx_model.LARGEST", 100_000)
    assert "train.model.arch" in run(status=2)
    assert not MODEL.exists()


def test_git_and_dvc_do_not_know_the_file() -> None:
    """The file can be made again from the checkpoint, so nobody needs to keep it."""
    command = ["git", "check-ignore", "--quiet", MODEL.as_posix()]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert MODEL.name not in (ROOT / "dvc.yaml").read_text()
