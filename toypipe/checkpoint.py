"""A trained network as a file that can open itself."""

import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import nn

from toypipe.errors import ToypipeError
from toypipe.models import Shape, build_model
from toypipe.normalize import Normalize
from toypipe.params import Torchvision, Toy

FORMAT = 1
_MODEL: TypeAdapter[Toy | Torchvision] = TypeAdapter(
    Annotated[Toy | Torchvision, Field(discriminator="name")]
)


@dataclass(frozen=True)
class Classifier:
    """A network, and what its inputs and outputs mean."""

    model: nn.Module
    """From uint8 images (N, 3, size, size) to logits (N, classes); it normalises them."""
    params: Toy | Torchvision
    """Which network it is."""
    size: int
    """Width and height of its images, in pixels."""
    classes: list[str]
    """The name of each output."""


def save_checkpoint(file: IO[bytes], classifier: Classifier) -> None:
    """Write a network with all that rebuilds it; the bytes depend on the contents only.

    Args:
        file: An open file. By a path, torch would write the file's name into it.
        classifier: On any device.
    """
    weights = classifier.model.state_dict().items()
    content = {
        "format": FORMAT,
        "model": classifier.params.model_dump(),
        "size": classifier.size,
        "classes": classifier.classes,
        "weights": {name: tensor.cpu().contiguous() for name, tensor in weights},
    }
    torch.save(_interned(content), file)


def load_checkpoint(path: Path, device: torch.device) -> Classifier:
    """Rebuild a saved network, in evaluation mode.

    Args:
        path: What `save_checkpoint` wrote. No code in it is run.
        device: Where to put the network.

    Raises:
        ToypipeError: The file is missing, damaged or something else.
    """
    make = "`toypipe train` (or `dvc repro train`) makes it"
    try:
        with path.open("rb") as file:
            content = torch.load(file, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise ToypipeError(f"{path} does not exist: {make}") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        raise ToypipeError(f"{path} is damaged, or is no checkpoint of ours: {make} anew") from None
    try:
        if content["format"] != FORMAT:
            raise ToypipeError(
                f"{path} has format {content['format']}, and this version reads {FORMAT}:"
                f" {make} anew"
            )
        params = _MODEL.validate_python(content["model"])
        shape = Shape(content["size"], len(content["classes"]))
        model = build_model(params, shape, Normalize(torch.zeros(3), torch.ones(3)), seed=0)
        model.load_state_dict(content["weights"])
    except (KeyError, TypeError, AttributeError, RuntimeError, ValidationError):
        raise ToypipeError(f"{path} is not a checkpoint of toypipe: {make} anew") from None
    return Classifier(model.to(device).eval(), params, content["size"], content["classes"])


def _interned(value: Any) -> Any:
    """Make equal strings one object: pickle writes a repeated object shorter than an equal one."""
    match value:
        case dict():
            return {_interned(key): _interned(item) for key, item in value.items()}
        case list():
            return [_interned(item) for item in value]
        case str():
            return sys.intern(value)
        case _:
            return value
