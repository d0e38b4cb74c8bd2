"""The folders of all trainings: the oldest make room, and a checkpoint leads to its training."""

from collections.abc import Callable
from pathlib import Path

import pytest

from toypipe.pipeline import run_store
from toypipe.pipeline.resume import claimed
from toypipe.pipeline.run_store import Record, find_record, list_runs, prune, runs_folder

MACHINE = {"device": "cpu"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_runs_used_longest_ago_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit the oldest are removed, but never the one that is running."""
    keys = []
    for i in range(4):
        with claimed({"number": i}, MACHINE) as folder:
            (folder.path / "state.pt").write_bytes(bytes(1000))
            folder.note(used=float(i), finished=True)
            keys.append(folder.path.name)
    each = list_runs()[0].bytes
    monkeypatch.setattr(run_store, "LARGEST", int(2.5 * each))

    prune(keep=keys[0])
    assert [run.key for run in list_runs()] == [keys[3], keys[2], keys[0]]
    assert sorted(path.stem for path in runs_folder().glob("*.lock")) == sorted(
        [keys[0], keys[2], keys[3]]
    )


def test_a_checkpoint_leads_to_the_training_that_wrote_it_last() -> None:
    """Two machines may write the same bytes; an unknown checkpoint has no record."""
    for device in ("cpu", "cuda"):
        with claimed({}, {"device": device}) as folder:
            folder.note(checkpoint="abc", used={"cpu": 1.0, "cuda": 2.0}[device])

    record = find_record(Path(), "abc")
    assert record is not None
    assert record.machine == {"device": "cuda"}
    assert find_record(Path(), "abd") is None


NONSENSE = [
    *(b"", b"null", b"[1]", b"\xff", b'{"used": 1e300}', b'{"used": NaN}', b'{"used": -1}'),
    *(b'{"epoch": NaN}', b'{"pid": "x"}', b'{"values": null}', b"[" * 200_000, b'{"machine": [1]}'),
]


@pytest.mark.parametrize("content", NONSENSE)
def test_a_record_with_nonsense_is_an_empty_one(content: bytes) -> None:
    """It is listed as a training of which nothing is known."""
    with claimed({}, MACHINE) as folder:
        (folder.path / "run.json").write_bytes(content)

    (run,) = list_runs()
    assert (run.key, run.state, run.record) == (folder.path.name, "stopped", Record())
    assert find_record(Path(), "abc") is None


@pytest.mark.parametrize("params", [None, [1], "x", 1.5])
def test_parameters_of_another_form_are_none(params: object) -> None:
    """What lists them need not look."""
    assert Record(values={"params": params}).params == {}


def test_looking_at_runs_leaves_no_trace() -> None:
    """No lock is taken and nothing is made, also where a run has just been removed."""
    (runs_folder() / "0123456789ab").mkdir(parents=True)
    before = sorted(runs_folder().rglob("*"))

    assert [run.state for run in list_runs()] == ["stopped"]
    assert sorted(runs_folder().rglob("*")) == before


@pytest.mark.parametrize("number", [0, -1, 2**70, 1])
def test_a_number_that_is_no_training_s_process_is_stopped(number: int) -> None:
    """Not one that is nobody's, and not one that has gone to another process."""
    with claimed({}, MACHINE) as folder:
        pass
    folder.note(pid=number)

    assert [run.state for run in list_runs()] == ["stopped"]


STRANGE: dict[str, Callable[[Path], object]] = {
    "folder of another name": lambda runs: (runs / "notes").mkdir(),
    "file": lambda runs: (runs / "0123456789ab").touch(),
    "dangling link": lambda runs: (runs / "0123456789ab").symlink_to("nowhere"),
    "link to a folder": lambda runs: (runs / "0123456789ab").symlink_to(runs.parent),
    "link to itself": lambda runs: (runs / "0123456789ab").symlink_to("0123456789ab"),
    "folder in place of the lock": lambda runs: (runs / "0123456789ab.lock/x").mkdir(parents=True),
    "lock of nothing": lambda runs: (runs / "0123456789ac.lock").mkdir(),
}


@pytest.mark.parametrize("entry", STRANGE)
def test_a_strange_entry_stops_nothing(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainings are listed, make room for each other, and go on."""
    monkeypatch.setattr(run_store, "LARGEST", 0)
    with claimed({}, MACHINE) as folder:
        pass
    STRANGE[entry](runs_folder())
    stays = []
    if entry == "folder in place of the lock":  # which nobody can take, to remove it
        (runs_folder() / "0123456789ab").mkdir()
        stays = ["0123456789ab"]

    assert [run.key for run in list_runs()] == [folder.path.name, *stays]
    with claimed({}, {"device": "cuda"}) as other:
        assert [run.key for run in list_runs()] == [other.path.name, *stays]
    assert find_record(Path(), "abc") is None
