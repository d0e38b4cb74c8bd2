"""A run shows where it stands: a bar on a terminal, a line for each epoch elsewhere."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from synthetic import PARAMS, ROOT, make_split, make_train_params
from toypipe.data.split import save_split
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.pipeline import progress
from toypipe.pipeline.progress import show, show_download
from toypipe.training.loop import Step, begin, train
from toypipe.training.state import Epoch

if sys.platform != "win32":
    import pty

LINE = re.compile(
    r"epoch +(?P<epoch>\d+)/(?P<epochs>\d+)  train loss (?P<loss>\d+\.\d{4})"
    r"(?:  validation loss (?P<validation>\d+\.\d{4}), accuracy (?P<accuracy>[01]\.\d{4}))?"
    r"  (?P<seconds>\d+\.\d) s, (?P<speed>[\d,]+) images/s"
)

LENGTH = 170_498_071  # bytes of a download


def training(*overrides: str) -> Iterator[Step | Epoch]:
    """Train a little; yield the events to show."""
    params, split = make_train_params(*overrides), make_split(24)
    held_out = make_split(6, seed=1) if params.validation else None
    normalize = build_normalize(params.normalize, split.images)
    model = build_model(params.model, Shape(16, 3), normalize, params.seed)
    return train(begin(model, params), split, held_out, params)


# elsewhere ------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", [0, 6])
def test_every_epoch_is_a_line_with_its_figures(
    capsys: pytest.CaptureFixture[str], validation: int
) -> None:
    """Off a terminal there is a line for each epoch, begun or whole, on standard error alone."""
    shown = show(training("train.epochs=2.5", f"train.validation={validation}"))
    epochs = [event for event in shown if isinstance(event, Epoch)]
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [LINE.fullmatch(line) for line in printed.err.splitlines()]
    assert len(lines) == len(epochs) == 3
    for number, (line, epoch) in enumerate(zip(lines, epochs, strict=True), start=1):
        assert line is not None
        assert (line["epoch"], line["epochs"]) == (str(number), "3")
        assert line["loss"] == f"{epoch.train_loss:.4f}"
        if validation:
            assert line["validation"] == f"{epoch.validation_loss:.4f}"
            assert line["accuracy"] == f"{epoch.validation_accuracy:.4f}"
        else:
            assert line["validation"] is None


def test_events_are_passed_on() -> None:
    """Whoever reads on gets the very events of the run, in their order."""
    events = list(training())
    assert all(a is b for a, b in zip(show(iter(events)), events, strict=True))


def test_speed_is_images_over_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred images in the fifth of a second are at most 500 images/s."""

    def slowly() -> Iterator[Step | Epoch]:
        yield Step(1, 1, 0, 100, 100, torch.zeros(1))
        time.sleep(0.2)
        yield Epoch(1, 0.5, None, None, 0.1)

    list(show(slowly()))
    line = LINE.fullmatch(capsys.readouterr().err.strip())
    assert line is not None
    assert float(line["seconds"]) >= 0.2
    assert 0 < int(line["speed"].replace(",", "")) <= 500


def test_speed_of_a_resumed_run_is_that_of_this_process(capsys: pytest.CaptureFixture[str]) -> None:
    """It trained on ten of a hundred images in a fifth of a second: 50 images/s."""

    def slowly() -> Iterator[Step | Epoch]:
        yield Step(1, 1, 90, 100, 100, torch.zeros(10))
        time.sleep(0.2)
        yield Epoch(1, 0.5, None, None, 0.1)

    list(show(slowly()))
    line = LINE.fullmatch(capsys.readouterr().err.rstrip())
    assert line is not None
    assert 0 < int(line["speed"]) <= 50


def test_an_epoch_whose_steps_were_all_taken_earlier_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Resumed after its last step, an epoch has no speed."""
    list(show(iter([Epoch(3, 0.5, 0.25, 0.75, 0.1)])))

    expected = (
        r"epoch 3  train loss 0\.5000  validation loss 0\.2500, accuracy 0\.7500  \d+\.\d s\n"
    )
    assert re.fullmatch(expected, capsys.readouterr().err)


def test_only_the_first_of_several_processes_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others pass the events on and print nothing."""
    events = [Epoch(3, 0.5, 0.25, 0.75, 0.1)]
    monkeypatch.setenv("RANK", "1")

    assert list(show(iter(events))) == events
    assert capsys.readouterr() == ("", "")

    monkeypatch.setenv("RANK", "0")
    list(show(iter(events)))

    assert "train loss 0.5" in capsys.readouterr().err


def test_download_is_a_line_for_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal every tenth of a download is a line, and every number is passed on."""
    arrived = [*range(0, LENGTH, 100_000), LENGTH]
    assert list(show_download(iter(arrived), LENGTH, "CIFAR-10")) == arrived
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[0] == "downloading CIFAR-10: 0 of 170 MB"
    assert lines[2] == "downloading CIFAR-10: 34 of 170 MB"
    assert lines[-1] == "downloading CIFAR-10: 170 of 170 MB"


def test_slow_download_is_heard_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a tenth takes long, there is a line whenever some seconds have passed."""
    monkeypatch.setattr(progress, "QUIET", 0.0)
    list(show_download(iter([0, 1_000_000, 2_000_000]), LENGTH, "CIFAR-10"))
    assert [line.split()[2] for line in capsys.readouterr().err.splitlines()] == ["0", "1", "2"]


