"""A run shows where it stands: a bar on a terminal, a line for each epoch elsewhere."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from synthetic import make_split, make_train_params
from toypipe.models import Shape, build_model
from toypipe.normalize import build_normalize
from toypipe.training import Epoch, Step, train

ROOT = Path(__file__).parents[1]

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on Windows")

LINE = re.compile(
    r"epoch +(?P<epoch>\d+)/(?P<epochs>\d+)  train loss (?P<loss>\d+\.\d{4})"
    r"(?P<validated>  validation loss \d+\.\d{4}, accuracy [01]\.\d{4})?"
    r"  \d+\.\d s, [\d,]+ images/s"
)


def events(*overrides: str) -> Iterator[Step | Epoch]:
    """Train a little; yield what there is to show."""
    params, split = make_train_params(*overrides), make_split(24)
    held_out = make_split(6, seed=1) if params.validation else None
    normalize = build_normalize(params.normalize, split.images)
    model = build_model(params.model, Shape(16, 3), normalize, params.seed)
    return train(model, split, held_out, params)


class Terminal:
    """A pseudo-terminal, and what was written to it."""

    def __init__(self) -> None:
        """Open one and begin to read it."""
        self._master, self.end = pty.openpty()
        self._output = b""
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self._output += data
        except OSError:  # how Linux says that the other end is closed
            pass

    def close(self) -> str:
        """Close it, and return all output."""
        os.close(self.end)
        self._reader.join()
        os.close(self._master)
        return self._output.decode()
