"""A step can be replayed: each one does the same operations on the same lasting memory.

That is what a CUDA graph needs, and what can be seen on a CPU: it is recorded which operations a
step runs, with which plain values, and where the tensors lie that were there before it.
"""

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from synthetic import make_network_params, make_split, make_train_params
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import Normalize
from toypipe.training import loop
from toypipe.training.augment import shrink
from toypipe.training.batches import Batches
from toypipe.training.loop import begin, train

FIRST, SECOND = 3, 4  # the fourth step and the fifth, when libraries and optimizers are warm
MUON = (
    "{name: muon, lr: 0.02, momentum: 0.6, nesterov: true, weight_decay: 0.0, fixed_norm: true,"
    " bias_lr: 0.1, rest: {lr: 0.1, momentum: 0.5, nesterov: false, weight_decay: 0.0}}"
)
CHOICES = {
    "the lesson's": (),
    "everything": (
        *("train.augment.flip=random", "train.augment.translate=2", "train.augment.crop=0.5"),
        *("train.augment.cutout=4", "train.augment.mixup=0.2", "train.precision=bfloat16"),
        *("~train.optimizer", f"+train.optimizer={MUON}"),
    ),
}


class Record(TorchDispatchMode):
    """Notes the operations of a step, and which lasting memory each of them uses."""

    def __init__(self, lasting: dict[int, int]) -> None:
        """Take the addresses of the memory that was there before, and a number for each."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, ...]] = []
        self._lasting = lasting

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note an operation, and run it."""
        values = [self._named(value) for value in tree_leaves((args, kwargs or {}))]
        self.operations.append((str(func), *values))
        return func(*args, **(kwargs or {}))

    def _named(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            place = self._lasting.get(value.untyped_storage().data_ptr(), "of this step")
            return tuple(value.shape), value.dtype, place
        return value if isinstance(value, int | float | bool | str | type(None)) else str(value)


def _has_memory(value: Any) -> bool:
    """Tell tensors with memory of their own from what other tests may have left."""
    return type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided


def steps(choice: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[Any]]:
    """Return the operations of two steps of the same kind."""
    params = make_train_params(*CHOICES[choice], "train.batch_size=4")
    split = make_split(40, size=16)
    name = make_network_params("speedrun" if choice == "everything" else "toy")
    model = build_model(name, Shape(16, 3), Normalize(torch.zeros(3), torch.ones(3)), 0)
    records: list[Record] = []
    held: list[Tensor] = []  # so that no address is used again

    def recorded(step: Callable[[int, int], None], _: Any) -> Callable[[int, int], None]:
        def run(count: int, size: int) -> None:
            number = len(records)
            if number == FIRST:
                held.extend(filter(_has_memory, gc.get_objects()))
            places = dict.fromkeys(each.untyped_storage().data_ptr() for each in held)
            records.append(Record({place: i for i, place in enumerate(places)}))
            with records[-1]:
                step(count, size)

        return run

    monkeypatch.setattr(loop, "captured", recorded)
    events = train(begin(model, params), split, None, params)
    for _ in range(SECOND + 1):
        next(events)
    return records[FIRST].operations, records[SECOND].operations


@pytest.mark.parametrize("choice", CHOICES)
def test_each_step_does_the_same_with_the_same_memory(
    choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operations, plain values and lasting memory of two steps are equal."""
    first, second = steps(choice, monkeypatch)

    assert len(first) > 20
    assert first == second


def test_a_buffer_that_is_replaced_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph would go on with the old one."""
    take = Batches.take

    def replacing(self: Batches, count: int, part: slice = slice(None)) -> Any:
        self._taken = self._taken.clone()
        return take(self, count, part)

    monkeypatch.setattr(Batches, "take", replacing)
    first, second = steps("the lesson's", monkeypatch)

    assert first != second


def test_a_branch_that_the_host_decides_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph would always take the branch that was captured."""
    calls = []

    def branching(images: Tensor, size: int) -> Tensor:
        calls.append(size)
        return shrink(images, size) if len(calls) % 2 else shrink(images.flip(3), size)

    monkeypatch.setattr(loop, "shrink", branching)
    first, second = steps("the lesson's", monkeypatch)

    assert first != second
