"""Show a training run or a download: a bar on a terminal, lines elsewhere."""

import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from toypipe.data.cifar10 import ARCHIVE_BYTES
from toypipe.training.loop import Step
from toypipe.training.state import Epoch

REFRESH = 0.25  # seconds; reading the loss waits for the device, so not at every step
RECENT = 100  # batches whose mean loss the bar shows
QUIET = 10.0  # seconds of a download without a line, at most


def show(events: Iterator[Step | Epoch]) -> Iterator[Step | Epoch]:
    """Pass the events of a run on, showing them on standard error.

    Under DVC there is no bar, even on a terminal: DVC has lines of its own there. Of several
    processes that train together, the first one shows them for all.
    """
    if os.environ.get("RANK", "0") != "0":
        return events
    return _bar(events) if _has_terminal() else _lines(events)


def _has_terminal() -> bool:
    return sys.stderr.isatty() and "DVC_STAGE" not in os.environ


def _lines(events: Iterator[Step | Epoch]) -> Iterator[Step | Epoch]:
    step, start = None, time.monotonic()
    for event in events:
        match event:
            case Step():
                step = event
            case Epoch():
                now = time.monotonic()
                print(_line(step, event, now - start), file=sys.stderr, flush=True)
                step, start = None, now
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
        step, start = None, time.monotonic()
        shown = start
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
                            speed=f"{(step.done - step.begun) / (now - start):,.0f}",
                            refresh=True,
                        )
                case Epoch():
                    line = _line(step, event, now - start)
                    bar.console.print(line, highlight=False, soft_wrap=True)
                    step, start = None, now
            yield event


def _line(last: Step | None, epoch: Epoch, seconds: float) -> str:
    """Describe a finished epoch, of which this process may have seen no step, but the end."""
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


def show_download(events: Iterator[int]) -> Iterator[int]:
    """Pass on how many bytes of CIFAR-10 have arrived, showing it as `show` does."""
    return _download_bar(events) if _has_terminal() else _download_lines(events)


def _download_lines(events: Iterator[int]) -> Iterator[int]:
    """Print a line for every tenth, or where that takes long, every ten seconds."""
    tenth, shown = -1, 0.0
    for arrived in events:
        now = time.monotonic()
        if arrived * 10 // ARCHIVE_BYTES != tenth or now - shown > QUIET:
            tenth, shown = arrived * 10 // ARCHIVE_BYTES, now
            line = f"downloading CIFAR-10: {arrived / 1e6:.0f} of {ARCHIVE_BYTES / 1e6:.0f} MB"
            print(line, file=sys.stderr, flush=True)
        yield arrived


def _download_bar(events: Iterator[int]) -> Iterator[int]:
    bar = Progress(
        TextColumn("downloading CIFAR-10"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        expand=True,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=ARCHIVE_BYTES)
        for arrived in events:
            bar.update(task, completed=arrived)
            yield arrived
