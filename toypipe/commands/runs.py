"""`toypipe runs`: list the trainings, show their logs, or forget them."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from toypipe.errors import BusyError, ToypipeError, printable
from toypipe.params.documents import Document
from toypipe.params.file import flatten, read_params
from toypipe.pipeline.run_store import Listed, list_runs, remove, runs_folder


def run(keys: Sequence[str], *, clear: bool, params: Path) -> None:
    """List all runs, compared with a parameter file; show the logs of some, or forget them.

    `keys` are the first letters of runs, none for all. Raises ToypipeError if one is unknown or
    ambiguous, BusyError if a run to forget is running: the others are forgotten.
    """
    found = list_runs()
    chosen = [] if keys else found
    for key in keys:
        matching = [run for run in found if run.key.startswith(key)]
        if len(matching) != 1:
            known = ", ".join(run.key for run in found) or "none"
            raise ToypipeError(f"{len(matching)} runs begin with {key}; the runs are: {known}")
        chosen += matching
    if clear:
        if busy := [run.key for run in chosen if not remove(run.key)]:
            raise BusyError(f"running, so not forgotten: {', '.join(busy)}")
        print(f"{len(chosen)} forgotten")
    elif not found:
        print(f"no training in {runs_folder()}")
    elif not keys:
        _print_table(found, params)
    else:
        for run in chosen:
            hardware = ", ".join(f"{name} {value}" for name, value in run.record.machine.items())
            print(printable(f"run {run.key}, {run.state}, {hardware}"))
            print(*read_log(run), sep="\n")


def read_log(run: Listed) -> list[str]:
    """Return the lines of a training's log, harmless to print; ToypipeError if it is too large."""
    path = run.path / "log.txt"
    text = Document.read(path).content if path.exists() else b"no log"
    return [printable(line) for line in text.decode(errors="backslashreplace").splitlines()]


def own_params(path: Path) -> dict[str, Any]:
    """Return the section `train` of a parameter file by key; nothing if the file is invalid."""
    try:
        return dict(flatten(read_params(path).train.model_dump()))
    except ToypipeError:
        return {}


def changes_of(run: Listed, own: dict[str, Any]) -> list[str]:
    """Return what differs in a training's parameters, as `key=value`."""
    values = flatten(run.record.params)
    return [printable(f"{key}={value}") for key, value in values if own.get(key) != value]


def _print_table(runs: list[Listed], params: Path) -> None:
    own = own_params(params)
    table = Table("run", "state", "epoch", "size", "last used", f"differs from {params}", box=None)
    for run in runs:
        values = run.record.params
        table.add_row(
            run.key,
            run.state,
            printable(f"{run.record.epoch:.3g}/{values.get('epochs', 0)}".removesuffix(".0")),
            f"{run.bytes / 1e6:.1f} MB",
            f"{datetime.fromtimestamp(run.record.used).astimezone():%Y-%m-%d %H:%M}",
            " ".join(changes_of(run, own)),
        )
    width = None if sys.stdout.isatty() else 200  # a pipe has none
    Console(width=width, markup=False, emoji=False).print(table)
    total = sum(run.bytes for run in runs) / 1e6
    print(f"{total:.1f} MB in {runs_folder()}; `toypipe runs RUN` shows a log, --clear forgets")
