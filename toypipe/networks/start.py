"""Start from what was learned before: a checkpoint's weights, or torchvision's of ImageNet."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from toypipe.data.download import ask_size, download, has_digest
from toypipe.errors import ToypipeError
from toypipe.networks.checkpoint import load_checkpoint
from toypipe.networks.normalize import Normalize
from toypipe.params.architectures import Arch

PUBLISHED = "IMAGENET1K_V1"
"""Which of torchvision's weights: every architecture but one has these, and they never change.

The later ones of some are more accurate on ImageNet, by label smoothing and mixup, which make
features that serve other images less well (Kornblith et al., "Why Do Better Loss Functions Lead to
Less Transferable Features?", 2021).
"""
SHOWN = 3  # weights that do not fit, to list; the others are counted


class Learned(NamedTuple):
    """What a network has learned."""

    weights: dict[str, Tensor]  # on the CPU, by their names in the networks of `build_model`
    classes: list[str]  # the name of each output


def learned_in(checkpoint: Path) -> Learned:
    """Read a checkpoint; ToypipeError if it is missing, damaged or something else."""
    classifier = load_checkpoint(checkpoint, torch.device("cpu"))
    return Learned(classifier.model.state_dict(), classifier.classes)


def imagenet_url(arch: Arch) -> str:
    """Return where torchvision publishes weights; the file's name ends with digits of its sha256.

    Source: https://docs.pytorch.org/vision/stable/models.html
    """
    from torchvision.models import get_model_weights

    url: str = get_model_weights(arch)[PUBLISHED].url
    return url


def learned_on_imagenet(
    arch: Arch,
    folder: Path,
    watch: Callable[[Iterator[int], int], Iterator[int]] = lambda arrived, _: arrived,
) -> Learned:
    """Read torchvision's weights from a folder, where they are downloaded if they are not there.

    `watch` passes on how many bytes have arrived, of how many. Raises ToypipeError if they are
    neither there, with the right checksum, nor can be downloaded.
    """
    from torchvision.models import get_model_weights

    url = imagenet_url(arch)
    path = folder / url.rpartition("/")[2]
    digest = f"sha256 {path.stem.rpartition('-')[2]}"
    if not has_digest(path, digest):
        try:
            size = ask_size(url)
            for _ in watch(download([url], path, size=size, digest=digest), size):
                pass
        except ToypipeError as error:
            found = f"{path} has not the {digest}" if path.exists() else f"there is no {path}"
            raise ToypipeError(
                f"{found} of torchvision's weights, and it could not be downloaded:",
                *error.args,
                f"Try again, which resumes the download; or put the file there, from {url}",
            ) from None
    state = torch.load(path, weights_only=True, map_location="cpu")
    published = get_model_weights(arch)[PUBLISHED]
    images = published.transforms()
    normalize = Normalize(torch.tensor(images.mean), torch.tensor(images.std))
    # The files of densenet have names from before torch 0.4, with one more dot.
    old = re.compile(r"(?<=denselayer)(\d+\.(?:norm|relu|conv))\.(?=[12]\.)")
    weights = {"network." + old.sub(r"\1", name): value for name, value in state.items()}
    weights |= {f"normalize.{name}": value for name, value in normalize.state_dict().items()}
    return Learned(weights, published.meta["categories"])


def start_from(model: nn.Module, learned: Learned, classes: list[str]) -> None:
    """Give a network of `build_model`, in place, the weights and normalisation of another.

    The last layer keeps its own first weights, unless the classes are the same in the same order.
    Raises ToypipeError if another layer does not fit; the message names it.
    """
    own, fresh = (
        model.state_dict(),
        () if learned.classes == classes else (last_layer(model) + ".",),
    )
    taken = {name: w for name, w in learned.weights.items() if not name.startswith(fresh)}
    misfits = []
    for name in own | taken:
        theirs, ours = (list(w[name].shape) if name in w else None for w in (taken, own))
        # Files from before torch 0.4.1 have no counters of batches, which no network here reads.
        if theirs != ours and not name.startswith(fresh) and "num_batches_tracked" not in name:
            misfits.append(f"{name} is {theirs or 'missing'}, and here {ours or 'unknown'}")
    if misfits:
        more = f" and {len(misfits) - SHOWN} more" if len(misfits) > SHOWN else ""
        raise ToypipeError(
            f"these weights do not fit the network: {'; '.join(misfits[:SHOWN])}{more}. They must"
            " be of the same train.model, and for toy of the same image size"
        )
    own.update(taken)
    model.load_state_dict(own)


def last_layer(model: nn.Module) -> str:
    """Return the name of the layer that computes the logits; its weights are named after it."""
    kinds = (nn.Linear, nn.Conv2d)
    names: list[str] = [name for name, layer in model.named_modules() if isinstance(layer, kinds)]
    return names[-1]
