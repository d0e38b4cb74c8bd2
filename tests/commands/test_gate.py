"""The gate: exit code 0 where the metrics are good enough, 4 where they are not."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stages.cli import DIFFERENT, app


def git(folder: Path, *arguments: str) -> str:
    """Run Git in a folder."""
    result = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def write(folder: Path, accuracy: object, validation_loss: object = 1.0) -> None:
    """Write the metrics of a run."""
    reports = folder / "data/reports"
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "test.json").write_text(json.dumps({"accuracy": accuracy, "loss": 1.25}))
    (reports / "train.json").write_text(json.dumps({"validation_loss": validation_loss}))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with an accuracy of 0.6614 on main, 0.6714 before, none before that."""
    folder = tmp_path_factory.mktemp("history")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "Nothing yet")
    for accuracy in (0.6714, 0.6614):
        write(folder, accuracy)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", f"{accuracy}")
    return folder


@pytest.fixture
def here(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a clone of it."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(history), str(clone))
    monkeypatch.chdir(clone)
    return clone


def run_gate(*arguments: str) -> tuple[int, list[str]]:
    """Return the exit code and the lines that were printed."""
    result = CliRunner().invoke(app, ["gate", *arguments])
    return result.exit_code, result.output.splitlines()


@pytest.mark.usefixtures("here")
def test_bounds_that_hold_are_named_in_one_line() -> None:
    """A bound that is just reached holds: 0.6714 - 0.6614 is 0.01, though not in binary."""
    status, lines = run_gate(
        *("--min", "test.accuracy=0.6614", "--max", "test.loss=1.25", "--max", "test.accuracy=1"),
        *("--max-drop", "0.01", "--against", "HEAD~1"),
    )

    assert 0.6714 - 0.6614 > 0.01
    assert status == 0
    (line,) = lines
    assert line == (
        "holds: test.accuracy is 0.6614, at least 0.6614; test.loss is 1.25, at most 1.25;"
        " test.accuracy is 0.6614, at most 1; the drop of test.accuracy from 0.6714 at HEAD~1 to"
        " 0.6614 is 0.0100, at most 0.01"
    )


@pytest.mark.usefixtures("here")
def test_each_bound_that_is_violated_has_a_line() -> None:
    """Bounds that hold are not mentioned."""
    status, lines = run_gate(
        *("--min", "test.accuracy=0.6615", "--min", "test.loss=0", "--max", "test.loss=1.2"),
        *("--max-drop", "0.0099", "--against", "HEAD~1"),
    )

    assert status == DIFFERENT
    assert lines[:2] == [
        "violated: test.accuracy is 0.6614, should be at least 0.6615",
        "violated: test.loss is 1.25, should be at most 1.2",
    ]
    assert lines[2].startswith("violated: the drop of test.accuracy from 0.6714 at HEAD~1 to 0.66")
    assert lines[2].endswith("is 0.0100, should be at most 0.0099")
    assert len(lines) == 3


def test_a_rise_is_no_drop(here: Path) -> None:
    """The files in the workspace count, committed or not."""
    write(here, 0.7)

    assert run_gate("--max-drop", "0", "--against", "main")[0] == 0


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), True, "0.9", [1]])
def test_a_value_that_is_not_a_number_violates_every_bound(here: Path, value: object) -> None:
    """It violates a minimum, a maximum and a drop."""
    write(here, value, validation_loss=value)
    bounds = ("--min", "test.accuracy=-1", "--max", "train.validation_loss=9")
    status, lines = run_gate(*bounds, "--max-drop", "1", "--against", "main")

    assert status == DIFFERENT
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is nothing to check"),
        (["--max-drop", "0.01"], "--max-drop VALUE and --against REV go together"),
        (["--against", "main"], "--max-drop VALUE and --against REV go together"),
        (
            ["--min", "test.acuracy=0.6"],
            "there are: test.accuracy, test.loss, train.validation_loss",
        ),
        (["--min", "test.accuracy"], "expected a number, such as test.accuracy=0.65"),
        (["--max", "test.accuracy=nan"], "expected a number"),
        (["--max-drop", "nan", "--against", "main"], "--max-drop: expected a number"),
        (["--max-drop", "-1", "--against", "main"], "expected 0 or more"),
        (["--max-drop", "0", "--against", "nowhere"], "fetch-depth: 0"),
        (["--max-drop", "0", "--against", "--help"], "no commit --help here"),
        (["--max-drop", "0", "--against", "main"], "compared with themselves"),
        (
            ["--max-drop", "0", "--against", "HEAD~2"],
            "the commit HEAD~2 has no data/reports/test.json",
        ),
    ],
)
@pytest.mark.usefixtures("here")
def test_bounds_without_sense_are_refused(arguments: list[str], said: str) -> None:
    """Exit code 2, not that of a violated bound, and the message says what to give instead."""
    status, lines = run_gate(*arguments)

    assert status == 2
    assert said in " ".join(lines)


