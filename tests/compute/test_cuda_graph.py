"""When a step is warmed up, captured and replayed, against a stand-in for torch.cuda."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from toypipe.compute.cuda_graph import WARM_UP, captured

CUDA = torch.device("cuda")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return what is asked of the stand-in, in order; all captures must share their memory."""
    asked: list[str] = []
    pools: list[object] = []

    class Graph:
        def replay(self) -> None:
            asked.append("replay")

    class Stream:
        def __init__(self, *_: Any) -> None:
            pass

        def wait_stream(self, _: Any) -> None:
            asked.append("wait")

    @contextmanager
    def within(name: str) -> Iterator[None]:
        asked.append(name)
        yield
        asked.append(f"end of {name}")

    def capture(_: Any, pool: object, **__: Any) -> AbstractContextManager[None]:
        pools.append(pool)
        return within("capture")

    stand_in = SimpleNamespace(
        CUDAGraph=Graph,
        Stream=Stream,
        current_stream=Stream,
        stream=lambda _: within("side stream"),
        graph_pool_handle=object,
        graph=capture,
    )
    monkeypatch.setattr("toypipe.compute.cuda_graph.torch.cuda", stand_in)
    yield asked
    assert len(set(pools)) <= 1


def test_a_step_is_warmed_up_captured_once_and_then_replayed(log: list[str]) -> None:
    """The capture computes nothing, so it is followed by a replay."""

    def step(_: int, __: int) -> None:
        log.append("step")

    whole_step = captured(step, CUDA)
    for _ in range(WARM_UP + 3):
        whole_step(32, 8)

    warm = ["wait", "side stream", "step", "end of side stream", "wait"]
    assert log == warm * WARM_UP + ["capture", "step", "end of capture"] + ["replay"] * 3


@pytest.mark.usefixtures("log")
def test_each_number_and_size_of_images_has_a_graph_of_its_own() -> None:
    """A shorter last batch, and larger images, are warmed up anew; so is a size that comes back."""
    seen: list[tuple[int, int]] = []

    def step(count: int, size: int) -> None:
        seen.append((count, size))

    whole_step = captured(step, CUDA)
    for size in (8, 16, 8):
        for _ in range(9):
            whole_step(32, size)
            whole_step(5, size)

    calls = WARM_UP + 1
    assert [seen.count(kind) for kind in ((32, 8), (5, 8), (32, 16))] == [
        2 * calls,
        2 * calls,
        calls,
    ]
    assert set(seen) == {(32, 8), (5, 8), (32, 16), (5, 16)}


def test_the_step_itself_runs_on_a_cpu() -> None:
    """There is nothing to capture."""

    def step(_: int, __: int) -> None:
        pass

    assert captured(step, torch.device("cpu")) is step
