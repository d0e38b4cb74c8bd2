"""The schema of params.yaml: everything that changes the result, and nothing else.

Nothing has a default: what the file says is all that counts. A choice with fields of its own is a
union that `name` decides, so each choice has only the fields that matter to it.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from toypipe.params.architectures import Arch
from toypipe.params.data_sets import DataSet
from toypipe.params.section import BatchSize, Count, Fraction, NotNegative, Rate, Section, Width


class PrepareParams(Section):
    """Which images to use."""

    dataset: DataSet
    """The data set."""


class Toy(Section):
    """The tutorial's network: three convolutions, two linear layers, 145,578 parameters."""

    name: Literal["toy"]


class Torchvision(Section):
    """A classifier of torchvision that accepts 32-pixel images."""

    name: Literal["torchvision"]
    arch: Arch
    """Its name in torchvision."""


class Speedrun(Section):
    """Whitening, six convolutions in three blocks, batch norms, SiLU, and a linear layer."""

    name: Literal["speedrun"]
    channels: Annotated[list[Width], Field(min_length=6, max_length=6)]
    """Channels of its six convolutions, of which each block has two."""
    kernels: Annotated[list[Annotated[int, Field(ge=1, le=3)]], Field(min_length=6, max_length=6)]
    """Width and height of their filters, in pixels."""
    whitening: bool
    """Start with fixed filters, computed from images, that decorrelate the pixels of a patch."""
    identity: bool
    """Start each convolution with its first filters passing their input through unchanged."""


Model = Annotated[Toy | Torchvision | Speedrun, Field(discriminator="name")]


class PlainSgd(Section):
    """The fields of stochastic gradient descent (torch.optim.SGD)."""

    lr: Rate
    """Learning rate. Muon: of the convolution filters."""
    momentum: Fraction
    """SGD: share of the last update that is kept. Muon: decay of the gradient's running mean."""
    nesterov: bool
    """Use Nesterov momentum: look one step ahead."""
    weight_decay: NotNegative
    """SGD: this times the weight is added to the gradient. Muon: shrinks the filters directly."""


class Sgd(PlainSgd):
    """torch.optim.SGD."""

    name: Literal["sgd"]


class Adam(Section):
    """torch.optim.Adam or torch.optim.AdamW."""

    name: Literal["adam", "adamw"]
    lr: Rate
    """Learning rate."""
    beta1: Fraction
    """Decay of the running mean of the gradient."""
    beta2: Fraction
    """Decay of the running mean of the squared gradient."""
    weight_decay: NotNegative
    """Adam: this times the weight is added to the gradient. AdamW: shrinks the weight directly."""


class Muon(PlainSgd):
    """The update of torch.optim.Muon for convolution filters, torch.optim.SGD for the rest."""

    name: Literal["muon"]
    fixed_norm: bool
    """Keep the norm of the filters constant; for networks that normalize after each of them."""
    bias_lr: Rate
    """Learning rate of all biases, those of norms included; SGD updates them, without decay."""
    rest: PlainSgd
    """SGD for all other weights: linear layers and the scales of norms."""


class Constant(Section):
    """The learning rate stays constant."""

    name: Literal["constant"]


class Falling(Section):
    """The learning rate rises to the optimizer's, then falls in a line or along half a cosine."""

    name: Literal["linear", "cosine"]
    warmup_epochs: NotNegative
    """Epochs in which the rate rises from almost zero to the optimizer's; may be fractional."""
    final: Annotated[float, Field(ge=0, le=1)]
    """The last learning rate, as a fraction of the highest."""


class Augment(Section):
    """Changes to the training images, different ones in each epoch."""

    flip: Literal["none", "random", "alternating"]
    """Mirror no image, a random half of them, or every image in every second epoch."""
    translate: Count
    """Largest random shift, in pixels; the border is filled by reflection; 0 for none."""
    crop: Annotated[float, Field(gt=0, le=1)]
    """Least share of the area that a random crop, resized, shows; 1.0 for none."""
    cutout: Count
    """Side of a square of the mean colour at a random place, in pixels; 0 for none."""
    mixup: NotNegative
    """Parameter m of Beta(m, m), from which the share of a second image is drawn; 0.0 for none."""


LossName = Literal["cross_entropy", "mse", "l1"]


class TrainParams(Section):
    """How to train the network."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Seed of every random choice: first weights, order of images, augmentation, validation."""
    epochs: Annotated[float, Field(gt=0, le=100_000)]
    """Passes over the training images; may be fractional."""
    batch_size: BatchSize
    """Images per step; the last one of an epoch has the rest. Learning rates go with it."""
    validation: Count
    """Number of training images held out for validation; 0 for none."""
    keep: Literal["last", "best"]
    """Which weights to save: of the last epoch, or of the one with the best validation accuracy."""
    patience: Count
    """End after so many epochs without a better validation accuracy; 0 for never."""
    normalize: Literal["unit", "standard"]
    """`unit`: pixels from 0 to 1. `standard`: mean 0 and standard deviation 1 per channel.

    Weights to start from bring the normalisation that they were trained with: it is used instead.
    """
    precision: Literal["float32", "bfloat16"]
    """Number type of forward and backward pass (TF32 is off); weights are always float32."""
    model: Model
    """The network."""
    start: Annotated[str, Field(min_length=1)]
    """First weights: `fresh`, `imagenet` (torchvision's, IMAGENET1K_V1) or a checkpoint.pt's.

    Of a checkpoint the path, which train's deps in dvc.yaml must list. The last layer is fresh
    unless the classes are the same, in the same order.
    """
    loss: LossName
    """The loss to minimise; its target is the (smoothed) one-hot label."""
    label_smoothing: Fraction
    """Share of the one-hot label that is spread evenly over all classes."""
    sampling: Literal["uniform", "balanced"]
    """`uniform`: each image comes once an epoch. `balanced`: each class comes equally often."""
    optimizer: Annotated[Sgd | Adam | Muon, Field(discriminator="name")]
    """How the gradient changes the weights."""
    schedule: Annotated[Constant | Falling, Field(discriminator="name")]
    """How the learning rate changes during the run."""
    augment: Augment
    """How to vary the training images."""
    sizes: list[Width]
    """Shrink the images to each size (pixels) in turn, for equal parts of the run; [] for none."""

    @property
    def start_path(self) -> Path | None:
        """The checkpoint to start from, if `start` names one."""
        return None if self.start in {"fresh", "imagenet"} else Path(self.start)


class EvaluateParams(Section):
    """How to test the network."""

    batch_size: BatchSize
    """Images per forward pass; changes memory and speed, the result only by rounding."""
    views: Literal[1, 2, 6]
    """Views of each image to average: 1 itself, 2 and its mirror image, 6 and shifts of both."""
    precision: Literal["float32", "bfloat16"]
    """Number type of the forward pass (TF32 is off); logits and loss are float32."""


class Params(Section):
    """All of params.yaml: one section per stage."""

    prepare: PrepareParams
    train: TrainParams
    evaluate: EvaluateParams
