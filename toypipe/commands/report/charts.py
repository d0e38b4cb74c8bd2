"""Curves in Vega-Lite, which DVC's plots use, too. chart.json holds everything but the data."""

import json
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import vl_convert

from toypipe.commands.results import Results


def bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, from the installed package."""
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script")


def chart(
    title: str, caption: str, columns: dict[str, str], runs: Sequence[Results]
) -> dict[str, Any]:
    """Draw columns of loss.csv over the epochs; hovering shows the values of an epoch.

    Title and caption also tell people who cannot see the chart what it shows. `columns` name each
    curve, by its column. Of one or two `runs`, the second is dashed. Returns the title, the caption
    and a Vega-Lite `spec`, whose colours are variables of page.css.
    """
    spec: dict[str, Any] = json.loads(Path(__file__).with_name("chart.json").read_bytes())
    drawn, ruler = spec["layer"]
    tooltip = ruler["encoding"]["tooltip"]
    values = list[dict[str, Any]]()
    shares = "validation_accuracy" in columns
    for run, (column, curve) in product(runs, columns.items()):
        # Series have numbers: Vega would read a commit's name such as v1.0 as a path.
        series = {"curve": curve, "run": run.name, "series": f"y{len(values)}"}
        rows = [row for row in run.epochs if math.isfinite(row.epoch)]
        found = [(row.epoch, getattr(row, column)) for row in rows]
        points = [(epoch, value) for epoch, value in found if value is not None]
        for epoch, value in points:
            finite = value if math.isfinite(value) else None  # JSON has no other numbers
            values.append({"epoch": epoch, "value": finite, **series})
        if points:
            label = f"{curve}, {run.name}" if len(runs) > 1 else curve
            form = {"type": "quantitative", "format": ".1%" if shares else ".4f"}
            tooltip.append({"field": series["series"], "title": label, **form})
    if shares:
        drawn["encoding"]["y"]["axis"] = {"format": "%"}
    if len(columns) == 1:
        drawn["encoding"]["color"]["legend"] = None
    if len(runs[0].epochs) > 40:  # too many to draw with points
        del drawn["layer"][1]
    spec |= {"description": f"{title} over the epochs. {caption}", "data": {"values": values}}
    return {"title": title, "caption": caption, "spec": spec}
