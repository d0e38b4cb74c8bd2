"""A trained network as a file that contains all that rebuilds it."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal

import torch
from pydantic import AfterValidator, Field, ValidationError
from torch import Tensor, nn

from toypipe.data.files import DAMAGED, load_archive, save_archive
from toypipe.data.split import are_names
from toypipe.errors import ToypipeError
from toypipe.networks.build import Shape, rebuild_model
from toypipe.params.schema import Model
from toypipe.params.section import Section, Width

FORMAT = 1


def _names(names: list[str]) -> list[str]:
    if not are_names(names):
        raise ValueError("these are no names of classes")
    return names


class Header(Section):
    """What a checkpoint holds besides its weights; the fields are those of `Classifier`."""

    format: Literal[1]
    model: Model
    size: Width
    classes: Annotated[list[str], Field(min_length=1), AfterValidator(_names)]


@dataclass(frozen=True)
class Classifier:
    """A network, and what its inputs and outputs mean."""

    model: nn.Module  # normalises uint8 images (N, 3, size, size), and maps to logits (N, classes)
    params: Model  # which network it is
    size: int  # width and height of its images, in pixels
    classes: list[str]  # the name of each output


def save_checkpoint(file: IO[bytes], classifier: Classifier) -> None:
    """Write a network, from any device, to an open file; equal networks give equal bytes."""
    content = {
        "format": FORMAT,
        "model": classifier.params.model_dump(),
        "size": classifier.size,
        "classes": classifier.classes,
        # Clones: `contiguous` would keep the strides of dimensions of size one.
        "weights": {
            name: tensor.cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in classifier.model.state_dict().items()
        },
    }
    save_archive(file, content)


def load_checkpoint(path: Path, device: torch.device) -> Classifier:
    """Rebuild a saved network on a device, in evaluation mode; no code in the file is run.

    Raises ToypipeError if the file is missing, damaged or something else.
    """
    remedy = "`toypipe train` (or `dvc repro train`) makes it"
    content = load_archive(path, remedy=remedy)
    version = content.get("format", FORMAT)
    if isinstance(version, int) and version != FORMAT:
        raise ToypipeError(
            f"{path} has format {version}, but this version of toypipe reads {FORMAT}:"
            f" {remedy} again"
        )
    try:
        weights = content.pop("weights")
        if not _have_memory(weights.values()):
            raise ValueError("weights without memory")
        header = Header.model_validate(content)
        model = rebuild_model(header.model, Shape(header.size, len(header.classes)), weights)
    except (*DAMAGED, ValidationError, ToypipeError):
        raise ToypipeError(f"{path} is not a toypipe checkpoint: {remedy} again") from None
    return Classifier(model.to(device).eval(), header.model, header.size, header.classes)


def _have_memory(tensors: Collection[Tensor]) -> bool:
    """Tell whether each number of these tensors has memory of its own.

    With strides of zero, or shared memory, a small file could claim any number of weights.
    """
    return all(
        (tensor.device.type, tensor.layout) == ("cpu", torch.strided) and tensor.is_contiguous()
        for tensor in tensors
    ) and len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == len(tensors)
