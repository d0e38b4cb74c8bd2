"""CUDA graphs: all kernels of a step captured once, then replayed by one launch."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch

from toypipe.compute import distributed

Step = Callable[[int, int], None]  # decided by the number of images and their size

WARM_UP = 3  # calls before the capture: libraries choose their algorithms, optimizers their state


def captured(step: Step, device: torch.device) -> Step:
    """Return a function that does the same as a step; on CUDA, by one launch.

    The kernels of a small network take less time than the host needs to launch them one by one.
    A step reads and writes only tensors on the device that stay in place, and never synchronises.
    Each combination of its arguments is captured separately. The graphs share their memory, which
    holds nothing from one step to the next, and those of another size are forgotten.
    """
    if device.type != "cuda" or distributed.world_size() > 1:  # collectives are not captured
        return step
    graphs: dict[tuple[int, int], _Graph] = {}
    stream = torch.cuda.Stream(device)
    capture = partial(torch.cuda.graph, pool=torch.cuda.graph_pool_handle(), stream=stream)

    def replay(count: int, size: int) -> None:
        for other in [key for key in graphs if key[1] != size]:
            del graphs[other]
        key = count, size
        if key not in graphs:
            graphs[key] = _Graph(partial(step, *key), stream, capture)
        graphs[key]()

    return replay


class _Graph:
    """The first calls run the step itself; the capture that follows them computes nothing."""

    def __init__(
        self,
        step: Callable[[], None],
        stream: torch.cuda.Stream,
        capture: Callable[[torch.cuda.CUDAGraph], AbstractContextManager[None]],
    ) -> None:
        self._step, self._stream, self._capture = step, stream, capture
        self._graph, self._calls = torch.cuda.CUDAGraph(), 0

    def __call__(self) -> None:
        self._calls += 1
        if self._calls <= WARM_UP:
            self._warm_up()
            return
        if self._calls == WARM_UP + 1:
            with self._capture(self._graph):
                self._step()
        self._graph.replay()

    def _warm_up(self) -> None:
        """Run the step on the stream of the capture: autograd remembers the stream."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._step()
        current.wait_stream(self._stream)
