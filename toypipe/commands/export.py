"""Command `export`: the network as a file for other programs, if it gives the same answers."""

import sys
from pathlib import Path

import torch
from torch import Tensor

from toypipe.commands.onnx_model import OPSET, export_onnx, largest_difference
from toypipe.compute.devices import pick_device
from toypipe.compute.memory import load_or_open
from toypipe.data.files import whole
from toypipe.errors import ToypipeError, printable
from toypipe.networks.checkpoint import Classifier, load_checkpoint
from toypipe.pipeline.record import changed_outputs

TEST_IMAGES = Path("data/prepared/test.pt")
TOLERANCE = 1e-4  # of a probability; the rounding of float32 stays far below it
IMAGES = 1000  # test images to compare on, at most
NOISE = 32  # random images to compare on, without test images


def run(*, checkpoint: Path, output: Path) -> str:
    """Write the network as ONNX once ONNX Runtime agrees with torch; return a sentence about it.

    Raises ToypipeError if a library or the checkpoint is missing, or the answers differ.
    """
    classifier = load_checkpoint(checkpoint, pick_device("cpu"))
    model = export_onnx(classifier)
    images, described = _images(classifier)
    difference = largest_difference(model, classifier, images)
    if not difference <= TOLERANCE:  # also true for not a number
        raise ToypipeError(
            f"the probabilities of ONNX Runtime and torch differ by {difference:.1g} on"
            f" {described}, but at most {TOLERANCE:g} is allowed: {output} is not written. Try"
            " other versions of onnx, onnxscript and onnxruntime"
        )
    if checkpoint.as_posix() in changed_outputs("train"):
        print(printable(f"{checkpoint} is not what dvc.lock records"), file=sys.stderr)
    with whole(output) as file:
        file.write(model)
    return (
        f"ONNX, opset {OPSET}, in {output}; on {described} its probabilities differ from torch's"
        f" by at most {difference:.1g}"
    )


def _images(classifier: Classifier) -> tuple[Tensor, str]:
    """Return test images if they are there and fit the network, otherwise random ones."""
    if TEST_IMAGES.exists():
        images = load_or_open(TEST_IMAGES).images[:IMAGES]
        if images.shape[-1] == classifier.size and len(images) > 1:
            return images, f"{len(images):,} test images"
    shape = (NOISE, 3, classifier.size, classifier.size)
    noise = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
    return noise.to(torch.uint8), f"{NOISE} random images"
