"""Command `export`: the network as a file for other programs, once it gives the same answers."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from toypipe.commands.onnx_model import OPSET, export_onnx, largest_difference, require_libraries
from toypipe.compute.devices import pick_device
from toypipe.data.files import whole
from toypipe.data.split import load_split
from toypipe.errors import ToypipeError
from toypipe.networks.checkpoint import Classifier, load_checkpoint
from toypipe.pipeline.stage import Reads, Writes

TOLERANCE = 1e-4  # of a probability; float32 in another order of adding up stays far below
IMAGES = 1000  # to compare on, at most
NOISE = 32  # random images, where there are no test images


class Exported(NamedTuple):
    """What was written, and how well it was checked."""

    opset: int
    """Version of ONNX's operators."""
    images: str
    """What torch and ONNX Runtime were compared on, in words."""
    difference: float
    """The largest difference of a probability between the two, 0..1."""


def run(
    *,
    checkpoint: Reads = Path("data/model/checkpoint.pt"),
    test_images: Reads = Path("data/prepared/test.pt"),
    output: Writes = Path("data/model/model.onnx"),
) -> Exported:
    """Write the network as ONNX.

    Args:
        checkpoint: The network.
        test_images: What to compare on; random images, if it is not there or of another size.
        output: Where the model goes. Nothing is written before its answers are compared.

    Raises:
        ToypipeError: A library is missing, the checkpoint is, or the answers differ.
    """
    require_libraries()
    classifier = load_checkpoint(checkpoint, pick_device("cpu"))
    model = export_onnx(classifier)
    images, described = _images(classifier, test_images)
    difference = largest_difference(model, classifier, images)
    if not difference <= TOLERANCE:  # not a number is a difference, too
        raise ToypipeError(
            f"ONNX Runtime and torch differ by {difference:.1g} in a probability, on {described},"
            f" where {TOLERANCE:g} is allowed: {output} is not written. Other versions of onnx,"
            " onnxscript and onnxruntime may agree"
        )
    with whole(output) as file:
        file.write(model)
    return Exported(OPSET, described, difference)


def _images(classifier: Classifier, test_images: Path) -> tuple[Tensor, str]:
    if test_images.exists():
        images = load_split(test_images).images[:IMAGES]
        if images.shape[-1] == classifier.size and len(images) > 1:
            return images, f"{len(images):,} test images"
    shape = (NOISE, 3, classifier.size, classifier.size)
    noise = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0))
    return noise.to(torch.uint8), f"{NOISE} random images"
