"""Optimizers, against torch's own."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synthetic import ROOT
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import Normalize
from toypipe.params.schema import Adam, Muon, PlainSgd, Sgd, Toy
from toypipe.training.muon import FilterMuon
from toypipe.training.optimizers import build_optimizers

SGD = Sgd(name="sgd", lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
ADAM = Adam(name="adam", lr=0.01, beta1=0.8, beta2=0.95, weight_decay=0.01)
ADAMW = Adam(name="adamw", lr=0.01, beta1=0.8, beta2=0.95, weight_decay=0.1)
REST = PlainSgd(lr=0.02, momentum=0.8, nesterov=False, weight_decay=0.001)
MUON = Muon(
    name="muon",
    lr=0.1,
    momentum=0.6,
    nesterov=True,
    weight_decay=0.01,
    fixed_norm=False,
    bias_lr=0.03,
    rest=REST,
)
LAST = torch.channels_last
ALL = pytest.mark.parametrize("params", [SGD, ADAM, ADAMW, MUON], ids=lambda each: each.name)


def _model() -> nn.Module:
    normalize = Normalize(torch.zeros(3), torch.ones(3))
    return build_model(Toy(name="toy"), Shape(8, 3), normalize, seed=0)


def _gradients(model: nn.Module, steps: int = 4) -> Iterator[None]:
    """Give every weight the next gradients of a fixed series, in autograd's memory layout."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        model.zero_grad()
        for weight in model.parameters():
            (weight * torch.randn(weight.shape, generator=generator)).sum().backward()
        yield


def test_torchs_compiler_is_not_imported() -> None:
    """Importing it takes as long as importing torch, and torch's own optimizers import it."""
    code = f"""
import sys
sys.path[:0] = {[str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/training")]}
import test_optimizers as this
for params in (this.SGD, this.ADAM, this.ADAMW, this.MUON):
    model = this._model()
    optimizers = this.build_optimizers(model, params)
    for _ in this._gradients(model, steps=2):
        for optimizer in optimizers:
            optimizer.step()
            optimizer.load_state_dict(optimizer.state_dict())
            optimizer.zero_grad()
print([name for name in sys.modules if name.startswith(("torch._dynamo", "sympy"))])
"""
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert output.stdout == "[]\n"


def _assert_same_steps(
    params: Sgd | Adam, expected: type[torch.optim.Optimizer], **options: Any
) -> None:
    ours, plain = _model(), _model()
    (optimizer,), reference = (
        build_optimizers(ours, params),
        expected(plain.parameters(), **options),
    )
    for _ in zip(_gradients(ours), _gradients(plain), strict=True):
        optimizer.step()
        reference.step()

    for weight, target in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(weight, target)


def test_sgd_is_that_of_torch() -> None:
    """With the same fields, several steps lead to the same weights."""
    _assert_same_steps(SGD, torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)


def test_adam_is_that_of_torch() -> None:
    """With the same fields, several steps lead to the same weights."""
    _assert_same_steps(ADAM, torch.optim.Adam, lr=0.01, betas=(0.8, 0.95), weight_decay=0.01)


def test_adamw_is_that_of_torch() -> None:
    """With the same fields, several steps lead to the same weights."""
    _assert_same_steps(ADAMW, torch.optim.AdamW, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1)


@ALL
def test_every_trainable_parameter_has_one_optimizer(params: Sgd | Adam | Muon) -> None:
    """Every trainable weight is in exactly one group; a frozen weight is in none."""
    model = _model()
    model.get_parameter("network.0.bias").requires_grad_(False)
    groups = chain.from_iterable(each.param_groups for each in build_optimizers(model, params))
    stepped = [id(weight) for group in groups for weight in group["params"]]

    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    assert sorted(stepped) == sorted(map(id, trainable))