@pytest.mark.parametrize(
    ("content", "found"),
    [("<<<<<<< HEAD", "found <<<<<<<, a conflict"), ("[]", "but found a list")],
)
def test_damaged_metrics_are_refused(here: Path, content: str, found: str) -> None:
    """Here and in a commit, for example after a failed merge."""
    (here / "data/reports/test.json").write_text(content)
    status, lines = run_gate("--min", "test.accuracy=0")

    assert status == 2
    assert lines[0].startswith("error: data/reports/test.json")
    assert found in lines[0]
    assert lines[0].endswith("`dvc repro` or `git checkout -- data/reports` restores it")

    git(here, "commit", "--quiet", "--all", "--message", "Damaged")
    write(here, 0.7)
    status, lines = run_gate("--max-drop", "1", "--against", "HEAD")
    assert status == 2
    assert found in lines[0]
    assert " of HEAD: " in lines[0]


def test_missing_metrics_are_refused(here: Path) -> None:
    """The message says how to get them."""
    for path in (here / "data/reports").iterdir():
        path.unlink()
    status, lines = run_gate("--min", "test.accuracy=0")

    assert status == 2
    assert "`dvc repro` makes them" in lines[0]


def test_a_commit_without_a_number_is_nothing_to_compare_with(here: Path) -> None:
    """A drop from null is neither small nor large, so it is refused."""
    write(here, None)
    git(here, "commit", "--quiet", "--all", "--message", "No number")
    write(here, 0.7)
    status, lines = run_gate("--max-drop", "1", "--against", "HEAD")

    assert status == 2
    assert "test.accuracy of HEAD is null, which is not a number" in lines[0]


def test_a_shallow_clone_is_enough(
    history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must hold the commit; for a missing one the message says how to get it."""
    git(tmp_path, "clone", "--quiet", "--depth", "2", history.as_uri(), str(tmp_path / "shallow"))
    monkeypatch.chdir(tmp_path / "shallow")
    assert run_gate("--max-drop", "0.01", "--against", "HEAD~1")[0] == 0

    status, lines = run_gate("--max-drop", "1", "--against", git(history, "rev-parse", "HEAD~2"))
    assert status == 2
    assert "fetch-depth: 0" in lines[-1]


def test_the_project_may_be_a_folder_of_a_repository(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are found from the current folder."""
    write(here / "vision", 0.9)
    git(here, "add", "--all")
    git(here, "commit", "--quiet", "--message", "A project within")
    monkeypatch.chdir(here / "vision")
    assert run_gate("--max-drop", "0", "--against", "HEAD")[0] == 2
    write(here / "vision", 0.91)

    assert "from 0.9 at HEAD to 0.91" in run_gate("--max-drop", "0", "--against", "HEAD")[1][0]


def test_without_git_there_is_no_other_commit(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounds on the metrics here need no Git; a drop says what is missing."""
    write(tmp_path / "elsewhere", 0.9)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run_gate("--min", "test.accuracy=0.9")[0] == 0
    status, lines = run_gate("--max-drop", "0", "--against", "HEAD")
    assert status == 2
    assert "not a git repository" in lines[0]

    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_gate("--min", "test.accuracy=0")[0] == 0
    assert "Git, which is not installed" in run_gate("--max-drop", "0", "--against", "main")[1][0]
