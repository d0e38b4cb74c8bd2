"""Curves as Vega-Lite, the grammar that DVC's plots are written in too."""

import math
from typing import Any

import vl_convert

from toypipe.commands.results import Results

FONT = "system-ui, sans-serif"


def bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, from the installed package."""
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script")


def curves(
    columns: dict[str, str], form: str, description: str, runs: dict[str, Results]
) -> dict[str, Any]:
    """Draw columns of loss.csv over the epochs; hovering shows the values of an epoch.

    Args:
        columns: The curves: the name of each, by its column.
        form: How a value is written, as d3-format has it.
        description: What there is to see, for those who do not see it.
        runs: By their names; the second, if any, is drawn in dashes.

    Returns:
        A Vega-Lite specification. Its colours are variables of the page's style.
    """
    # Fields by number: a name may hold what Vega would read as a path.
    fields = {
        (run, column): f"y{i}"
        for i, (run, column) in enumerate((run, column) for run in runs for column in columns)
    }
    rows: dict[float, dict[str, float | None]] = {}
    for (run, column), field in fields.items():
        for epoch in runs[run].epochs:
            at = epoch["epoch"] or 0.0
            value = epoch[column]
            finite = value is not None and math.isfinite(value)  # JSON has no others
            rows.setdefault(at, {"epoch": at})[field] = value if finite else None
    colour = {
        "type": "nominal",
        "scale": {"domain": list(columns.values()), "range": ["var(--hit)", "var(--miss)"]},
        "legend": {"title": None, "orient": "top"} if len(columns) > 1 else None,
    }
    points = {"size": 22, "filled": True} if len(rows) <= 40 else False
    lines = [
        {
            "mark": {
                "type": "line",
                "point": points if run == next(iter(runs)) else False,
                "strokeDash": [1, 0] if run == next(iter(runs)) else [5, 4],
            },
            "encoding": {
                "y": {
                    "field": field,
                    "type": "quantitative",
                    "title": None,
                    "axis": {"format": form},
                    "scale": {"zero": False},
                },
                "color": {"datum": columns[column], **colour},
            },
        }
        for (run, column), field in fields.items()
    ]
    named = len(runs) > 1
    tooltip = [{"field": "epoch", "type": "quantitative", "title": "epoch"}] + [
        {
            "field": field,
            "type": "quantitative",
            "title": f"{columns[column]}, {run}" if named else columns[column],
            "format": form.replace("0", "1").replace(".2", ".4"),
        }
        for (run, column), field in fields.items()
    ]
    ruler = {
        "mark": {"type": "rule", "color": "var(--muted)"},
        "params": [
            {
                "name": "hover",
                "select": {
                    "type": "point",
                    "encodings": ["x"],
                    "nearest": True,
                    "on": "pointerover",
                    "clear": "pointerout",
                },
            }
        ],
        "encoding": {
            "opacity": {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0},
            "tooltip": tooltip,
        },
    }
    return {
        "description": description,
        "data": {"values": [rows[epoch] for epoch in sorted(rows)]},
        "width": "container",
        "height": 240,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": None,
        "encoding": {
            "x": {
                "field": "epoch",
                "type": "quantitative",
                "title": "epoch",
                "scale": {"zero": False, "nice": False, "padding": 8},
                "axis": {"tickMinStep": 1, "grid": False, "format": "d"},
            }
        },
        "layer": [*lines, ruler],
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "line": {"strokeWidth": 2},
            "axis": {
                "labelColor": "var(--muted)",
                "titleColor": "var(--muted)",
                "titleFontWeight": "normal",
                "labelFontSize": 12,
                "titleFontSize": 12,
                "gridColor": "var(--rule)",
                "domainColor": "var(--rule)",
                "tickColor": "var(--rule)",
            },
            "axisY": {"domain": False, "ticks": False, "tickCount": 5},
            "legend": {"labelColor": "var(--ink)", "labelFontSize": 13, "symbolType": "stroke"},
        },
    }
