"""`toypipe runs`: what is kept of trainings, shown and forgotten."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from toypipe.errors import BusyError, ToypipeError
from toypipe.params.file import read_params
from toypipe.pipeline.inputs import flatten
from toypipe.pipeline.resume import Listed, list_runs, remove, runs_folder


def print_table(params: Path) -> None:
    """Print a row for each run.

    Args:
        params: The parameter file, from which each run's parameters differ or not.
    """
    runs = list_runs()
    if not runs:
        print(f"no training is kept in {runs_folder()}")
        return
    table = Table("run", "state", "epoch", "size", "used last", f"differs from {params}", box=None)
    own = _own_values(params)
    for run in runs:
        table.add_row(
            run.key,
            run.state,
            _epoch(run),
            f"{run.bytes / 1e6:.1f} MB",
            f"{datetime.fromtimestamp(run.record.used).astimezone():%Y-%m-%d %H:%M}",
            " ".join(_differences(run, own)),
        )
    console = Console() if sys.stdout.isatty() else Console(width=200)  # a pipe has no width
    console.print(table)
    total = sum(run.bytes for run in runs) / 1e6
    print(f"{total:.1f} MB in {runs_folder()}; `toypipe runs RUN` shows a log, --clear forgets")


def print_logs(keys: Sequence[str]) -> None:
    """Print what the logs of some runs say."""
    for run in _chosen(keys):
        log = runs_folder() / run.key / "log.txt"
        print(f"run {run.key}, {run.state}, {_hardware(run)}")
        print(log.read_text(encoding="utf-8") if log.exists() else "it has no log", end="")


def clear(keys: Sequence[str]) -> None:
    """Forget runs, all or some, but none that is at work.

    Raises:
        BusyError: Some are.
    """
    busy = [run.key for run in (_chosen(keys) if keys else list_runs()) if not remove(run.key)]
    if busy:
        raise BusyError(f"at work, and so left alone: {', '.join(busy)}")


def _chosen(keys: Sequence[str]) -> list[Listed]:
    runs = list_runs()
    chosen = []
    for key in keys:
        found = [run for run in runs if run.key.startswith(key)]
        if len(found) != 1:
            known = ", ".join(run.key for run in runs) or "none"
            raise ToypipeError(f"{key} is the beginning of {len(found)} runs; there are: {known}")
        chosen += found
    return chosen


def _own_values(params: Path) -> dict[str, object]:
    try:
        return dict(flatten(read_params(params).train.model_dump()))
    except ToypipeError:
        return {}


def _differences(run: Listed, own: dict[str, object]) -> list[str]:
    values = dict(flatten(run.record.values.get("params", {})))
    return [f"{key}={value}" for key, value in values.items() if own.get(key) != value]


def _epoch(run: Listed) -> str:
    epochs = run.record.values.get("params", {}).get("epochs", 0)
    done = epochs if run.state == "finished" else run.record.epoch
    return f"{done:.3g}/{epochs:g}"


def _hardware(run: Listed) -> str:
    return ", ".join(f"{name} {value}" for name, value in run.record.machine.items())