def test_muon_takes_networks_of_nothing_but_filters_and_biases() -> None:
    """It also takes a norm, whose scale is not a bias although it has one axis."""
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    for network, rest in ((model, [layers[1].weight]), (layers[0], [])):
        _, sgd = build_optimizers(network, MUON)

        assert sgd.param_groups[0]["params"] == rest
        assert len(sgd.param_groups[1]["params"]) == 1 + len(rest)
        network(torch.rand(2, 3, 8, 8)).square().sum().backward()
        sgd.step()


@ALL
def test_a_step_moves_every_parameter(params: Sgd | Adam | Muon) -> None:
    """One step with gradients changes every weight."""
    model = _model()
    before = [weight.detach().clone() for weight in model.parameters()]
    optimizers = build_optimizers(model, params)
    for _ in _gradients(model, steps=1):
        for optimizer in optimizers:
            optimizer.step()

    assert not any(map(torch.equal, before, model.parameters()))


@ALL
def test_forgotten_gradients_move_nothing(params: Sgd | Adam | Muon) -> None:
    """After zero_grad a step changes no weight."""
    model = _model()
    optimizers = build_optimizers(model, params)
    for _ in _gradients(model, steps=2):
        for optimizer in optimizers:
            optimizer.step()
    before = [weight.detach().clone() for weight in model.parameters()]
    for optimizer in optimizers:
        optimizer.zero_grad()
        optimizer.step()

    assert all(weight.grad is None for weight in model.parameters())
    assert all(map(torch.equal, before, model.parameters()))


@ALL
def test_a_group_remembers_its_rate(params: Sgd | Adam | Muon) -> None:
    """Every group keeps the rate of the parameters, which schedules multiply."""
    groups = [group for each in build_optimizers(_model(), params) for group in each.param_groups]
    rates = [params.lr]
    if isinstance(params, Muon):
        rates += [params.rest.lr, params.bias_lr]

    assert [group["initial_lr"] for group in groups] == rates
    assert [group["lr"] for group in groups] == rates


def _columns(filters: Tensor) -> Tensor:
    """Return filters as a matrix whose columns are in the order of channels_last memory."""
    return filters.permute(0, 2, 3, 1).reshape(len(filters), -1)


def _muon_both_ways(
    shape: tuple[int, ...], flatten: Callable[[Tensor], Tensor], *, nesterov: bool
) -> tuple[Tensor, Tensor]:
    """Return flattened filters after five steps: of FilterMuon, and of torch's Muon."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator).to(memory_format=torch.channels_last)
    filters, matrix = nn.Parameter(start.clone()), nn.Parameter(flatten(start).clone())
    optimizers = [
        FilterMuon(
            [filters], lr=0.1, momentum=0.6, nesterov=nesterov, weight_decay=0.01, fixed_norm=False
        ),
        torch.optim.Muon([matrix], lr=0.1, momentum=0.6, nesterov=nesterov, weight_decay=0.01),
    ]
    for _ in range(5):
        filters.grad = torch.randn(shape, generator=generator)
        matrix.grad = flatten(filters.grad)
        for optimizer in optimizers:
            optimizer.step()

    assert (filters - start).abs().mean() > 0.01
    return flatten(filters.detach()), matrix.detach()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", [(6, 3, 5, 5), (64, 4, 3, 3), (16, 8, 1, 1), (12, 1, 3, 3)])
def test_muon_over_filters_is_that_of_torch_over_matrices(
    shape: tuple[int, ...], nesterov: bool
) -> None:
    """For wide, tall, 1 by 1 and depthwise filters, the weights are those of torch.optim.Muon."""
    ours, reference = _muon_both_ways(shape, _columns, nesterov=nesterov)

    torch.testing.assert_close(ours, reference)


def test_muon_does_not_care_about_the_order_of_columns() -> None:
    """With columns in torch's usual order, the weights agree up to the rounding of bfloat16."""
    ours, reference = _muon_both_ways(
        (16, 4, 3, 3), lambda filters: filters.flatten(1), nesterov=True
    )

    torch.testing.assert_close(ours, reference, atol=0.002, rtol=0)


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_gives_filters_its_own_fields_and_the_rest_to_sgd(nesterov: bool) -> None:
    """Filters follow torch's Muon, the rest torch's SGD, biases at their own rate."""
    model = _model()
    plain = copy.deepcopy(model)
    filters = [weight for weight in plain.parameters() if weight.ndim == 4]
    rest = [weight for weight in plain.parameters() if weight.ndim == 2]
    biases = [weight for weight in plain.parameters() if weight.ndim == 1]
    matrices = [nn.Parameter(_columns(weight.detach())) for weight in filters]
    optimizers = build_optimizers(model, MUON.model_copy(update={"nesterov": nesterov}))
    references = [
        torch.optim.Muon(matrices, lr=0.1, momentum=0.6, nesterov=nesterov, weight_decay=0.01),
        torch.optim.SGD(rest, lr=0.02, momentum=0.8, nesterov=False, weight_decay=0.001),
        torch.optim.SGD(biases, lr=0.03, momentum=0.8),
    ]
    for _ in zip(_gradients(model), _gradients(plain), strict=True):
        for weight, matrix in zip(filters, matrices, strict=True):
            assert weight.grad is not None
            matrix.grad = _columns(weight.grad)
        for optimizer in (*optimizers, *references):
            optimizer.step()

    moved = [weight for weight in model.parameters() if weight.ndim == 4]
    for weight, matrix in zip(moved, matrices, strict=True):
        torch.testing.assert_close(_columns(weight), matrix)
    for axes, targets in ((2, rest), (1, biases)):
        others = [weight for weight in model.parameters() if weight.ndim == axes]
        for weight, target in zip(others, targets, strict=True):
            torch.testing.assert_close(weight, target)


