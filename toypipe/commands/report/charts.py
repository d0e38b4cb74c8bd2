"""Curves in Vega-Lite, which DVC's plots use, too. chart.json holds everything but the data."""

import json
import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import vl_convert

from toypipe.commands.results import percent
from toypipe.training.state import Epoch

DATA = "courses"  # the name of what changes while a training runs
UNDER_WAY = "this epoch"  # a curve, thin
DASHES = [[1, 0], [5, 4], [1, 0]]  # of training, validation and what is under way
RUNS = [f"var(--run{number})" for number in range(1, 7)]


def bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, from the installed package."""
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script")


class Course(NamedTuple):
    """How a training went, as far as it is drawn."""

    name: str
    epochs: Sequence[Epoch]
    under_way: Sequence[tuple[float, float]] = ()  # passes, and the train loss there


def charts_of(runs: Sequence[Course], loss: str, *, by_run: bool = False) -> list[dict[str, Any]]:
    """Draw the loss of trainings over the epochs, and their validation accuracy if they have any.

    The captions are about the first run: those after it are drawn to compare. With `by_run`, all
    are equal: each has a colour and a caption, and validation is dashed. Returns for each chart its
    title, its caption and a Vega-Lite `spec`, whose colours are variables of page.css.
    """
    named = runs if by_run else runs[:1]

    def caption(describe: Callable[[Course], str]) -> str:
        return " ".join(
            f"{run.name}: {describe(run)}" if by_run else describe(run) for run in named
        )

    validated = any(row.validation_accuracy is not None for run in named for row in run.epochs)
    columns = {"train_loss": "training"} | ({"validation_loss": "validation"} if validated else {})
    title = f"Loss ({loss.replace('_', ' ')})" if loss else "Loss"
    told = caption(lambda run: _loss_of(run, loss))
    charts = [_chart(title, told, columns, runs, by_run=by_run)]
    if validated:
        columns = {"validation_accuracy": "validation accuracy"}
        told = caption(_accuracy_of)
        charts.append(_chart("Validation accuracy", told, columns, runs, by_run=by_run))
    return charts


def _loss_of(run: Course, loss: str) -> str:
    if not run.epochs:
        return "No epoch is finished yet."
    first, last = run.epochs[0].train_loss, run.epochs[-1].train_loss
    course = f"went from {first:.4f} to {last:.4f}" if len(run.epochs) > 1 else f"is {last:.4f}"
    return f"The mean train loss {course}{' nats' if loss == 'cross_entropy' else ''}."


def _accuracy_of(run: Course) -> str:
    best = max(run.epochs, key=lambda row: row.validation_accuracy or 0.0, default=None)
    if best is None or best.validation_accuracy is None:
        return "There is none."
    return f"The best is {percent(best.validation_accuracy)}, in epoch {best.epoch:g}."


def _chart(
    title: str, caption: str, columns: dict[str, str], runs: Sequence[Course], *, by_run: bool
) -> dict[str, Any]:
    """Draw columns of loss.csv over the epochs; hovering shows the values of an epoch.

    Title and caption also tell people who cannot see the chart what it shows. `columns` name each
    curve, by its column.
    """
    spec: dict[str, Any] = json.loads(Path(__file__).with_name("chart.json").read_bytes())
    drawn, ruler = spec["layer"]
    line, points = drawn["layer"]
    colour, tooltip = drawn["encoding"]["color"], ruler["encoding"]["tooltip"]
    values = list[dict[str, Any]]()
    shares = "validation_accuracy" in columns
    for run, (column, curve) in product(runs, columns.items()):
        # Series have numbers: Vega would read a commit's name such as v1.0 as a path.
        series = {"curve": curve, "run": run.name, "series": f"y{len(values)}"}
        rows = [row for row in run.epochs if math.isfinite(row.epoch)]
        found = [(row.epoch, getattr(row, column)) for row in rows]
        finished = [(epoch, value) for epoch, value in found if value is not None]
        for epoch, value in finished:
            finite = value if math.isfinite(value) else None  # JSON has no other numbers
            values.append({"epoch": epoch, "value": finite, **series})
        if finished:
            label = f"{curve}, {run.name}" if len(runs) > 1 else curve
            form = {"type": "quantitative", "format": ".1%" if shares else ".4f"}
            tooltip.append({"field": series["series"], "title": label, **form})
    curves = list(columns.values())
    if "train_loss" in columns and any(run.under_way for run in runs):
        curves.append(UNDER_WAY)
        values += [
            {"epoch": epoch, "value": value, "curve": UNDER_WAY, "run": run.name, "series": "now"}
            for run in runs
            for epoch, value in run.under_way
        ]
    if by_run:
        colour["field"] = "run"
        line["encoding"]["strokeDash"] |= {
            "field": "curve",
            "scale": {"domain": curves, "range": DASHES},
        }
        colour["scale"] = {"domain": [run.name for run in runs], "range": RUNS}
    else:
        colour["scale"]["domain"] = curves
        points["transform"][0]["filter"]["equal"] = runs[0].name
        if len(curves) == 1:
            colour["legend"] = None
    if shares:
        drawn["encoding"]["y"]["axis"] = {"format": "%"}
    if by_run or len(runs[0].epochs) > 40:  # too many to draw with points
        del drawn["layer"][1]
    spec["description"] = f"{title} over the epochs. {caption}"
    spec["data"] = {"name": DATA, "values": values}
    return {"title": title, "caption": caption, "spec": spec}
