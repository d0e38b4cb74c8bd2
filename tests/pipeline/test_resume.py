"""A training is resumed from its saved state, and one process at a time runs it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from synthetic import ROOT, make_split, make_train_params
from toypipe.errors import BusyError, ToypipeError
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.pipeline.resume import RunFolder, claimed, kept
from toypipe.pipeline.run_store import list_runs, read_record, remove, runs_folder
from toypipe.pipeline.signals import Interrupted, interrupts
from toypipe.training.loop import begin
from toypipe.training.state import Epoch, TrainingState

VALUES = {"params": {"epochs": 3}, "inputs": {"code": "abc"}}
MACHINE = {"device": "cpu"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make_run() -> TrainingState:
    """Return a run before its first step."""
    params, split = make_train_params(), make_split(8)
    normalize = build_normalize("unit", split.images)
    return begin(build_model(params.model, Shape(16, 3), normalize, 0), params)


def run_with_one_epoch() -> TrainingState:
    """Return a run that differs from a fresh one."""
    run = make_run()
    run.epochs.append(Epoch(1.0, 0.5, None, None, 0.01))
    return run


def key(values: object = VALUES, machine: dict[str, str] = MACHINE) -> str:
    """Return the name of a training's folder."""
    with claimed({"values": values}, machine) as folder:
        return folder.path.name


def test_everything_that_decides_the_result_is_in_the_name() -> None:
    """Other parameters, data, code or another machine make another name; the same, the same."""
    other_lr = {**VALUES, "params": {"epochs": 4}}
    other_code = {**VALUES, "inputs": {"code": "abd"}}
    keys = [key(), key(other_lr), key(other_code), key(machine={"device": "cuda"})]

    assert len(set(keys)) == 4
    assert key() == keys[0]


def test_a_saved_state_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    """The next process continues from the saved state; without one, from the beginning."""
    with claimed(VALUES, MACHINE) as folder:
        assert folder.resume(make_run).epochs == []
        folder.save(run_with_one_epoch())
    with claimed(VALUES, MACHINE) as folder:
        assert folder.resume(make_run).epochs == run_with_one_epoch().epochs
    assert capsys.readouterr().err == "resuming after epoch 1\n"


@pytest.mark.parametrize("saved", [False, True])
def test_a_refused_training_leaves_nothing(saved: bool) -> None:
    """After an error without a saved state there is nothing to resume; with one, there is."""

    def fail() -> None:
        with claimed(VALUES, MACHINE) as folder:
            if saved:
                folder.save(run_with_one_epoch())
            raise ToypipeError("the images are too few")

    with pytest.raises(ToypipeError):
        fail()

    assert [run.state for run in list_runs()] == ["stopped"] * saved
    assert saved or list(runs_folder().iterdir()) == []


