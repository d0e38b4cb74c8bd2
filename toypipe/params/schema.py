"""The schema of params.yaml: everything that changes the result, and nothing else.

There are no defaults: what is in the file is all there is. A choice that has fields of its own is
a union told apart by `name`, so that each choice has only the fields that mean something to it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]


# The classifiers of torchvision that accept 32-pixel images; a test tries every one it has.
# fmt: off
Arch = Literal[
    "convnext_base", "convnext_large", "convnext_small", "convnext_tiny",
    "densenet121", "densenet161", "densenet169", "densenet201",
    "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3",
    "efficientnet_b4", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7",
    "efficientnet_v2_l", "efficientnet_v2_m", "efficientnet_v2_s",
    "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3",
    "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small",
    "regnet_x_16gf", "regnet_x_1_6gf", "regnet_x_32gf", "regnet_x_3_2gf",
    "regnet_x_400mf", "regnet_x_800mf", "regnet_x_8gf",
    "regnet_y_128gf", "regnet_y_16gf", "regnet_y_1_6gf", "regnet_y_32gf",
    "regnet_y_3_2gf", "regnet_y_400mf", "regnet_y_800mf", "regnet_y_8gf",
    "resnet101", "resnet152", "resnet18", "resnet34", "resnet50",
    "resnext101_32x8d", "resnext101_64x4d", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0",
    "squeezenet1_0", "squeezenet1_1",
    "swin_b", "swin_s", "swin_t", "swin_v2_b", "swin_v2_s", "swin_v2_t",
    "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
    "wide_resnet101_2", "wide_resnet50_2",
]
# fmt: on


class Section(BaseModel):
    """A part of the file: typed strictly, unchangeable, with no field that is not listed."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True
    )


# prepare --------------------------------------------------------------------------------------


class Cifar10(Section):
    """CIFAR-10: 50,000 training and 10,000 test images of 32 by 32 pixels in ten classes."""

    name: Literal["cifar10"]
    """The data set."""


class Folder(Section):
    """Images of one's own: `train/` and `test/`, each with one folder per class."""

    name: Literal["folder"]
    """The data set."""
    path: Annotated[str, Field(min_length=1)]
    """The folder that holds `train/` and `test/`; it must stand in prepare's deps in dvc.yaml."""
    size: Annotated[int, Field(ge=8, le=1024)]
    """Width and height that every image is brought to, in pixels."""


class PrepareParams(Section):
    """Which images."""

    dataset: Annotated[Cifar10 | Folder, Field(discriminator="name")]
    """Where the images come from."""


# train ----------------------------------------------------------------------------------------


class Toy(Section):
    """The network of the tutorial: three convolutions, two linear layers, 145,578 parameters."""

    name: Literal["toy"]
    """The network."""


class Torchvision(Section):
    """A classifier of torchvision that accepts 32-pixel images, with fresh weights."""

    name: Literal["torchvision"]
    """The network."""
    arch: Arch
    """Its name in torchvision."""


class Speedrun(Section):
    """Whitening, six 3x3 convolutions in three blocks, batch norms, GELU, and a linear layer."""

    name: Literal["speedrun"]
    """The network."""
    width: Annotated[int, Field(ge=8, le=1024)]
    """Channels of the first of its three blocks; the others have four times as many."""
    whitening: bool
    """Begin with fixed filters that make the pixels of a patch uncorrelated, from the images."""
    identity: bool
    """Let the first filters of each convolution begin by handing their input on, unchanged."""


class PlainSgd(Section):
    """The fields of stochastic gradient descent."""

    lr: Rate
    """Learning rate."""
    momentum: Fraction
    """Share of the last update that is kept; 0 for none."""
    nesterov: bool
    """Look ahead along the momentum."""
    weight_decay: Decay
    """Added to the gradient: this times the weight."""


class Sgd(PlainSgd):
    """torch.optim.SGD."""

    name: Literal["sgd"]
    """The optimizer."""


class AdamFields(Section):
    """What Adam and AdamW have in common."""

    lr: Rate
    """Learning rate."""
    beta1: Fraction
    """Decay of the running mean of the gradient."""
    beta2: Fraction
    """Decay of the running mean of its square."""
    weight_decay: Decay
    """Adam: added to the gradient, times the weight. AdamW: shrinks the weight directly."""


class Adam(AdamFields):
    """torch.optim.Adam."""

    name: Literal["adam"]
    """The optimizer."""


