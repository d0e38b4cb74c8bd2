"""Progress of a training or a download, on standard error: a bar on a terminal, lines elsewhere."""

import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from toypipe.data.cifar10 import ARCHIVE_BYTES
from toypipe.training.loop import Step
from toypipe.training.state import Epoch

REFRESH = 0.25  # seconds; reading the loss synchronises with the device, so not at every step
RECENT = 100  # batches: the bar shows their mean loss
QUIET = 10.0  # seconds of a download without a line, at most


def show(events: Iterator[Step | Epoch]) -> Iterator[Step | Epoch]:
    """Pass on the events of a training and show them; of several processes, only rank 0 shows.

    Under DVC there is no bar, even on a terminal, because DVC prints lines of its own.
    """
    if os.environ.get("RANK", "0") != "0":
        return events
    return _bar(events) if _has_terminal() else _lines(events)


def show_download(events: Iterator[int]) -> Iterator[int]:
    """Pass on the number of bytes of CIFAR-10 that have arrived, and show it."""
    return _download_bar(events) if _has_terminal() else _download_lines(events)


def _has_terminal() -> bool:
    return sys.stderr.isatty() and "DVC_STAGE" not in os.environ


def _progress(*columns: ProgressColumn, refresh: bool) -> Progress:
    """Return a bar that disappears at its end, between columns of text."""
    first, *others = columns
    left = (TimeRemainingColumn(), TextColumn("left"))
    return Progress(
        *(first, BarColumn(bar_width=None), *others, *left),
        console=Console(stderr=True),
        expand=True,
        auto_refresh=refresh,
        transient=True,
    )


def _lines(events: Iterator[Step | Epoch]) -> Iterator[Step | Epoch]:
    step, start = None, time.monotonic()
    for event in events:
        if isinstance(event, Step):
            step = event
        else:
            now = time.monotonic()
            print(_line(step, event, now - start), file=sys.stderr, flush=True)
            step, start = None, now
        yield event


def _bar(events: Iterator[Step | Epoch]) -> Iterator[Step | Epoch]:
    figures = TextColumn("loss {task.fields[loss]}  {task.fields[speed]} images/s ")
    bar = _progress(TextColumn("epoch {task.fields[epoch]}"), figures, refresh=False)
    with bar:
        task = bar.add_task("", total=None, epoch="", loss="", speed="")
        step, start = None, time.monotonic()
        shown = start
        for event in events:
            now = time.monotonic()
            if isinstance(event, Epoch):
                line = _line(step, event, now - start)
                bar.console.print(line, highlight=False, soft_wrap=True)
                step, start = None, now
            else:
                step = event
                if now - shown > REFRESH:
                    shown = now
                    bar.update(
                        task,
                        total=step.epochs,
                        completed=step.epoch - 1 + step.done / step.images,
                        epoch=f"{step.epoch}/{step.epochs}",
                        loss=f"{float(step.losses[-RECENT:].mean()):.4f}",
                        speed=f"{(step.done - step.begun) / (now - start):,.0f}",
                        refresh=True,
                    )
            yield event


def _line(last: Step | None, epoch: Epoch, seconds: float) -> str:
    """Describe an epoch; `last` is its last step, None if this process ran no step of it."""
    text = f"epoch {epoch.epoch:g}  "
    if last is not None:
        text = f"epoch {last.epoch:{len(str(last.epochs))}}/{last.epochs}  "
    text += f"train loss {epoch.train_loss:.4f}  "
    if epoch.validation_loss is not None:
        text += f"validation loss {epoch.validation_loss:.4f}, "
        text += f"accuracy {epoch.validation_accuracy:.4f}  "
    text += f"{seconds:.1f} s"
    if last is not None:
        text += f", {(last.images - last.begun) / seconds:,.0f} images/s"
    return text


def _download_lines(events: Iterator[int]) -> Iterator[int]:
    """Print a line for every tenth, and every ten seconds where a tenth takes longer."""
    tenth, shown = -1, 0.0
    for arrived in events:
        now = time.monotonic()
        if arrived * 10 // ARCHIVE_BYTES != tenth or now - shown > QUIET:
            tenth, shown = arrived * 10 // ARCHIVE_BYTES, now
            line = f"downloading CIFAR-10: {arrived / 1e6:.0f} of {ARCHIVE_BYTES / 1e6:.0f} MB"
            print(line, file=sys.stderr, flush=True)
        yield arrived


def _download_bar(events: Iterator[int]) -> Iterator[int]:
    name, figures = TextColumn("downloading CIFAR-10"), (DownloadColumn(), TransferSpeedColumn())
    with _progress(name, *figures, refresh=True) as bar:
        task = bar.add_task("", total=ARCHIVE_BYTES)
        for arrived in events:
            bar.update(task, completed=arrived)
            yield arrived
