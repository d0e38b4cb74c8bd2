"""Progress of a training or a download, on standard error: a bar on a terminal, lines elsewhere."""

import os
import sys
import time
from collections.abc import Iterator

from rich import progress
from rich.console import Console

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
        yield from events
        return
    figures = progress.TextColumn("loss {task.fields[loss]}  {task.fields[speed]} images/s ")
    with _bar("epoch {task.fields[epoch]}", figures, refresh=False) as bar:
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
                if not bar.disable and now - shown > REFRESH:
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


def show_download(events: Iterator[int], size: int, name: str) -> Iterator[int]:
    """Pass on the number of bytes that have arrived, of `size`, and show it.

    Without a bar there is a line for every tenth, and every ten seconds where a tenth takes longer.
    """
    figures = progress.DownloadColumn(), progress.TransferSpeedColumn()
    tenth, shown = -1, 0.0
    with _bar(f"downloading {name}", *figures, refresh=True) as bar:
        task = bar.add_task("", total=size)
        for arrived in events:
            bar.update(task, completed=arrived)
            now, done = time.monotonic(), arrived * 10 // size
            if bar.disable and (done != tenth or now - shown > QUIET):
                tenth, shown = done, now
                line = f"downloading {name}: {arrived / 1e6:.0f} of {size / 1e6:.0f} MB"
                bar.console.print(line, highlight=False, soft_wrap=True)
            yield arrived


def _bar(name: str, *figures: progress.ProgressColumn, refresh: bool) -> progress.Progress:
    """Return a bar that disappears at its end; on anything but a terminal, it is disabled."""
    return progress.Progress(
        *(progress.TextColumn(name), progress.BarColumn(bar_width=None), *figures),
        *(progress.TimeRemainingColumn(), progress.TextColumn("left")),
        console=Console(stderr=True),
        expand=True,
        auto_refresh=refresh,
        transient=True,
        disable=not sys.stderr.isatty() or "DVC_STAGE" in os.environ,
    )


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
