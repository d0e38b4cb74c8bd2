"""A step as one launch: on CUDA, all its kernels in a graph that is captured once and replayed."""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # calls before the capture: libraries choose their algorithms, optimizers their state


def replayed(step: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """Return a function that does the same as a step, with one launch where there is CUDA.

    A small network's kernels take less time than the host needs to launch them one by one.

    Args:
        step: Reads and writes only tensors on the device that stay where they are, and waits for
            nothing.
        device: Where it computes.
    """
    return _Graph(step, device) if device.type == "cuda" else step


class _Graph:
    """The first calls are the step itself; the capture that follows computes nothing."""

    def __init__(self, step: Callable[[], Tensor], device: torch.device) -> None:
        self._step, self._calls = step, 0
        self._graph, self._stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
        self._result = torch.empty(0)

    def __call__(self) -> Tensor:
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._aside()
        if self._calls == WARM_UP + 1:
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._result = self._step()
        self._graph.replay()
        return self._result

    def _aside(self) -> Tensor:
        """Take the step on the stream on which it will be captured: autograd remembers it."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = self._step()
        current.wait_stream(self._stream)
        return result
