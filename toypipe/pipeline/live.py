"""What can be seen of a training while it runs: its table so far, and the epoch under way."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from toypipe.data.files import json_bytes
from toypipe.errors import ToypipeError
from toypipe.params.documents import Document
from toypipe.training.loop import Step
from toypipe.training.state import Epoch, loss_table

TABLE, PROGRESS = "loss.csv", "progress.json"  # in the folder of a run
POINTS = 200  # of the curve of an epoch, at most
SOONEST = 1.0  # seconds between two writes
COST = 400  # times what writing took pass until the next: a quarter of a percent


class Progress(BaseModel):
    """progress.json: the epoch that is under way, or was when the training was stopped."""

    epoch: FiniteFloat = Field(0.0, ge=0)  # passes so far, a part of one included
    images_per_second: FiniteFloat = Field(0.0, ge=0)  # since the last time it was written
    seconds_left: FiniteFloat = Field(0.0, ge=0)  # at this speed, without validation
    losses: list[tuple[FiniteFloat, FiniteFloat]] = []
    """Mean train loss of a stretch of batches, and the passes at its end."""


class Live:
    """Keeps the two files of a run up to date; what cannot be written stops no training."""

    def __init__(self, write: Callable[[str, bytes], object], epochs: float) -> None:
        """Take what writes a file of the run, and the passes of the whole training."""
        self._write, self._epochs = write, epochs
        self._next, self._last = 0.0, (time.monotonic(), 0.0)

    def note_epochs(self, epochs: Sequence[Epoch]) -> None:
        """Write the table of the passes that are finished."""
        self._write(TABLE, loss_table(epochs))
        self._last = time.monotonic(), float(len(epochs))

    def note_step(self, step: Step) -> None:
        """Write how far this pass is, if it is time to: reading the losses waits for a device."""
        now = time.monotonic()
        if now < self._next:
            return
        done = step.epoch - 1 + step.done / step.images
        then, before = self._last
        speed = (done - max(before, step.epoch - 1 + step.begun / step.images)) / (now - then)
        parts = step.losses.detach().cpu().split(-(-len(step.losses) // POINTS))
        share = step.done / step.images / len(step.losses)
        place, points = float(step.epoch - 1), list[tuple[float, float]]()
        for part in parts:
            place += share * len(part)
            points.append((round(place, 5), float(part.mean())))
        left = (self._epochs - done) / speed if speed > 0 else 0.0
        progress = Progress.model_construct(
            epoch=done, images_per_second=speed * step.images, seconds_left=left, losses=points
        )
        with suppress(ValueError):  # a loss that is not a number ends the training soon
            self._write(PROGRESS, json_bytes(progress.model_dump()))
        self._last = time.monotonic(), done
        self._next = self._last[0] + max(SOONEST, COST * (self._last[0] - now))


def read_table(folder: Path) -> list[Epoch]:
    """Return the finished passes of a run; none where the table is missing or damaged."""
    try:
        return Document.read(folder / TABLE).table(Epoch._fields, Epoch)
    except (OSError, ToypipeError):
        return []


def read_progress(folder: Path) -> Progress:
    """Return the pass under way of a run; an empty one where it is missing or damaged."""
    try:
        return Progress.model_validate_json(Document.read(folder / PROGRESS).text())
    except (OSError, ToypipeError, ValidationError):
        return Progress()
