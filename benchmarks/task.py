"""What every contender trains: the same network, from the same start, on the same images in order.

Each is given a fresh network that notes when it is called; that is all the stopwatch there is, so
it runs the same for a plain loop and within a framework.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from toypipe.data.split import Split, load_split
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import Normalize
from toypipe.params.schema import Augment, Toy
from toypipe.training.batches import Batches

LEARNING_RATE = 0.01
SEED = 0
PLAIN = Augment(flip="none", translate=0, crop=1.0, cutout=0, mixup=0.0)
WARM_UP = 4  # a quarter of the steps


@dataclass
class Task:
    """One epoch of the toy network by plain SGD, cross entropy, learning rate 0.01."""

    split: Split
    """The images, on the device."""
    batch_size: int
    """It divides their number."""
    model: nn.Module = field(init=False)
    """The network as toypipe builds it, from uint8 images; on the device."""
    marks: list[float] = field(default_factory=list)
    """When each step began, in seconds of time.time(), and at last when all was over."""

    def __post_init__(self) -> None:
        """Build the network, the same for everybody."""
        shape = Shape(self.split.size, len(self.split.classes))
        normalize = Normalize(torch.zeros(3), torch.ones(3))
        self.model = build_model(Toy(name="toy"), shape, normalize, SEED).to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.split.images.device

    @property
    def steps(self) -> int:
        """How many there are in the epoch."""
        return len(self.split) // self.batch_size

    def network(self, *, best: bool) -> nn.Module:
        """Return the network that takes pixels as 0..1, which notes when it is called.

        Args:
            best: In channels_last memory, else as torch.nn makes it.
        """
        network = self.model.get_submodule("network")
        network.to(memory_format=torch.channels_last if best else torch.contiguous_format)
        network.register_forward_pre_hook(lambda *_: self.mark())
        return network

    def mark(self) -> None:
        """Note the time; when the timed part begins, after all that the device was given before."""
        if self.device.type == "cuda" and len(self.marks) == self.steps // WARM_UP:
            torch.cuda.synchronize()
        self.marks.append(time.time())

    def end(self) -> None:
        """Note that all is done, on the device too."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.mark()

    def order(self) -> list[int]:
        """Return the order in which toypipe takes the images."""
        count = len(self.split)
        batches = Batches(Split(self.split.images.cpu(), torch.arange(count), []), PLAIN, SEED)
        batches.start(0)
        order: list[int] = batches.take(count)[1].tolist()
        return order

    def loader(self, *, best: bool, **options: Any) -> DataLoader[Any]:
        """Return torch's loader over the images, in the common order.

        Args:
            best: Whole batches are taken from one tensor (`__getitems__`, as torch's
                documentation has it); else each image goes the tutorial's way, by PIL and ToTensor.
            options: More of DataLoader's own.
        """
        split = self.split.to(torch.device("cpu"))
        if best:
            options |= {"collate_fn": lambda batch: batch, "pin_memory": self.device.type != "cpu"}
        dataset: Dataset[Any] = _Tensors(split) if best else _Pictures(split)
        return DataLoader(dataset, self.batch_size, sampler=self.order(), **options)

    def images_per_second(self) -> float:
        """Return the speed of the last three quarters of the steps."""
        timed = self.steps - self.steps // WARM_UP
        return self.batch_size * timed / (self.marks[-1] - self.marks[-1 - timed])

    @torch.inference_mode()
    def final_loss(self) -> float:
        """Return the mean loss over the first 1,000 images, of the network as it is now."""
        images, labels = self.split.images[:1000], self.split.labels[:1000]
        return float(F.cross_entropy(self.model.eval()(images), labels))


class _Pictures(Dataset[tuple[Tensor, int]]):
    """What torchvision.datasets.CIFAR10 does for each image, with the tutorial's transform."""

    def __init__(self, split: Split) -> None:
        from torchvision.transforms.functional import to_pil_image, to_tensor

        self.open, self.transform = to_pil_image, to_tensor
        self.arrays = split.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets: list[int] = split.labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.open(self.arrays[index])), self.targets[index]


class _Tensors(Dataset[Any]):
    """Whole batches at once."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        batch = self.split[torch.tensor(indices)]
        return batch.images.float().div_(255), batch.labels


def load(images: int, device: torch.device) -> Split:
    """Return the first images of data/prepared/train.pt, on a device."""
    split = load_split(Path("data/prepared/train.pt"))
    return split[torch.arange(images)].to(device)
