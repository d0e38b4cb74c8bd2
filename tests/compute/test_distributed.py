"""What processes that train together exchange, compared with what one process computes."""

import os
import socket
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from synthetic import SPEEDRUN, make_split, make_train_params
from toypipe.compute import distributed
from toypipe.evaluation.metrics import predict
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.training.loop import Step, begin, train

TRAINED = SPEEDRUN.replace("whitening: true", "whitening: false")
RECIPES = {
    "toy": [],
    "uneven": ["train.batch_size=7", "train.augment.translate=2"],
    "mixed": [
        "train.batch_size=7",
        "train.augment.crop=0.5",
        "train.augment.mixup=0.4",
        "train.sampling=balanced",
    ],
    "batch norm": ["~train.model", f"+train.model={TRAINED}", "train.batch_size=9"],
}
LAST = 500  # the steps of a small training, but for one
IMAGES = 40


def losses_and_logits(recipe: str) -> tuple[list[float], Tensor]:
    """Train for two epochs; return the loss of each step, and the logits of some images."""
    params, split = make_train_params(*RECIPES[recipe]), make_split(IMAGES)
    normalize = build_normalize(params.normalize, split.images)
    model = build_model(params.model, Shape(split.size, len(split.classes)), normalize, params.seed)
    run = begin(model, params)
    events = train(run, split, split, params)
    losses = [float(event.losses[-1]) for event in events if isinstance(event, Step)]
    return losses, predict(run.model.eval(), split.images, batch_size=9, views=2)


def compute(rank: int, port: int, folder: Path) -> None:
    """Be one of two processes: leave what was computed in a folder."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(address, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    with distributed.process_group(torch.device("cpu")):
        found: dict[str, Any] = {recipe: losses_and_logits(recipe) for recipe in RECIPES}
        found["told"] = [
            distributed.broadcast(rank),
            distributed.all_gather(rank),
            distributed.all_reduce_max(rank, -rank),
        ]
        beat = distributed.Beat()
        found["beats"] = [
            beat.all_reduce_max(rank, 7, now=step == LAST) for step in range(LAST + 1)
        ]
        found["norm"] = normed(normal(seed=1)[distributed.shard(5)])
        torch.save(found, folder / f"{rank}.pt")


def normal(seed: int) -> Tensor:
    """Draw five small maps of three channels."""
    return torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def normed(maps: Tensor) -> dict[str, Tensor]:
    """Return what a batch norm makes of maps, and of the gradient that flows back."""
    norm = nn.BatchNorm2d(3)
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(0))
    within = nn.Sequential(norm)
    network, maps = distributed.replicate(within), maps.clone().requires_grad_()
    output = network(maps)
    (output * normal(seed=2)[distributed.shard(5)]).sum().backward()
    assert maps.grad is not None
    return {"output": output.detach(), "gradient": maps.grad, **within.state_dict()}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what each of two processes computed."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(compute, (port, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@given(st.integers(1, 9), st.integers(0, 200))
def test_the_parts_make_up_the_batch(processes: int, more: int) -> None:
    """Each image is in the part of one process, and no two parts differ by more than one."""
    count = processes + more
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "world_size", lambda: processes)
        parts = []
        for rank in range(processes):
            patch.setattr(distributed, "rank", lambda rank=rank: rank)
            parts.append(list(range(count))[distributed.shard(count)])

    assert list(chain(*parts)) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_train_like_one(recipe: str, two: list[dict[str, Any]]) -> None:
    """The loss of every step is that of one process but for rounding, in both of them."""
    losses, _ = losses_and_logits(recipe)

    for found in two:
        assert found[recipe][0] == pytest.approx(
            losses, rel=1e-5 if recipe == "batch norm" else 1e-6
        )


@pytest.mark.parametrize("recipe", RECIPES)
def test_predictions_are_shared_out_and_put_together(
    recipe: str, two: list[dict[str, Any]]
) -> None:
    """Both processes have the logits of all images, in order: equal in both, and one's own."""
    _, logits = losses_and_logits(recipe)
    first, second = (found[recipe][1] for found in two)

    assert torch.equal(first, second)
    torch.testing.assert_close(first, logits, rtol=1e-4, atol=1e-5)


def test_numbers_are_exchanged_now_and_then(two: list[dict[str, Any]]) -> None:
    """By both after the same steps: the first, few of the many that follow, and when asked for."""
    beats = two[0]["beats"]

    assert two[1]["beats"] == beats
    assert beats[0] == beats[LAST] == [1, 7]
    assert beats.count([0, 0]) > LAST / 2
    assert beats.count([0, 0]) + beats.count([1, 7]) == LAST + 1


def test_batch_norm_is_that_of_the_whole_batch(two: list[dict[str, Any]]) -> None:
    """Output, gradient and running statistics are what torch computes of all images at once."""
    whole = normed(normal(seed=1))
    first, second = (found["norm"] for found in two)

    for name in ("output", "gradient"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), whole[name])
    for name in ("0.running_mean", "0.running_var", "0.num_batches_tracked"):
        torch.testing.assert_close(first[name], whole[name])
        assert torch.equal(first[name], second[name])


def test_processes_tell_one_another(two: list[dict[str, Any]]) -> None:
    """`first` is what rank 0 has, `every` what each has, `most` the largest."""
    assert [found["told"] for found in two] == [[0, [0, 1], [1, 0]]] * 2
