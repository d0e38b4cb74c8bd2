"""Compare the training loops: toypipe's, the tutorial's, and those of six frameworks.

    make benchmark          # all of them, five times each; writes benchmarks/results
    make benchmark-quick    # toypipe and the tutorial, three times; only prints
    python benchmarks/compare.py [--only NAME]... [--repeats N] [--images N] [--device NAME]

Every contender trains the same network (the toy CNN) from the same start on the same images in
the same order, in a process of its own, as it comes and at its best; contenders.py says what that
means. One round of all follows the other, so that a slow minute of the machine meets everybody.
A row whose loss is not that of toypipe, to 0.001, did other work, and does not count.

Prints a Markdown table of medians; all of them together also go to benchmarks/results/DEVICE.json
and .svg. It needs data/prepared/train.pt (`dvc repro prepare`).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from contenders import CONTENDERS
from machine import arithmetic_limit, describe_machine

HERE = Path(__file__).parent
BATCH_SIZES = (32, 128, 512)
TOLERANCE = 1e-3
FLOP_PER_IMAGE = 57.35e6
"""Of the toy network's forward and backward pass, multiplications with the border's zeros left out:
two for each of 10.3 million multiply-adds forward and 18.4 million backward."""

Sample = dict[str, Any]
"""What one.py writes."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(CONTENDERS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()

    names = [(name, best) for name in options.only or CONTENDERS for best in (False, True)]
    samples: dict[tuple[str, bool], list[Sample]] = {each: [] for each in names}
    limits: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for repeat in range(options.repeats):
        for name, best in names[repeat:] + names[:repeat]:  # nobody is always first
            sample = measure(name, best=best, images=options.images, device=options.device)
            samples[name, best].append(sample)
            print(f"{repeat + 1}/{options.repeats} {label(name, best=best)}", file=sys.stderr)
        for dtype, found in limits.items():
            found.append(arithmetic_limit(torch.device(options.device), getattr(torch, dtype)))
    result = {
        "machine": describe_machine(options.device),
        "images": options.images,
        "repeats": options.repeats,
        "flop_per_second": {dtype: statistics.median(found) for dtype, found in limits.items()},
        "samples": {label(name, best=best): found for (name, best), found in samples.items()},
    }
    print(table(result))
    if options.only is None:
        from draw import draw

        folder = HERE / "results"
        folder.mkdir(exist_ok=True)
        (folder / f"{options.device}.json").write_text(json.dumps(result, indent=1) + "\n")
        drawn = {
            name: found
            for name, found in result["samples"].items()
            if not name.startswith("bare step") and not any("missing" in each for each in found)
        }
        draw(drawn, BATCH_SIZES, folder / f"{options.device}.svg")


def label(name: str, *, best: bool) -> str:
    """Return what a row is called."""
    if name in {"toypipe", "bare_step"}:
        return f"{name.replace('_', ' ')}, {'bfloat16' if best else 'float32'}"
    return f"{name}, {'at its best' if best else 'as it comes'}"


def measure(name: str, *, best: bool, images: int, device: str) -> Sample:
    """Run one contender in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "sample.json")
        command = [sys.executable, str(HERE / "one.py"), str(time.time()), name]
        command += ["--best"] * best + ["--images", str(images), "--device", device]
        command += ["--batch-sizes", *map(str, BATCH_SIZES), "--out", str(out)]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{label(name, best=best)} failed:\n{done.stderr[-3000:]}")
        sample: Sample = json.loads(out.read_text())
        return sample


def medians(samples: list[Sample], batch_size: int, key: str) -> float:
    """Return the median over the repeats."""
    return float(statistics.median(sample[str(batch_size)][key] for sample in samples))


def table(result: dict[str, Any]) -> str:
    """Write the figures as Markdown."""
    samples: dict[str, list[Sample]] = result["samples"]
    ours = samples.get("toypipe, float32")
    head = ["contender", *(f"batch {size}" for size in BATCH_SIZES), "start-up", "memory"]
    lines = [f"| {' | '.join(head)} |", f"|---{'|--:' * (len(head) - 1)}|"]
    for name, found in samples.items():
        if any("missing" in sample for sample in found):
            lines.append(f"| {name} | not installed |" + " |" * (len(head) - 2))
            continue
        cells = []
        for size in BATCH_SIZES:
            speeds = sorted(sample[str(size)]["speed"] for sample in found)
            cell = f"{statistics.median(speeds):,.0f} ({speeds[0]:,.0f} to {speeds[-1]:,.0f})"
            if ours is not None:
                pairs = zip(found, ours, strict=True)
                ratio = statistics.median(
                    a[str(size)]["speed"] / b[str(size)]["speed"] for a, b in pairs
                )
                cell += f" {ratio:.2f}"
                wrong = abs(medians(found, size, "loss") - medians(ours, size, "loss"))
                if wrong > TOLERANCE and not name.startswith("bare step"):
                    cell = f"does not count: its loss is {wrong:.4f} off"
            cells.append(cell)
        start_up = statistics.median(sample["start_up"] for sample in found)
        memory = statistics.median(sample["memory"] for sample in found)
        lines.append(
            f"| {name} | {' | '.join(cells)} | {start_up:.1f} s | {memory / 1e6:,.0f} MB |"
        )
    lines += [
        "",
        "Images per second, median (least to most), and the ratio to toypipe in float32.",
        "",
    ]
    return "\n".join(lines + shares(result))


def shares(result: dict[str, Any]) -> list[str]:
    """Say how near toypipe comes to its own bare step, and to what the machine can do."""
    lines, samples = [], result["samples"]
    for dtype, flop_per_second in result["flop_per_second"].items():
        ours, bare = (samples.get(f"{name}, {dtype}") for name in ("toypipe", "bare step"))
        if ours is None:
            continue
        parts = []
        for size in BATCH_SIZES:
            speed = medians(ours, size, "speed")
            part = f"{speed * FLOP_PER_IMAGE / flop_per_second:.0%} of the arithmetic limit"
            if bare is not None:
                pairs = zip(bare, ours, strict=True)
                more = statistics.median(
                    a[str(size)]["speed"] / b[str(size)]["speed"] - 1 for a, b in pairs
                )
                part += f", {more:+.1%} over the bare step"
            parts.append(f"{part} at batch {size}")
        lines.append(f"{dtype} ({flop_per_second / 1e9:,.0f} GFLOP/s in a large matrix product): ")
        lines[-1] += "; ".join(parts) + "."
    return [*lines, "", ", ".join(f"{k} {v}" for k, v in result["machine"].items())]


if __name__ == "__main__":
    main()
