"""`toypipe runs`: list the trainings, show their logs, or forget them."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

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
            log = runs_folder() / run.key / "log.txt"
            hardware = ", ".join(f"{name} {value}" for name, value in run.record.machine.items())
            print(printable(f"run {run.key}, {run.state}, {hardware}"))
            text = Document.read(log).content if log.exists() else b"no log"
            for line in text.decode(errors="backslashreplace").splitlines():
                print(printable(line))


def _print_table(runs: list[Listed], params: Path) -> None:
    try:
        own = dict(flatten(read_params(params).train.model_dump()))
    except ToypipeError:
        own = {}
    table = Table("run", "state", "epoch", "size", "last used", f"differs from {params}", box=None)
    for run in runs:
        values = run.record.params
        changes = [f"{key}={value}" for key, value in flatten(values) if own.get(key) != value]
        table.add_row(
            run.key,
            run.state,
            printable(f"{run.record.epoch:.3g}/{values.get('epochs', 0)}".removesuffix(".0")),
            f"{run.bytes / 1e6:.1f} MB",
            f"{datetime.fromtimestamp(run.record.used).astimezone():%Y-%m-%d %H:%M}",
            printable(" ".join(changes)),
        )
    width = None if sys.stdout.isatty() else 200  # a pipe has none
    Console(width=width, markup=False, emoji=False).print(table)
    total = sum(run.bytes for run in runs) / 1e6
    print(f"{total:.1f} MB in {runs_folder()}; `toypipe runs RUN` shows a log, --clear forgets")
