"""The commands: what they write, what they say, and that a mistake costs nothing."""

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

from stages.cli import __version__, app
from synthetic import PARAMS, ROOT, make_folder
from toypipe.params.overrides import apply_overrides
from toypipe.params.schema import Params

if sys.platform != "win32":
    import resource

YAML_1_2 = YAML(typ="safe", pure=True)
OWN_IMAGES = [
    "~prepare.dataset",
    "+prepare.dataset={name:folder,path:mine,size:16}",
    "train.epochs=1.5",
    "train.batch_size=4",
    "train.validation=2",
]
"""What to change in the project's parameters to train on a few images of one's own."""


def flags(overrides: list[str]) -> list[str]:
    """Return overrides as arguments: -S before each."""
    return [part for override in overrides for part in ("-S", override)]


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the code in a folder, or else of the installed one."""
    return subprocess.run(
        [sys.executable, "-m", "stages", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content of every file that a user sees, and when it was last written."""
    found = (
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and ".toypipe" not in path.parts
    )
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in found}


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {name: content for name, (content, _) in files(folder).items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project in which every stage has run, by direct commands with -S."""
    folder = tmp_path_factory.mktemp("finished")
    for name in ("stages", "toypipe"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    before = "      - stages/prepare.py\n"
    pipeline = (ROOT / "dvc.yaml").read_text().replace(before, f"      - mine\n{before}")
    (folder / "dvc.yaml").write_text(pipeline)
    shutil.copy(PARAMS, folder / "params.yaml")
    make_folder(folder / "mine")
    for stage in ("check", "prepare", "train", "evaluate"):
        result = run(folder, stage, *flags(OWN_IMAGES))
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand where every stage has run and params.yaml says so; the code is the installed one."""
    for name in ("data", "mine"):
        shutil.copytree(finished / name, tmp_path / name)
    shutil.copy(finished / "dvc.yaml", tmp_path)
    values = apply_overrides(YAML_1_2.load(PARAMS), OWN_IMAGES)
    YAML_1_2.dump(values, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def succeed(*arguments: str) -> str:
    """Run a command in this process; return what it prints on standard output."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def fail(*arguments: str) -> str:
    """Run a command that must fail and touch nothing; return its paragraph on standard error."""
    before = files(Path())
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stdout == ""
    progress, error, message = result.stderr.partition("error: ")
    assert all(line.startswith(("epoch ", "the state could")) for line in progress.splitlines())
    assert error
    assert "\n\n" not in message
    assert files(Path()) == before
    return message


# what the stages write ------------------------------------------------------------------------


def table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a CSV file."""
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    return header, rows


def test_check_writes_its_word(finished: Path) -> None:
    """Check leaves the same few bytes whatever the parameters are."""
    assert (finished / "data/params.ok").read_bytes() == b"ok\n"


def test_prepare_writes_both_halves(finished: Path) -> None:
    """Prepare leaves images, labels and classes, loadable without running any code."""
    for name in ("train", "test"):
        content = torch.load(finished / f"data/prepared/{name}.pt", weights_only=True)
        assert content.keys() == {"images", "labels", "classes"}
        assert content["images"].shape == (12, 3, 16, 16)
        assert content["classes"] == ["cat", "dog"]


def test_train_writes_a_row_for_each_epoch(finished: Path) -> None:
    """Train leaves a row for each epoch, the last one for a part, and that one again as JSON."""
    header, rows = table(finished / "data/reports/loss.csv")
    columns = ["epoch", "train_loss", "validation_loss", "validation_accuracy", "learning_rate"]
    assert header == columns
    assert [row[0] for row in rows] == ["1", "1.5"]
    last = json.loads((finished / "data/reports/train.json").read_bytes())
    assert list(last) == columns
    assert list(last.values()) == [float(cell) for cell in rows[-1]]


def test_without_validation_there_are_no_figures_of_it(project: Path) -> None:
    """Without validation images its cells are empty, and its values null."""
    succeed("train", "-S", "train.validation=0")
    _, rows = table(project / "data/reports/loss.csv")
    assert [row[2:4] for row in rows] == [["", ""], ["", ""]]
    last = json.loads((project / "data/reports/train.json").read_bytes())
    assert last["validation_loss"] is last["validation_accuracy"] is None


def test_evaluate_writes_metrics_and_tables(finished: Path) -> None:
    """Evaluate leaves accuracy and loss, a row for each image and a row for each class."""
    metrics = json.loads((finished / "data/reports/test.json").read_bytes())
    first = ["accuracy", "accuracy_low", "accuracy_high", "loss"]
    assert list(metrics) == [*first, "balanced_accuracy"]
    assert 0 <= metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"] <= 1

    header, rows = table(finished / "data/reports/confusion.csv")
    assert header == ["actual", "predicted"]
    assert [actual for actual, _ in rows] == ["cat"] * 6 + ["dog"] * 6
    right = sum(actual == predicted for actual, predicted in rows)
    assert metrics["accuracy"] == right / 12

    header, rows = table(finished / "data/reports/per_class.csv")
    assert header == ["class", "precision", "recall", "f1", "support"]
    assert [(row[0], row[4]) for row in rows] == [("cat", "6"), ("dog", "6")]


def test_nothing_else_is_written(finished: Path) -> None:
    """The stages leave the files that the contract names, and no other."""
    assert files(finished / "data").keys() == {
        "params.ok",
        "prepared/train.pt",
        "prepared/test.pt",
        "model/checkpoint.pt",
        "reports/loss.csv",
        "reports/train.json",
        "reports/test.json",
        "reports/confusion.csv",
        "reports/per_class.csv",
        "reports/images/confusion.png",
        "reports/images/mistakes.png",
    }
    assert (finished / "params.yaml").read_bytes() == PARAMS.read_bytes()


def test_same_parameters_give_the_same_bytes(finished: Path, project: Path) -> None:
    """All stages again, elsewhere, later and by params.yaml instead of -S: every byte is equal."""
    shutil.rmtree(project / "data")
    for stage in ("check", "prepare", "train", "evaluate"):
        succeed(stage)
    assert contents(project / "data") == contents(finished / "data")


# what they say --------------------------------------------------------------------------------


def test_version_is_printed() -> None:
    """The version is printed, and nothing is run."""
    assert succeed("--version") == f"toypipe {__version__}\n"


def test_schema_is_json(project: Path) -> None:
    """The schema names every section of params.yaml and accepts no other."""
    schema = json.loads(succeed("schema"))
    assert schema["properties"].keys() == Params.model_fields.keys()
    assert schema["additionalProperties"] is False
    assert YAML_1_2.load(project / "params.yaml").keys() == set(schema["required"])


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("stage", ["prepare", "train", "evaluate"])
def test_run_of_params_yaml_can_be_committed(stage: str) -> None:
    """After a run of params.yaml as it stands, the hint is `dvc commit`."""
    output = succeed(stage)
    assert f"dvc commit -f {stage}\n" in output
    assert "dvc exp run" not in output


@pytest.mark.usefixtures("project")
def test_run_of_overrides_can_be_repeated_by_dvc() -> None:
    """After a run with -S the hint is the `dvc exp run` with the same -S, quoted for a shell."""
    overrides = ["train.epochs=1", "~train.schedule", "+train.schedule={name: constant}"]
    output = succeed("train", *flags(overrides))
    assert "dvc commit" not in output
    (hint,) = [line for line in output.splitlines() if "dvc exp run" in line]
    command = shlex.split(hint[hint.index("dvc exp run") :])
    assert command == ["dvc", "exp", "run", *flags(overrides)]


def test_run_of_another_file_can_be_made_the_parameters(project: Path) -> None:
    """After a run of another file the hint is to make it params.yaml."""
    (project / "params.yaml").rename(project / "my other.yaml")
    output = succeed("train", "--params", "my other.yaml")
    assert "cp 'my other.yaml' params.yaml" in output
    assert "dvc repro" in output
    assert "dvc commit" not in output


def test_run_of_another_file_and_overrides_is_not_confused(project: Path) -> None:
    """After a run of another file with -S, the hint records both."""
    (project / "params.yaml").rename(project / "other.yaml")
    output = succeed("train", "--params", "other.yaml", "-S", "train.seed=3")
    assert "cp other.yaml params.yaml" in output
    assert "dvc exp run -S train.seed=3" in output


@pytest.mark.usefixtures("project")
def test_under_dvc_there_is_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that DVC has started is recorded by DVC, and no hint says otherwise."""
    monkeypatch.setenv("DVC_STAGE", "train")
    output = succeed("train", "-S", "train.epochs=1")
    assert "dvc commit" not in output
    assert "dvc exp run" not in output


@pytest.mark.usefixtures("project")
def test_under_dvc_an_error_says_how_to_get_back_what_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DVC removes outputs before it runs a stage: an error then says what brings them back."""
    arguments = ("train", "-S", "train.batch_size=1000")
    assert "dvc checkout" not in fail(*arguments)
    monkeypatch.setenv("DVC_STAGE", "train")
    message = fail(*arguments)
    assert "dvc checkout" in message
    assert "git checkout" in message


# what goes wrong ------------------------------------------------------------------------------

ABSENT = "mps" if torch.cuda.is_available() else "cuda"


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "-S", "train.seed=x"], "-S: train.seed: should be a valid integer (got 'x')"),
        (["train", "-S", "train.sede=1"], "did you mean train.seed?"),
        (["train", "-S", "train.batch_size=11"], "train.batch_size: must"),
        (["train", "-S", "train.validation=12"], "train.validation: must"),
        (["train", "-S", "train.optimizer.lr=1e30"], "diverged"),
        (["train", "--device", ABSENT], f"the device {ABSENT} is not available here"),
        (["evaluate", "--device", ABSENT], f"the device {ABSENT} is not available here"),
        (["train", "--params", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["prepare", "-S", "prepare.dataset.path=yours"], "train is not a folder"),
    ],
)
def test_failing_command_touches_nothing(arguments: list[str], said: str) -> None:
    """A direct command that fails says why, ends with 2 and leaves every file as it was."""
    assert said in fail(*arguments)


