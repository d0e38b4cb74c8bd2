"""What is kept of trainings: a state to go on from, or the finished files."""

import json
import os
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
from toypipe.pipeline import resume as runs
from toypipe.pipeline.resume import RunFolder, claim, list_runs, prune, remove, runs_folder
from toypipe.training.loop import begin
from toypipe.training.state import TrainingState

VALUES = {"params": {"epochs": 3}, "inputs": {"code": "abc"}}
MACHINE = {"device": "cpu"}
RESULTS = {"checkpoint.pt": b"weights", "loss.csv": b"a,b\n", "train.json": b"{}\n"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make_run() -> TrainingState:
    """Return a run that is about to begin."""
    params, split = make_train_params(), make_split(8)
    normalize = build_normalize("unit", split.images)
    return begin(build_model(params.model, Shape(16, 3), normalize, 0), params)


def key(values: object = VALUES, machine: dict[str, str] = MACHINE) -> str:
    """Return the name that a training has."""
    with claim({"values": values}, machine) as folder:
        return folder.path.name


def test_whatever_decides_the_result_is_in_the_name() -> None:
    """Other parameters, data, code or machine are another run; the same are the same."""
    other_lr = {**VALUES, "params": {"epochs": 4}}
    other_code = {**VALUES, "inputs": {"code": "abd"}}
    keys = [key(), key(other_lr), key(other_code), key(machine={"device": "cuda"})]

    assert len(set(keys)) == 4
    assert key() == keys[0]


def test_a_state_is_there_for_the_next_process() -> None:
    """What was saved is restored; without any there is nothing to go on from."""
    with claim(VALUES, MACHINE) as folder:
        run = make_run()
        assert not folder.restore(run)
        run.epochs.append((1.0, 0.5, None, None, 0.01))  # type: ignore[arg-type]
        folder.save(run)
    with claim(VALUES, MACHINE) as folder:
        again = make_run()
        assert folder.restore(again)
        assert again.epochs == run.epochs


@pytest.mark.parametrize("damage", [b"", b"no state", None], ids=["empty", "other", "half"])
def test_a_damaged_state_is_refused(damage: bytes | None) -> None:
    """Half a file, or another, is no state to go on from, and the run is as it was."""
    with claim(VALUES, MACHINE) as folder:
        run = make_run()
        folder.save(run)
        state = folder.path / "state.pt"
        state.write_bytes(state.read_bytes()[:5000] if damage is None else damage)

        with pytest.raises(ToypipeError, match="damaged"):
            folder.restore(run)
        assert not run.epochs


def test_a_state_that_cannot_be_saved_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Training goes on; the user is told, and the earlier state stays."""
    with claim(VALUES, MACHINE) as folder:
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


def test_a_finished_run_is_delivered_again() -> None:
    """Its files come back as they were, and its state is gone."""
    with claim(VALUES, MACHINE) as folder:
        assert folder.results(RESULTS) is None
        folder.save(make_run())
        folder.finish(RESULTS)
    with claim(VALUES, MACHINE) as folder:
        assert folder.results(RESULTS) == RESULTS
        assert not (folder.path / "state.pt").exists()


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("content", [None, b"weighty"], ids=["missing", "changed"])
def test_a_finished_run_that_was_damaged_is_not_delivered(name: str, content: bytes | None) -> None:
    """Not one byte differs from what the training came to."""
    with claim(VALUES, MACHINE) as folder:
        folder.finish(RESULTS)
        (folder.path / name).unlink()
        if content is not None:
            (folder.path / name).write_bytes(content)

        assert folder.results(RESULTS) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"results": 3}', b"\xff"])
def test_a_record_that_was_damaged_is_none(content: bytes) -> None:
    """Whatever lies in run.json, nothing false is delivered and the list can be shown."""
    with claim(VALUES, MACHINE) as folder:
        folder.finish(RESULTS)
        (folder.path / "run.json").write_bytes(content)
        assert folder.results(RESULTS) is None
    assert len(list_runs()) == 1
    with claim(VALUES, MACHINE) as folder:
        assert folder.record.values == VALUES


HOLD = """
import sys, time
from toypipe.pipeline.resume import claim
with claim({values}, {machine}) as folder:
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
            BusyError, match=f"process {other.pid} is training exactly this"
        ) as error:
            key_of_busy()
        assert error.value.exit_code == 75
        assert [run.state for run in list_runs()] == ["running"]
        assert key({"other": 1})
        other.kill()


def key_of_busy() -> None:
    """Claim what the other process holds."""
    with claim(VALUES, MACHINE):
        pass


def test_a_dead_process_holds_nothing() -> None:
    """Killed without a chance to let go, it is taken over from at once."""
    with hold() as other:
        other.kill()
    key_of_busy()
    assert [run.state for run in list_runs()] == ["paused"]


def test_under_dvc_the_later_one_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes on as soon as the other has ended, and finds what it has come to."""
    monkeypatch.setenv("DVC_STAGE", "train")
    with hold() as other:
        threading.Timer(2, other.kill).start()
        start = time.monotonic()
        key_of_busy()
        assert time.monotonic() - start > 1.5
    assert f"process {other.pid} is training exactly this" in capsys.readouterr().err


def test_runs_are_with_the_main_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an experiment's temporary workspace, which DVC removes, they are kept elsewhere."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))

    with claim(VALUES, MACHINE) as folder:
        assert folder.path.parent == tmp_path / "main/.toypipe/runs"


def test_the_runs_used_longest_ago_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit the oldest go, never the one at work, and not their younger ones."""
    keys = []
    for i in range(4):
        with claim({"number": i}, MACHINE) as folder:
            folder.finish({"checkpoint.pt": bytes(1000)})
            folder.note(used=float(i))
            keys.append(folder.path.name)
    each = list_runs()[0].bytes
    monkeypatch.setattr(runs, "LARGEST", int(2.5 * each))

    prune(keep=keys[0])
    assert [run.key for run in list_runs()] == [keys[3], keys[2], keys[0]]
    assert sorted(path.stem for path in runs_folder().glob("*.lock")) == sorted(
        [keys[0], keys[2], keys[3]]
    )


def test_a_run_at_work_is_not_forgotten() -> None:
    """Whoever clears the list leaves it alone; afterwards it goes like any other."""
    with hold() as other:
        (run,) = list_runs()
        assert not remove(run.key)
        assert list_runs() == [run]
        other.kill()
    assert remove(run.key)
    assert list(runs_folder().iterdir()) == []


def test_the_log_tells_when_what_was() -> None:
    """Each line has its time, and what is said is shown too."""
    with claim(VALUES, MACHINE) as folder:
        folder.say("going on")
        folder.log("epoch 1")
        lines = (folder.path / "log.txt").read_text().splitlines()

    assert [line.split("  ")[1] for line in lines] == ["going on", "epoch 1"]
    assert json.loads((folder.path / "run.json").read_bytes())["pid"] == os.getpid()
