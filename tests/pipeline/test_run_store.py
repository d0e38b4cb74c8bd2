"""The folders of all trainings: the oldest make room, and a checkpoint leads to its training."""

from pathlib import Path

import pytest

from toypipe.pipeline import run_store
from toypipe.pipeline.resume import claimed
from toypipe.pipeline.run_store import find_record, list_runs, prune, runs_folder

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
