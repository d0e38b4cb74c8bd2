"""A direct call replaces results that dvc.lock records: whoever reads them says so."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from stages.cli import app
from synthetic import finish_run
from toypipe.commands.report import page
from toypipe.pipeline import stage
from toypipe.pipeline.record import changed_outputs, changed_results, describe_changes

CHECKPOINT = "data/model/checkpoint.pt"
TRAINING = [CHECKPOINT, "data/reports/loss.csv", "data/reports/train.json"]
TESTING = ["data/reports/test.json", "data/reports/confusion.csv"]


def sums(*names: str) -> list[dict[str, str]]:
    """Return what dvc.lock says of files, as they are."""
    found = ((name, Path(name).read_bytes()) for name in names)
    return [{"path": n, "md5": hashlib.md5(b, usedforsecurity=False).hexdigest()} for n, b in found]


@pytest.fixture(autouse=True)
def _recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand where a run has finished and is recorded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "bundle", lambda: "")
    finish_run(tmp_path)
    Path("data/reports/train.json").write_text('{"train_loss": 1.5}\n')
    entries = {
        "train": {"outs": sums(*TRAINING)},
        "evaluate": {"deps": sums(CHECKPOINT), "outs": sums(*TESTING)},
    }
    Path("dvc.yaml").write_text("stages: {}\n")
    YAML(typ="safe", pure=True).dump({"schema": "2.0", "stages": entries}, Path("dvc.lock"))


def replace(names: Sequence[str]) -> None:
    """Let these results be of another run; they can still be read."""
    for name in names:
        lines = Path(name).read_bytes().splitlines(keepends=True)
        Path(name).write_bytes(b"".join([*lines, lines[-1] if name.endswith("csv") else b"\n"]))


def invoke(*arguments: str) -> tuple[int, str]:
    """Return the exit code of a command and what it printed."""
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_a_recorded_run_is_no_news() -> None:
    """Nor is a missing file: a clone has no network until `dvc pull`."""
    assert describe_changes() == ("", False)
    Path(CHECKPOINT).unlink()

    assert describe_changes() == ("", False)
    code, said = invoke("gate", "--min", "test.accuracy=0")
    assert code == 0
    assert said.startswith("holds")


@pytest.mark.parametrize("lock", [None, b"", b"[]", b"stages: [1]", b"<<<<<<< a", b"\xff"])
def test_without_a_record_there_is_nothing_to_compare(lock: bytes | None) -> None:
    """What is wrong with dvc.lock is not for the readers of results to say."""
    Path("dvc.lock").unlink()
    if lock is not None:
        Path("dvc.lock").write_bytes(lock)

    assert changed_outputs("train", "evaluate") == []
    assert changed_results("evaluate") == []


def test_figures_of_another_network_are_refused_by_the_gate_and_marked_on_the_page() -> None:
    """After a direct training the figures are those of the recorded network, not of this one."""
    replace(TRAINING)
    code, said = invoke("gate", "--min", "test.accuracy=0")

    assert code == 2
    for name in (*TRAINING, "toypipe evaluate", "dvc checkout --force train", "git checkout HEAD"):
        assert name in said
    code, said = invoke("report")
    assert code == 0
    assert "The test figures are of another network" in said
    assert "The test figures are of another network" in Path("data/reports/index.html").read_text()


@pytest.mark.parametrize("names", [[*TRAINING, *TESTING], TESTING, [CHECKPOINT, TESTING[0]]])
def test_a_run_that_is_not_recorded_is_a_note(names: list[str]) -> None:
    """It may well be of one run: the user is told, and the gate decides."""
    replace(names)
    code, said = invoke("gate", "--min", "test.accuracy=0")

    assert code == 0
    assert f"{', '.join(names)}: not what dvc.lock records. To restore" in said


@pytest.mark.parametrize("command", [[], ["-S", "train.epochs=2"]])
def test_a_direct_call_names_what_it_replaced(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And the command that brings it back, whether or not it could be recorded."""
    overrides = command[1:]
    with stage.running("train", Path("params.yaml"), overrides) as running:
        replace(TRAINING)
        running.published = True
    said = capsys.readouterr().out

    assert f"no longer what dvc.lock records: {', '.join(TRAINING)}" in said
    assert "`git checkout HEAD -- data/reports && dvc checkout --force train`" in said
    assert ("dvc exp run -S train.epochs=2" if overrides else "dvc commit -f train") in said


def test_figures_of_an_unrecorded_network_are_not_committed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`dvc commit -f evaluate` would record them beside another network."""
    replace(TRAINING)
    with stage.running("evaluate", Path("params.yaml"), []) as running:
        replace(TESTING)
        running.published = True
    said = capsys.readouterr().out

    assert f"dvc.lock records another {CHECKPOINT}: dvc repro" in said
    assert "dvc commit" not in said