def test_a_finished_run_is_delivered_from_its_state(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the run and the command that forces real work."""
    with claimed(VALUES, MACHINE) as folder:
        folder.save(run_with_one_epoch(), finished=True)
        assert list_runs()[0].record.finished
    with claimed(VALUES, MACHINE) as folder:
        assert folder.resume(make_run).epochs == run_with_one_epoch().epochs
        name = folder.path.name
    said = capsys.readouterr().err
    assert f"finished (run {name}): delivering it" in said
    assert f"toypipe runs --clear {name}" in said


@pytest.mark.parametrize("damage", [b"", b"no state", None], ids=["empty", "other", "half"])
@pytest.mark.parametrize("finished", [False, True])
def test_a_damaged_state_is_not_used(
    damage: bytes | None, finished: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a file, or another one: the training starts from the beginning and says so."""
    with claimed(VALUES, MACHINE) as folder:
        folder.save(run_with_one_epoch(), finished=finished)
        state = folder.path / "state.pt"
        state.write_bytes(state.read_bytes()[:5000] if damage is None else damage)

        assert folder.resume(make_run).epochs == []
        assert not read_record(folder.path).finished
    assert "is damaged: starting from the beginning" in capsys.readouterr().err


def test_a_flipped_bit_is_noticed() -> None:
    """Delivered bytes are those of the training, or none."""
    with claimed(VALUES, MACHINE) as folder:
        folder.save(run_with_one_epoch(), finished=True)
        state = folder.path / "state.pt"
        content = bytearray(state.read_bytes())
        content[len(content) // 2] ^= 1
        state.write_bytes(content)

        assert folder.resume(make_run).epochs == []


def test_a_state_that_cannot_be_saved_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Training goes on; the user is told, and the earlier state stays."""
    with claimed(VALUES, MACHINE) as folder:
        folder.save(make_run())
        before = (folder.path / "state.pt").read_bytes()
        import resource

        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            folder.save(make_run())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        assert "could not be saved (File too large)" in capsys.readouterr().err
        assert (folder.path / "state.pt").read_bytes() == before
        assert not list(folder.path.glob(".*"))


@pytest.mark.parametrize("place", [".toypipe", ".toypipe/runs", "the lock"])
def test_what_cannot_be_kept_stops_nothing(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a folder or a lock the training goes on, and the user is told."""
    with claimed(VALUES, MACHINE) as folder:
        path = folder.path.with_suffix(".lock") if place == "the lock" else Path(place)
    shutil.rmtree(".toypipe")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if place == "the lock" else path.touch()
    with claimed(VALUES, MACHINE) as folder:
        run = folder.resume(make_run)
        assert not folder.save_due()
        assert folder.save(run, finished=True) == "from the beginning"
        assert not folder.has_finished()
    assert "not kept, so a stop loses this training (" in capsys.readouterr().err


def test_a_finished_training_that_is_not_kept_goes_on_after_a_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its outputs are all that can be had of it; a kept one is delivered by the next call."""
    monkeypatch.setattr(interrupts, "received", signal.SIGTERM)
    run, params = make_run(), make_train_params()
    list(kept(iter([]), run, RunFolder(Path("x"), writes=False), params, images=8))

    with claimed(VALUES, MACHINE) as folder, pytest.raises(Interrupted, match="delivers it"):
        list(kept(iter([]), run, folder, params, images=8))


def test_states_are_saved_as_often_as_costs_half_a_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred times what the last one took, but within a second and a minute."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    folder = RunFolder(runs_folder() / "x")
    for cost, soonest in ((0.001, 1), (0.1, 20), (5, 55)):

        def take(*_: object, seconds: float = cost) -> None:
            nonlocal now
            now += seconds

        monkeypatch.setattr(torch, "save", take)
        folder.save(make_run())
        saved = now
        now = saved + soonest - 0.01
        assert not folder.save_due()
        now = saved + soonest + 0.01
        assert folder.save_due()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"epoch": []}', b"\xff"])
def test_a_damaged_record_is_empty(content: bytes) -> None:
    """The list can still be shown, and the state is still used."""
    with claimed(VALUES, MACHINE) as folder:
        folder.save(run_with_one_epoch())
        (folder.path / "run.json").write_bytes(content)
    assert len(list_runs()) == 1
    with claimed(VALUES, MACHINE) as folder:
        assert read_record(folder.path).values == VALUES
        assert len(folder.resume(make_run).epochs) == 1


HOLD = """
import sys, time
from toypipe.pipeline.resume import claimed
with claimed({values}, {machine}) as folder:
    print("held", flush=True)
    time.sleep(60)
"""


def hold() -> "subprocess.Popen[str]":
    """Start another process that is at the same training."""
    code = HOLD.format(values=VALUES, machine=MACHINE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_same_training_twice_is_refused() -> None:
    """A direct call says which process is at it, and another training is no matter."""
    with hold() as other:
        with pytest.raises(
            BusyError, match=f"process {other.pid} is running exactly this training"
        ) as error:
            key_of_busy()
        assert error.value.exit_code == 75
        assert [run.state for run in list_runs()] == ["running"]
        assert key({"other": 1})
        other.kill()


def key_of_busy() -> None:
    """Claim what the other process holds."""
    with claimed(VALUES, MACHINE):
        pass


def test_a_dead_process_holds_nothing() -> None:
    """Killed without a chance to let go, it is taken over from at once."""
    with hold() as other:
        other.kill()
    key_of_busy()
    assert [run.state for run in list_runs()] == ["stopped"]


def test_under_dvc_the_later_one_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It continues as soon as the other has ended."""
    monkeypatch.setenv("DVC_STAGE", "train")
    with hold() as other:
        threading.Timer(2, other.kill).start()
        start = time.monotonic()
        key_of_busy()
        assert time.monotonic() - start > 1.5
    assert f"process {other.pid} is running exactly this training" in capsys.readouterr().err


def test_runs_are_with_the_main_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an experiment's temporary workspace, which DVC removes, they are kept elsewhere."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))

    with claimed(VALUES, MACHINE) as folder:
        assert folder.path.parent == tmp_path / "main/.toypipe/runs"


def test_the_log_tells_when_what_was() -> None:
    """Each line has its time, and what is said is shown too."""
    with claimed(VALUES, MACHINE) as folder:
        folder.say("going on")
        folder.log("epoch 1")
        lines = (folder.path / "log.txt").read_text().splitlines()
        assert read_record(folder.path).pid == os.getpid()

    assert [line.split("  ")[1] for line in lines] == ["going on", "epoch 1"]
    assert read_record(folder.path).pid == 0


def test_a_run_that_is_running_is_not_removed() -> None:
    """Clearing leaves it alone; afterwards it is removed like any other."""
    with hold() as other:
        (run,) = list_runs()
        assert not remove(run.key)
        assert list_runs() == [run]
        other.kill()
    assert remove(run.key)
    assert list(runs_folder().iterdir()) == []
