"""What the page shows: every training, its curves and its log."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from toypipe.commands.report.charts import Course, charts_of
from toypipe.commands.runs import changes_of, own_params, read_log
from toypipe.errors import ToypipeError, printable
from toypipe.pipeline.live import read_progress, read_table
from toypipe.pipeline.run_store import Listed, list_runs, runs_folder

PARAMS = Path("params.yaml")


def page(opened: Collection[str], compared: Collection[str]) -> dict[str, Any]:
    """Return all trainings, those under way first, then those used last, and where they are.

    Those that are opened come with their log and their curves; two or more that are compared are
    drawn over each other. Unknown ones are left out.
    """
    own, runs = _own(), list_runs()
    chosen = [run for run in runs if run.key in compared]
    return {
        "folder": str(runs_folder()),
        "runs": [_shown(run, own) for run in sorted(runs, key=lambda run: run.state != "running")],
        "opened": {
            run.key: {"log": _log(run), "charts": _charts([run])}
            for run in runs
            if run.key in opened
        },
        "compared": _charts(chosen) if len(chosen) > 1 else [],
    }


def _own() -> dict[str, Any]:
    try:
        status = PARAMS.stat()
    except OSError:
        return {}
    return _read(status.st_mtime_ns, status.st_ino)


@lru_cache(1)  # parsing YAML would cost half of what the page costs
def _read(*_: int) -> dict[str, Any]:
    return own_params(PARAMS)


def _shown(run: Listed, own: dict[str, Any]) -> dict[str, Any]:
    progress = read_progress(run.path) if run.state == "running" else None
    epochs = run.record.params.get("epochs", 0)
    return {
        "key": run.key,
        "name": _name_of(run),
        "state": run.state,
        "epoch": max(run.record.epoch, progress.epoch if progress else 0.0),
        "epochs": epochs if isinstance(epochs, int | float) else 0,
        "speed": progress.images_per_second if progress else 0.0,
        "left": progress.seconds_left if progress else 0.0,
        "used": f"{datetime.fromtimestamp(run.record.used).astimezone():%Y-%m-%d %H:%M}",
        "changes": changes_of(run, own),
    }


def _name_of(run: Listed) -> str:
    """Return the name that DVC gave the experiment, and the first letters of the run's own."""
    return f"{run.record.experiment} {run.key[:6]}".strip()


def _charts(runs: Sequence[Listed]) -> list[dict[str, Any]]:
    """Draw the curves of trainings, over each other."""
    courses = []
    for run in runs:
        epochs, progress = read_table(run.path), read_progress(run.path)
        # What was under way when an epoch ended is in its mean.
        under_way = progress.losses if progress.epoch > len(epochs) else []
        courses.append(Course(_name_of(run), epochs, under_way))
    losses = {str(run.record.params.get("loss", "")) for run in runs}
    loss = losses.pop() if len(losses) == 1 else ""
    return charts_of(courses, loss, by_run=len(courses) > 1)


def _log(run: Listed) -> str:
    try:
        return "\n".join(read_log(run))
    except (OSError, ToypipeError) as error:
        return printable(str(error))
