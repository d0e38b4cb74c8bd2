"""Where the time of a training step goes, beside what the machine could do.

    python benchmarks/step_time.py [RECIPE] [--steps N] [-S KEY=VALUE]...

Trains a few steps at each size of the recipe, under torch's profiler, and prints a Markdown table:
each operation, its share of the time that the profiler saw, and for convolutions the arithmetic per
second, beside that of plain products of the same number of multiply-adds in the same number type
(images times pixels by inputs times filter by outputs): the faster of torch's matrix product and
its convolution with filters of one pixel. Multiplications with the border's zeros count. It needs
data/prepared, and runs on the CPU.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from machine import arithmetic_limit, describe_machine
from speedrun import PREPARED, trained
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from toypipe.compute.devices import pick_device
from toypipe.data.split import load_split
from toypipe.networks.normalize import build_normalize
from toypipe.networks.whitening import Whitening
from toypipe.params.file import read_params

FORWARD, BACKWARD = "aten::mkldnn_convolution", "aten::convolution_backward"
NAMES = {
    FORWARD: "convolution, forward",
    BACKWARD: "convolution, backward",
    "aten::native_batch_norm": "batch norm, forward",
    "aten::native_batch_norm_backward": "batch norm, backward",
    "aten::baddbmm": "Muon's products",
    "aten::bmm": "Muon's products",
    "aten::silu": "SiLU, forward",
    "aten::silu_backward": "SiLU, backward",
    "aten::max_pool2d_with_indices": "pooling, forward",
    "aten::max_pool2d_with_indices_backward": "pooling, backward",
    "aten::copy_": "copies and casts",
}
FIXED = Whitening().out_channels
TOUCHED = 4 * 2**30  # bytes: enough for recipes/speedrun94.yaml
LEAST = 0.01  # share of the time; rarer operations are summed up
SETTING_UP = {"aten::im2col", "aten::linalg_eigh", "aten::_linalg_eigh"}  # the whitening filters


@dataclass
class Row:
    """What is known of an operation."""

    seconds: float = 0
    products: dict[tuple[int, int, int], int] = field(default_factory=lambda: defaultdict(int))
    """How many matrix products (rows, inner, columns) it is worth."""


@cache
def fastest(shape: tuple[int, int, int], dtype: torch.dtype) -> float:
    """Return the seconds of a matrix product, the best of three in either of torch's ways."""
    rows, inner, columns = shape
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    images, filters = left.view(rows, inner, 1, 1), right.T.contiguous().view(columns, inner, 1, 1)
    ways: list[Callable[[], Tensor]] = [lambda: left @ right, lambda: F.conv2d(images, filters)]
    seconds = []
    for product in ways * 3:
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def products(event: Any) -> list[tuple[int, int, int]]:
    """Return the matrix products that a convolution is worth, once called."""
    if event.key == FORWARD:
        images, filters = event.input_shapes[:2]
        side = images[2] if filters[2] % 2 else images[2] - 1  # as speedrun.py pads them
    else:
        images, _, filters = event.input_shapes[:3]  # of the gradient of the output
        side = images[2]
    pixels, inner = images[0] * side * side, filters[1] * filters[2] * filters[3]
    if event.key == FORWARD:
        return [(pixels, inner, filters[0])]
    of_filters = (inner, pixels, filters[0])
    if filters[1] == FIXED:  # nothing before it learns
        return [of_filters]
    return [of_filters, (pixels, filters[0], inner)]


def collect(events: Any) -> dict[tuple[str, str], Row]:
    """Sum up the operations by name, and convolutions by their filters too."""
    rows: dict[tuple[str, str], Row] = defaultdict(Row)
    for event in events:
        if event.key in SETTING_UP or not event.key.startswith("aten::"):
            continue
        filters, shapes = "", list[tuple[int, int, int]]()
        if event.key in {FORWARD, BACKWARD}:
            weight = event.input_shapes[1 if event.key == FORWARD else 2]
            filters = f"{weight[1]} to {weight[0]}, {weight[2]} x {weight[3]}"
            shapes = products(event)
        row = rows[NAMES.get(event.key, "others"), filters]
        row.seconds += event.self_cpu_time_total / 1e6
        for shape in shapes:
            row.products[shape] += event.count
    return rows


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", type=Path, default=Path("recipes/quick.yaml"))
    parser.add_argument("--steps", type=int, default=3, help="at each size")
    parser.add_argument("-S", dest="overrides", metavar="KEY=VALUE", action="append", default=[])
    options = parser.parse_args()

    device = pick_device("cpu")
    split = load_split(PREPARED / "train.pt")
    params = read_params(options.recipe, options.overrides).train
    normalize = build_normalize(params.normalize, split.images)
    steps = options.steps * max(1, len(params.sizes))
    params = params.model_copy(update={"epochs": steps * params.batch_size / len(split)})
    trained(params, split, normalize)  # the libraries choose their algorithms
    # The profiler's records stay between freed tensors, so that new ones find no room there. Memory
    # that was touched before, and kept (as `pick_device` has it), has no page faults: they would
    # count as time of whoever writes first.
    torch.ones(TOUCHED, dtype=torch.uint8)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        trained(params, split, normalize)
    rows = collect(profiler.key_averages(group_by_input_shape=True))
    whole = sum(row.seconds for row in rows.values())
    dtype = getattr(torch, params.precision)
    print(f"{steps} steps, {whole / steps:.3f} s each\n")
    print("| operation | filters | share | GFLOP/s | plain product |\n|---|---|--:|--:|--:|")
    for (name, filters), row in sorted(rows.items(), key=lambda item: -item[1].seconds):
        if row.seconds < LEAST * whole:
            continue
        cells = [name, filters, f"{row.seconds / whole:.1%}", "", ""]
        if row.products:
            work = sum(2 * a * b * c * count for (a, b, c), count in row.products.items())
            least = sum(fastest(shape, dtype) * count for shape, count in row.products.items())
            cells[3:] = [f"{work / row.seconds / 1e9:.0f}", f"{work / least / 1e9:.0f}"]
        print(f"| {' | '.join(cells)} |")
    rest = sum(row.seconds for row in rows.values() if row.seconds < LEAST * whole)
    print(f"| less than {LEAST:.0%} each | | {rest / whole:.1%} | | |")
    limit = arithmetic_limit(device, dtype) / 1e9
    print(f"\nA large product in {params.precision}: {limit:.0f} GFLOP/s.")
    print(", ".join(f"{key} {value}" for key, value in describe_machine("cpu").items()))


if __name__ == "__main__":
    main()
