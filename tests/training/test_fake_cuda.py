"""What breaks a captured step is found without a GPU, on torch's fake tensors.

They have a device, a shape and no values. On a fake `cuda` device run, for every recipe, optimizer
and size: taking a batch, augmentation, shrinking, the forward pass, the loss and Muon. Two parts
cannot run there: `backward`, which becomes empty gradients, and the fused updates of torch's
optimizers, of which only the arguments are looked at. No memory can be pinned there.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from synthetic import PARAMS, ROOT
from toypipe.data.split import Split
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import Normalize
from toypipe.params.file import read_params
from toypipe.params.schema import TrainParams
from toypipe.training import loop
from toypipe.training.augment import shrink
from toypipe.training.loop import begin, train
from toypipe.training.losses import one_hot

CUDA = "cuda"
IMAGES = 48
STEPS = 12
FEW = ["train.batch_size=8", "train.epochs=2", "train.validation=0", "train.keep=last"]
FEW += ["train.patience=0", "train.start=fresh"]
ADAM = "{name: adam, lr: 0.01, beta1: 0.9, beta2: 0.99, weight_decay: 0.0}"


class OnDevice(TorchDispatchMode):
    """Raises AssertionError for an operation that touches a tensor of the host."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation on fake tensors."""
        fused = "_fused_" in str(func)  # it has no form for fake tensors, and returns nothing
        result = None if fused else func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, result)):
            if isinstance(value, Tensor) and value.device.type == "cpu":
                raise AssertionError(f"{func} touches the CPU")
        return result


def step_on_cuda(params: TrainParams, size: int) -> None:
    """Train two epochs of six steps on fake images, in which no step may touch the host."""
    shape = Shape(size, 10)
    model = build_model(params.model, shape, Normalize(torch.zeros(3), torch.ones(3)), 0)
    with FakeTensorMode(allow_non_fake_inputs=True), ExitStack() as stack:
        move(model)

        def backward(_: Tensor) -> None:
            for weight in model.parameters():
                weight.grad = torch.empty_like(weight) if weight.requires_grad else None

        def watched(step: Callable[[int, int], None], _: Any) -> Callable[[int, int], None]:
            def on_device(count: int, size: int) -> None:
                with OnDevice():  # type: ignore[no-untyped-call]
                    step(count, size)

            return on_device

        for patch in (
            # Else autocast would be off, without a word.
            mock.patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False),
            mock.patch("torch.cuda.is_bf16_supported", return_value=True),
            mock.patch.object(Tensor, "backward", backward),
            mock.patch.object(Tensor, "pin_memory", lambda values: values),
            mock.patch.object(loop, "captured", watched),
            mock.patch.object(loop, "require_finite"),  # it reads, once an epoch
            mock.patch.object(loop, "_mean_over_images", return_value=0.0),  # likewise
        ):
            stack.enter_context(patch)
        pixels = torch.zeros(IMAGES, size, size, 3, dtype=torch.uint8, device=CUDA)
        labels = torch.zeros(IMAGES, dtype=torch.int64, device=CUDA)
        split = Split(pixels.permute(0, 3, 1, 2), labels, [f"class{i}" for i in range(10)])
        events = train(begin(model, params), split, None, params)
        assert len(list(events)) == STEPS + 2


def move(model: nn.Module) -> None:
    """Replace what a network holds by fake tensors on a fake device, of the same layout."""
    for module in model.modules():
        for name, own in module.named_parameters(recurse=False):
            empty = torch.empty_strided(own.shape, own.stride(), device=CUDA)
            setattr(module, name, nn.Parameter(empty, requires_grad=own.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            empty = torch.empty_strided(
                buffer.shape, buffer.stride(), dtype=buffer.dtype, device=CUDA
            )
            setattr(module, name, empty)


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_no_step_of_a_recipe_needs_the_host(recipe: Path) -> None:
    """Whatever its network, precision, optimizer, sizes and augmentation are."""
    params = read_params(recipe, FEW)

    step_on_cuda(params.train, getattr(params.prepare.dataset, "size", 32))


@pytest.mark.parametrize(
    "more",
    [
        ["~train.optimizer", f"+train.optimizer={ADAM}"],
        ["train.loss=l1", "train.augment.flip=random", "train.augment.translate=2"],
        ["train.loss=mse", "train.augment.crop=0.5", "train.augment.cutout=4"],
        ["train.augment.mixup=0.2", "train.precision=bfloat16"],
    ],
    ids=["adam", "shifts", "crops", "mixtures"],
)
def test_no_step_of_another_choice_needs_the_host(more: Sequence[str]) -> None:
    """What no recipe chooses is tried on the lesson's network."""
    step_on_cuda(read_params(PARAMS, [*FEW, *more]).train, 32)


def test_a_look_at_a_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host would wait for the device, which a captured step cannot."""

    def looking(labels: Tensor, *others: Any) -> Tensor:
        float(labels.sum())
        return one_hot(labels, *others)

    monkeypatch.setattr(loop, "one_hot", looking)
    with pytest.raises(DataDependentOutputException, match="_local_scalar_dense"):
        step_on_cuda(read_params(PARAMS, FEW).train, 32)


@pytest.mark.parametrize("where", ["mixed", "copied"])
def test_a_tensor_of_the_host_is_found(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both where it is mixed with others, and where it is copied to the device first."""

    def mixing(images: Tensor, size: int) -> Tensor:
        ones = torch.ones(len(images), 1, 1, 1, dtype=torch.uint8)
        return shrink(images * (ones if where == "mixed" else ones.to(CUDA)), size)

    monkeypatch.setattr(loop, "shrink", mixing)
    with pytest.raises((AssertionError, RuntimeError), match=r"touches the CPU|two different dev"):
        step_on_cuda(read_params(PARAMS, FEW).train, 32)
