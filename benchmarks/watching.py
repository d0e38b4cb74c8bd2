"""What the page of `toypipe watch` costs: how soon it is there, and what it takes from a training.

    python benchmarks/watching.py [PAIRS]

Puts 200 finished trainings into a folder, serves it, and opens the page in Chromium: ten times
beside nothing else. Then it trains the default recipe, of whose epochs every other one has the page
open beside it, with the curves of this training in sight. The browser and the server compute on
this machine too: beside how long the epochs took, which varies, it prints what processor time these
two used. It needs data/prepared, Chromium and the packages of `make setup`.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil
from machine import describe_machine
from playwright.sync_api import Browser, Page, sync_playwright

from toypipe.data.split import load_split
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.params.file import read_params
from toypipe.pipeline.resume import claimed, kept
from toypipe.training.holdout import hold_out
from toypipe.training.loop import begin, train
from toypipe.training.state import Epoch, loss_table

RUNS, LOADS = 200, 10
ROOT = Path.cwd()
THERE = f"document.querySelectorAll('article').length >= {RUNS}"


def finish_runs() -> None:
    """Write the folders of trainings that are finished, of 20 epochs each."""
    rows = [Epoch(i + 1, 2.0 / (i + 1), 2.1 / (i + 1), i / 20, 0.1) for i in range(20)]
    for number in range(RUNS):
        with claimed({"number": number, "params": {"epochs": 20, "loss": "mse"}}, {}) as folder:
            folder.write("loss.csv", loss_table(rows))
            folder.note(epoch=20, finished=True)


@contextmanager
def served() -> Iterator[str]:
    """Serve the trainings of this folder; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "stages", "watch", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0]
        process.terminate()


@contextmanager
def opened(browser: Browser, address: str) -> Iterator[tuple[Page, float]]:
    """Open the page; yield it, and the seconds until all trainings are on it."""
    with browser.new_context() as context:
        page = context.new_page()
        start = time.perf_counter()
        page.goto(address)
        page.wait_for_function(THERE)
        yield page, time.perf_counter() - start


def processor_times() -> dict[psutil.Process, float]:
    """Return the seconds that server and browser have computed so far, in each process."""
    return {each: sum(each.cpu_times()[:2]) for each in psutil.Process().children(recursive=True)}


class Measured(NamedTuple):
    """An epoch."""

    seconds: float
    others: float
    """Seconds that server and browser computed meanwhile."""


def train_beside(browser: Browser, address: str, pairs: int) -> dict[str, list[Measured]]:
    """Return the epochs beside which the page is open, and those beside which it is not."""
    params = read_params(ROOT / "recipes/toy.yaml", [f"train.epochs={2 * pairs + 1}"]).train
    training, validation = hold_out(
        load_split(ROOT / "data/prepared/train.pt"), params.validation, params.seed
    )
    normalize = build_normalize(params.normalize, training.images)
    shape = Shape(training.size, len(training.classes))
    run = begin(build_model(params.model, shape, normalize, params.seed), params)
    epochs: dict[str, list[Measured]] = {"open": [], "closed": []}
    with claimed({"params": params.model_dump()}, {}) as folder:
        events = kept(train(run, training, validation, params), run, folder, params, len(training))

        def epoch() -> Measured:
            start, before = time.perf_counter(), processor_times()
            next(event for event in events if isinstance(event, Epoch))
            seconds, after = time.perf_counter() - start, processor_times()
            return Measured(seconds, sum(now - before.get(each, 0) for each, now in after.items()))

        epoch()  # warms up
        for pair in range(pairs):
            for name in sorted(epochs, reverse=bool(pair % 2)):  # neither is always first
                if name == "closed":
                    epochs[name].append(epoch())
                    continue
                with opened(browser, address) as (page, _):
                    page.wait_for_selector("#running .chart svg")  # is drawn once
                    epochs[name].append(epoch())
    return epochs


def main(pairs: int) -> None:
    """Measure and print both."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.chdir(folder)
        finish_runs()
        browser = playwright.chromium.launch(executable_path=chromium)
        with served() as address:
            loads = []
            for _ in range(LOADS):
                with opened(browser, address) as (_, took):
                    loads.append(took)
            epochs = train_beside(browser, address, pairs)
        browser.close()
        os.chdir(ROOT)
    print(", ".join(f"{key} {value}" for key, value in describe_machine("cpu").items()))
    print(
        f"{RUNS} finished trainings: the page is there after {statistics.median(loads):.2f} s",
        end="",
    )
    print(f" ({min(loads):.2f} to {max(loads):.2f}; {LOADS} times)")
    for name, measured in epochs.items():
        seconds = [epoch.seconds for epoch in measured]
        share = (
            sum(epoch.others for epoch in measured) / sum(seconds) / len(os.sched_getaffinity(0))
        )
        print(f"page {name}: {statistics.median(seconds):.2f} s an epoch", end="")
        print(f" ({min(seconds):.2f} to {max(seconds):.2f}; {pairs} epochs);", end="")
        print(f" server and browser used {share:.2%} of the processors")
    both = zip(epochs["open"], epochs["closed"], strict=True)
    ratios = [beside.seconds / alone.seconds for beside, alone in both]
    low, median, high = statistics.quantiles(ratios, n=4)
    print(f"ratio of the pairs: median {median:.3f} (the middle half: {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
