"""What the page shows: every training, its curves and its log."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from toypipe.commands.report.charts import Course, charts_of
from toypipe.commands.runs import changes_of, own_params, read_log
from toypipe.errors import ToypipeError, printable
from toypipe.pipeline.live import read_progress, read_table
from toypipe.pipeline.run_store import Listed, list_runs, runs_folder

PARAMS = Path("params.yaml")


def overview() -> dict[str, Any]:
    """Return all trainings, those under way first, then those used last, and where they are."""
    own = own_params(PARAMS)
    runs = sorted(list_runs(), key=lambda run: run.state != "running")
    return {"folder": str(runs_folder()), "runs": [_shown(run, own) for run in runs]}


def _shown(run: Listed, own: dict[str, Any]) -> dict[str, Any]:
    progress = read_progress(run.path) if run.state == "running" else None
    epochs = run.record.params.get("epochs", 0)
    return {
        "key": run.key,
        "name": name_of(run),
        "state": run.state,
        "epoch": max(run.record.epoch, progress.epoch if progress else 0.0),
        "epochs": epochs if isinstance(epochs, int | float) else 0,
        "speed": progress.images_per_second if progress else 0.0,
        "left": progress.seconds_left if progress else 0.0,
        "used": f"{datetime.fromtimestamp(run.record.used).astimezone():%Y-%m-%d %H:%M}",
        "changes": changes_of(run, own),
    }


def name_of(run: Listed) -> str:
    """Return the name that DVC gave the experiment, and the first letters of the run's own."""
    return f"{run.record.experiment} {run.key[:6]}".strip()


def charts(keys: Sequence[str]) -> list[dict[str, Any]]:
    """Draw the curves of some trainings, over each other; unknown ones are left out."""
    chosen = [run for run in list_runs() if run.key in keys]
    courses = []
    for run in chosen:
        epochs, progress = read_table(run.path), read_progress(run.path)
        # What was under way when an epoch ended is in its mean.
        under_way = progress.losses if progress.epoch > len(epochs) else []
        courses.append(Course(name_of(run), epochs, under_way))
    losses = {str(run.record.params.get("loss", "")) for run in chosen}
    loss = losses.pop() if len(losses) == 1 else ""
    return charts_of(courses, loss, by_run=len(courses) > 1) if courses else []


def log(key: str) -> str:
    """Return the log of a training, or why it cannot be read."""
    try:
        return "\n".join(line for run in list_runs() if run.key == key for line in read_log(run))
    except (OSError, ToypipeError) as error:
        return printable(str(error))