def test_layers_of_one_shape_move_together_as_each_would_alone() -> None:
    """To the bit, whatever other layers there are."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(16, 8, 3, 3), (8, 16, 3, 3), (16, 8, 3, 3), (16, 8, 3, 3)]
    start = [torch.randn(s, generator=generator).contiguous(memory_format=LAST) for s in shapes]
    options = {"lr": 0.1, "momentum": 0.6, "nesterov": True, "weight_decay": 0.01}
    together, alone = ([nn.Parameter(each.clone()) for each in start] for _ in range(2))
    optimizers = [FilterMuon(each, **options, fixed_norm=True) for each in (together, *zip(alone))]
    for _ in range(3):
        for pair in zip(together, alone, strict=True):
            gradient = torch.randn(pair[0].shape, generator=generator)
            for filters in pair:
                filters.grad = gradient.contiguous(memory_format=LAST)
        for optimizer in optimizers:
            optimizer.step()

    assert all(map(torch.equal, together, alone))
    assert not any(map(torch.equal, together, start))


def test_filters_of_fixed_size_only_turn() -> None:
    """A step is torch's Muon after scaling: the norm of 16 filters is 4."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(16, 4, 3, 3, generator=generator) * 50
    filters = nn.Parameter(start.to(memory_format=torch.channels_last))
    matrix = nn.Parameter(_columns(start) * (4 / start.norm()))
    filters.grad = torch.randn(start.shape, generator=generator)
    matrix.grad = _columns(filters.grad)
    common: Any = {"lr": 0.1, "momentum": 0.6, "nesterov": True, "weight_decay": 0.0}
    FilterMuon([filters], **common, fixed_norm=True).step()
    torch.optim.Muon([matrix], **common).step()

    torch.testing.assert_close(_columns(filters.detach()), matrix.detach())


def test_filters_of_fixed_size_may_be_zero() -> None:
    """Filters of zeros cannot be scaled; they move as far as others."""
    filters = nn.Parameter(torch.zeros(8, 3, 3, 3).to(memory_format=torch.channels_last))
    filters.grad = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    options: Any = {"lr": 0.1, "momentum": 0.6, "nesterov": True, "weight_decay": 0.0}
    FilterMuon([filters], **options, fixed_norm=True).step()

    assert 0.1 < filters.norm() < 0.5
