"""Show a training run: a bar on a terminal, a line per epoch elsewhere."""

import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from toypipe.run import Epoch
from toypipe.training import Step

REFRESH = 0.25  # seconds; reading the loss waits for the device, so not at every step
RECENT = 100  # batches whose mean loss the bar shows


def show(events: Iterator[Step | Epoch]) -> Iterator[Step | Epoch]:
    """Pass the events of a run on, showing them on standard error.

    Under DVC there is no bar, even on a terminal: DVC has lines of its own there.
    """
    if sys.stderr.isatty() and "DVC_STAGE" not in os.environ:
        return _bar(events)
    return _lines(events)


def _lines(events: Iterator[Step | Epoch]) -> Iterator[Step | Epoch]:
    start, step = time.monotonic(), None
    for event in events:
        match event:
            case Step():
                step = event
            case Epoch():
                now = time.monotonic()
                print(_line(step, event, now - start), file=sys.stderr, flush=True)
                start = now
        yield event


def _bar(events: Iterator[Step | Epoch]) -> Iterator[Step | Epoch]:
    bar = Progress(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=None),
        TextColumn("loss {task.fields[loss]}  {task.fields[speed]} images/s "),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        expand=True,
        auto_refresh=False,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None, epoch="", loss="", speed="")
        start = shown = time.monotonic()
        step = None
        for event in events:
            now = time.monotonic()
            match event:
                case Step():
                    step = event
                    if now - shown > REFRESH:
                        shown = now
                        bar.update(
                            task,
                            total=step.epochs,
                            completed=step.epoch - 1 + step.done / step.images,
                            epoch=f"{step.epoch}/{step.epochs}",
                            loss=f"{float(step.losses[-RECENT:].mean()):.4f}",
                            speed=f"{step.done / (now - start):,.0f}",
                            refresh=True,
                        )
                case Epoch():
                    line = _line(step, event, now - start)
                    bar.console.print(line, highlight=False, soft_wrap=True)
                    start = now
            yield event


def _line(last: Step | None, epoch: Epoch, seconds: float) -> str:
    """Describe a finished epoch; of one that was stopped after its last step, no step is seen."""
    measured = ""
    if epoch.validation_loss is not None:
        measured = (
            f"  validation loss {epoch.validation_loss:.4f},"
            f" accuracy {epoch.validation_accuracy:.4f}"
        )
    if last is None:
        return f"epoch {epoch.epoch:g}  train loss {epoch.train_loss:.4f}{measured}"
    width = len(str(last.epochs))
    return (
        f"epoch {last.epoch:{width}}/{last.epochs}  train loss {epoch.train_loss:.4f}{measured}"
        f"  {seconds:.1f} s, {last.images / seconds:,.0f} images/s"
    )
