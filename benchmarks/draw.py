"""The picture of benchmarks/compare.py: images per second, a bar for each contender."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure


def draw(
    samples: dict[str, list[dict[str, Any]]], batch_sizes: tuple[int, ...], path: Path
) -> None:
    """Draw the medians, one panel for each batch size.

    Args:
        samples: What each contender has measured, by its name.
        batch_sizes: In images.
        path: The picture, SVG.
    """
    figure = Figure(figsize=(11, 4.5))
    axes = figure.subplots(1, len(batch_sizes), sharey=True)
    for axis, size in zip(axes, batch_sizes, strict=True):
        speeds = [
            statistics.median(s[str(size)]["speed"] for s in each) for each in samples.values()
        ]
        colours = ["#1f77b4" if name.startswith("toypipe") else "#b0b0b0" for name in samples]
        bars = axis.barh(list(samples), speeds, color=colours)
        axis.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=7)
        axis.set_title(f"batch {size}", fontsize=10)
        axis.margins(x=0.2)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.supxlabel("images per second, median; longer is faster", fontsize=9)
    figure.tight_layout()
    # The same figures give the same file, with text that stays text.
    with mpl.rc_context({"svg.hashsalt": "toypipe", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