def test_broken_image_stops_prepare(project: Path) -> None:
    """Prepare names a broken image and leaves what it made before."""
    (project / "mine/train/cat/broken.png").write_bytes(b"no image")
    assert str(Path("mine/train/cat/broken.png")) in fail("prepare")


@pytest.mark.parametrize(
    ("command", "file", "maker"),
    [
        ("train", "data/prepared/train.pt", "toypipe prepare"),
        ("evaluate", "data/prepared/test.pt", "toypipe prepare"),
        ("evaluate", "data/model/checkpoint.pt", "toypipe train"),
    ],
)
@pytest.mark.parametrize("content", [None, b"", b"damaged"], ids=["missing", "empty", "damaged"])
def test_missing_input_is_named_with_what_makes_it(
    project: Path, command: str, file: str, maker: str, content: bytes | None
) -> None:
    """A stage without what an earlier one makes, or with half of it, says which to run."""
    (project / file).unlink()
    if content is not None:
        (project / file).write_bytes(content)
    message = fail(command)
    assert file in message
    assert maker in message


def test_checkpoint_of_other_images_is_not_evaluated(project: Path) -> None:
    """A network is not tested on images of another size than it was trained on."""
    shutil.copy(project / "data/model/checkpoint.pt", project / "kept.pt")
    succeed("prepare", "-S", "prepare.dataset.size=8")
    assert "16-pixel images" in fail("evaluate")


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["check", "--params", "."], {}, "cannot be read"),
        (["check", "-S", "train.seed=1,2"], {}, "sweep"),
        (["check", "-S", "train.seed"], {}, "KEY=VALUE"),
        (["train", "--device", "tpu"], {}, "'tpu'"),
        (["train"], {"TOYPIPE_DEVICE": "tpu"}, "TOYPIPE_DEVICE"),
        (["train", "--epochs", "3"], {}, "--epochs"),
        (["chekc"], {}, "'check'"),
    ],
)
def test_mistake_is_explained_without_traceback(
    finished: Path, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    """A mistake on the command line ends with 2 and a short paragraph, and touches nothing."""
    before = files(finished)
    result = run(finished, *arguments, **environment)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 500
    assert files(finished) == before


def test_outside_a_project_says_so(tmp_path: Path) -> None:
    """Where there is no project, the message says where one stands and what was looked for."""
    result = run(tmp_path, "check", PYTHONPATH=str(ROOT))
    assert result.returncode == 2
    assert f"params.yaml does not exist in {tmp_path}" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit to set")
@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("command", "room"), [("check", 2), ("prepare", 4096), ("train", 51_200), ("evaluate", 2)]
)
def test_full_disk_is_explained(command: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be written to its end, the message says so, and the old one stays.

    Under DVC it says how to restore what DVC removed, which is nothing of check.
    """
    if command != "prepare":  # under DVC it first asks for its folder in dvc.yaml
        monkeypatch.setenv("DVC_STAGE", command)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # bytes
    try:
        message = fail(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in message
    assert ("dvc checkout" in message) == (command in {"train", "evaluate"})


# which code runs, and how much of it ----------------------------------------------------------


def test_installed_script_refuses_another_projects_folder(finished: Path) -> None:
    """The script of one checkout does not run in another, whose code may differ."""
    script = shutil.which("toypipe", path=str(Path(sys.executable).parent))
    assert script is not None
    result = subprocess.run(
        [script, "check"], cwd=finished, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "python -m stages" in result.stderr
    assert "Traceback" not in result.stderr


def test_module_runs_the_code_of_the_folder(finished: Path, tmp_path: Path) -> None:
    """`python -m stages` runs the code that stands in the folder."""
    shutil.copytree(finished / "stages", tmp_path / "stages")
    cli = tmp_path / "stages/cli.py"
    code = cli.read_text(encoding="utf-8")
    cli.write_text(code.replace(f'"{__version__}"', '"of this folder"'), encoding="utf-8")
    assert run(tmp_path, "--version").stdout == "toypipe of this folder\n"


def test_ctrl_c_while_it_starts_ends_without_traceback(tmp_path: Path) -> None:
    """Before the commands can listen, the exit code is the same as when they do."""
    shutil.copytree(ROOT / "stages", tmp_path / "stages")
    interrupt = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "typer.py").write_text(interrupt, encoding="utf-8")
    result = run(tmp_path, "check")
    assert (result.returncode, result.stdout, result.stderr) == (128 + signal.SIGINT, "", "")


SLOW = {"torch", "torchvision", "numpy", "PIL", "dvc", "hydra", "jinja2", "vl_convert"}


@pytest.mark.parametrize(
    ("arguments", "never"),
    [
        (["--help"], {*SLOW, "pydantic", "ruamel"}),
        (["train", "--help"], SLOW),
        (["predict", "--help"], SLOW),
        (["export", "--help"], SLOW),
        (["--version"], {*SLOW, "pydantic", "ruamel"}),
        (["check"], SLOW),
        (["check", "-S", "train.seed=1"], SLOW - {"hydra"}),
        (["schema"], SLOW),
        (["gate", "--min", "test.accuracy=0"], SLOW),
    ],
)
def test_nothing_slow_is_imported_before_it_is_needed(
    finished: Path, arguments: list[str], never: set[str]
) -> None:
    """Commands that compute nothing answer at once: they do without what takes long to import."""
    code = f"""
import sys
from stages.cli import app
try:
    app({arguments!r})
except SystemExit as end:
    print("ended", end.code, *{{name.partition(".")[0] for name in sys.modules}})
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=finished, capture_output=True, text=True, check=True
    )
    word, status, *imported = result.stdout.splitlines()[-1].split()
    assert (word, status) == ("ended", "0")
    assert never & set(imported) == set()