def test_no_download_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing has to be fetched, nothing is said of it."""
    assert list(show_download(iter([]), LENGTH, "CIFAR-10")) == []
    assert capsys.readouterr().err == ""


# on a terminal --------------------------------------------------------------------------------

on_terminal = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")


def read(terminal: int, until: bytes | None = None) -> bytes:
    """Read what is written to a terminal, up to a text or until its other end is closed."""
    output = b""
    with suppress(OSError):  # how Linux says that it is closed
        while until is None or until not in output:
            data = os.read(terminal, 65536)
            if not data:
                break
            output += data
    return output


def screen(output: bytes) -> list[str]:
    """Return the lines that a terminal shows in the end, by the few codes that a bar uses."""
    rows, at = [""], 0
    for part in re.findall(r"\x1b\[[?\d]*[A-Za-z]|\x1b\[[\d;]*m|\n|[^\x1b\r\n]+", output.decode()):
        if part == "\n":
            at += 1
            rows += [""] * (at == len(rows))
        elif part == "\x1b[1A":
            at -= 1
        elif part == "\x1b[2K":
            rows[at] = ""
        elif not part.startswith("\x1b"):
            rows[at] += part
    return rows


def start(folder: Path, epochs: int) -> tuple[subprocess.Popen[str], int]:
    """Begin to train in a folder, on a terminal of its own, and return both."""
    prepared = folder / "data" / "prepared" / "train.pt"
    prepared.parent.mkdir(parents=True)
    with prepared.open("wb") as file:
        save_split(file, make_split(24))
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "stages", "train", "--params", str(PARAMS)]
    # At this rate it learns from the start, so no warning comes between the lines.
    rate = "train.optimizer.lr=0.1"
    overrides = (f"train.epochs={epochs}", "train.batch_size=8", "train.validation=0", rate)
    # A job in the background of a shell ignores Ctrl-C, and so would the processes it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*command, *(part for override in overrides for part in ("-S", override))],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=end,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    os.close(end)
    watchdog = threading.Timer(60, process.kill)
    watchdog.daemon = True
    watchdog.start()
    return process, terminal


def assert_clean(output: bytes) -> None:
    """Hold the terminal to be as it was: a cursor that shows, on a line of its own."""
    assert output.rindex(b"\x1b[?25h") > output.rindex(b"\x1b[?25l")
    assert screen(output)[-1] == ""


@on_terminal
def test_terminal_shows_a_bar_and_keeps_the_lines(tmp_path: Path) -> None:
    """On a terminal a bar moves below the lines of the epochs, and is gone in the end."""
    process, terminal = start(tmp_path, epochs=40)
    output = read(terminal)
    os.close(terminal)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.search("━.* images/s .*left", output.decode())
    assert_clean(output)
    lines = [LINE.fullmatch(row) for row in screen(output) if row]
    assert [line and int(line["epoch"]) for line in lines] == list(range(1, 41))
    assert printed.startswith("train loss ")


@on_terminal
def test_interrupted_run_leaves_a_clean_terminal(tmp_path: Path) -> None:
    """Ctrl-C ends a run with 130 and without a traceback, a bar, or half of a result."""
    process, terminal = start(tmp_path, epochs=100_000)
    output = read(terminal, until=b"epoch      3/100000  train")
    process.send_signal(signal.SIGINT)
    output += read(terminal)
    os.close(terminal)
    printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    assert_clean(output)
    *lines, last, _ = screen(output)
    assert last.startswith("interrupted: stopped after epoch ")
    assert all(LINE.fullmatch(line) for line in lines)
    assert not list(tmp_path.rglob("*checkpoint*"))


@on_terminal
def test_under_dvc_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC has lines of its own on the terminal, so under it there are only lines."""
    terminal, end = pty.openpty()
    with os.fdopen(end, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        patch.setenv("DVC_STAGE", "train")
        list(show(training()))
    output = read(terminal).decode()
    os.close(terminal)
    assert [bool(LINE.fullmatch(line)) for line in output.splitlines()] == [True, True]


@on_terminal
def test_download_is_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a download shows bytes, speed and time left, and leaves no line."""
    terminal, end = pty.openpty()
    arrived = [0, LENGTH // 2, LENGTH]
    with os.fdopen(end, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "100")
        seen = []
        for count in show_download(iter(arrived), LENGTH, "CIFAR-10"):
            seen.append(count)
            time.sleep(0.15)
    output = read(terminal)
    os.close(terminal)
    assert seen == arrived
    assert re.search(r"downloading CIFAR-10 .*━.*85\.2/170\.5 MB.* left", output.decode())
    assert_clean(output)