class AdamW(AdamFields):
    """torch.optim.AdamW."""

    name: Literal["adamw"]
    """The optimizer."""


class Muon(Section):
    """The update of torch.optim.Muon for the convolution filters, torch.optim.SGD for the rest."""

    name: Literal["muon"]
    """The optimizer."""
    lr: Rate
    """Learning rate of the filters."""
    momentum: Fraction
    """Share of the running mean of the gradient that is kept."""
    nesterov: bool
    """Look ahead along the momentum."""
    weight_decay: Decay
    """Shrinks the filters directly: by this times the learning rate, each step."""
    fixed_norm: bool
    """Keep the filters' size, for networks with a norm after each: a step only turns them."""
    bias_lr: Rate
    """Learning rate of the biases, of norms as of layers; they follow SGD, without decay."""
    rest: PlainSgd
    """SGD for everything else: linear layers, and the scales of norms."""


class Constant(Section):
    """The learning rate stays what it is."""

    name: Literal["constant"]
    """The schedule."""


class WarmupFields(Section):
    """What the schedules that move have in common."""

    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Epochs over which the rate rises from almost zero to the optimizer's; may be fractional."""
    final: Annotated[float, Field(ge=0, le=1)]
    """The last rate over the highest."""


class Linear(WarmupFields):
    """Up to the optimizer's rate, then down in a straight line."""

    name: Literal["linear"]
    """The schedule."""


class Cosine(WarmupFields):
    """Up to the optimizer's rate, then down along half a cosine."""

    name: Literal["cosine"]
    """The schedule."""


class Augment(Section):
    """Variants of the training images, drawn anew in each epoch."""

    flip: Literal["none", "random", "alternating"]
    """Mirror: never, half of the images by chance, or every image in every second epoch."""
    translate: Annotated[int, Field(ge=0)]
    """Largest shift, in pixels, mirrored at the border; 0 for none."""


LossName = Literal["cross_entropy", "mse", "l1"]


class TrainParams(Section):
    """How the network is trained."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Decides the first weights, the order of images and every other draw."""
    epochs: Annotated[float, Field(gt=0, le=100_000)]
    """Passes over the training images; may be fractional."""
    batch_size: Annotated[int, Field(ge=1)]
    """Images per step; the last batch of an epoch may be smaller."""
    validation: Annotated[int, Field(ge=0)]
    """Images held out of the training set; 0 for none."""
    keep: Literal["last", "best"]
    """Which epoch's weights are saved: the last, or the best by validation accuracy."""
    normalize: Literal["unit", "standard"]
    """`unit`: pixels in 0..1. `standard`: mean 0 and deviation 1 per channel."""
    precision: Literal["float32", "bfloat16"]
    """Of the forward and backward pass (TF32 is off); weights are float32 in any case."""
    model: Annotated[Toy | Torchvision | Speedrun, Field(discriminator="name")]
    """The network."""
    loss: LossName
    """What is minimised, always against the (smoothed) one-hot label."""
    label_smoothing: Fraction
    """Share of the one-hot label that is spread evenly over all classes."""
    optimizer: Annotated[Sgd | Adam | AdamW | Muon, Field(discriminator="name")]
    """How the weights follow the gradient."""
    schedule: Annotated[Constant | Linear | Cosine, Field(discriminator="name")]
    """How the learning rate moves over the run."""
    augment: Augment
    """How training images are varied."""
    sizes: list[Annotated[int, Field(ge=8, le=1024)]]
    """Shrink the images to these sizes in turn, each for an equal share of the run; [] for none."""


# evaluate -------------------------------------------------------------------------------------


def _whole_number(value: object) -> object:
    """Refuse 1.0 and true: a literal takes whatever equals it."""
    if type(value) is not int:
        raise PydanticCustomError("whole_number", "Input should be 1, 2 or 6")
    return value


class EvaluateParams(Section):
    """How the network is tested."""

    batch_size: Annotated[int, Field(ge=1)]
    """Images per forward pass; changes memory and speed, not results beyond rounding."""
    views: Annotated[Literal[1, 2, 6], BeforeValidator(_whole_number)]
    """Views of each image that are averaged: 1 itself, 2 and its mirror, 6 and shifts of both."""


class Params(Section):
    """All of params.yaml: a section for each stage."""

    prepare: PrepareParams
    """The stage that packs the images."""
    train: TrainParams
    """The stage that trains the network."""
    evaluate: EvaluateParams
    """The stage that tests it."""
