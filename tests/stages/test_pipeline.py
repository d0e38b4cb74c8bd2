"""The pipeline under DVC, on a small data set of one's own."""

import csv
import io
import json
import re
import time

import pytest
import torch

from conftest import Project


def test_a_run_is_complete_and_up_to_date(recorded: Project) -> None:
    """After `dvc repro` every file of the contract is there, and nothing is left to do."""
    names = set(recorded.files())

    assert {
        "data/params.ok",
        "data/prepared/train.pt",
        "data/prepared/test.pt",
        "data/model/checkpoint.pt",
        "data/reports/loss.csv",
        "data/reports/train.json",
        "data/reports/test.json",
        "data/reports/confusion.csv",
        "data/reports/per_class.csv",
        "data/reports/images/confusion.png",
        "data/reports/images/mistakes.png",
    } <= names
    assert not [name for name in names if "/." in name and ".gitignore" not in name]
    assert "up to date" in recorded.run("dvc", "status")


def test_forcing_a_run_changes_nothing(project: Project) -> None:
    """The same parameters give the same bytes: Git sees no difference, nor does dvc.lock."""
    before = project.files()
    project.forget()
    project.run("dvc", "repro", "--force", "--no-run-cache")

    assert project.files() == before
    assert project.run("git", "status", "--porcelain") == ""


HARMLESS = (
    ("stages/cli.py", "The commands.", "All commands."),
    ("toypipe/errors.py", "Errors that a user", "Mistakes that a user"),
    ("toypipe/pipeline/progress.py", "REFRESH = 0.25", "REFRESH = 0.2"),
    ("toypipe/pipeline/gpu_lock.py", "POLL = 0.5", "POLL = 0.4"),
    ("toypipe/commands/git.py", "git", "Git"),
)
LITTER = (
    "toypipe/training/__pycache__/loop.cpython-311.pyc",
    "toypipe/training/.loop.py.swp",
    "toypipe/networks/build.py~",
)


def test_edits_beside_the_work_rerun_nothing(project: Project) -> None:
    """Commands, messages, a progress bar, a lock, and the litter of Python and editors."""
    for name, old, new in HARMLESS:
        text = (project.path / name).read_text()
        assert old in text
        (project.path / name).write_text(text.replace(old, new, 1))
    for name in LITTER:
        (project.path / name).parent.mkdir(exist_ok=True)
        (project.path / name).write_bytes(b"other bytes")

    assert project.ran() == []


@pytest.mark.parametrize(
    ("name", "old", "new", "stages"),
    [
        ("toypipe/params/schema.py", "The schema of", "A schema of", ["check"]),
        ("params.yaml", "views: 1 ", "views: 2 ", ["check", "evaluate"]),
        ("toypipe/evaluation/statistics.py", "", "# edited\n", ["evaluate"]),
        ("toypipe/networks/build.py", "", "# edited\n", ["train", "evaluate"]),
    ],
)
def test_an_edit_reruns_what_it_concerns(
    project: Project, name: str, old: str, new: str, stages: list[str]
) -> None:
    """An edit of a package reruns the stages that list the package, and no other."""
    path = project.path / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))

    assert project.ran("--dry") == stages


def test_a_new_and_a_deleted_file_of_a_package_rerun_its_stages(project: Project) -> None:
    """Also where DVC may take missing data for unchanged (treeverse/dvc#11100)."""
    lazy = ("--pull", "--allow-missing", "--dry")
    added = project.path / "toypipe/evaluation/added.py"
    added.write_text("")
    assert project.ran(*lazy) == ["evaluate"]

    project.run("dvc", "repro")
    added.unlink()
    assert project.ran(*lazy) == ["evaluate"]

    project.edit("toypipe/networks/speedrun.py", "HEAD = 1 / 9", "HEAD = 1 / 8")
    assert project.ran(*lazy) == ["train", "evaluate"]


def test_bad_parameters_cost_nothing(project: Project) -> None:
    """`check` stops the pipeline before DVC removes an output of any later stage."""
    before = project.files()
    project.edit("params.yaml", "lr: 0.01\n", "lr: -1\n")
    output = project.run("dvc", "repro", status=255)

    assert "train.optimizer.lr: should be greater than 0 (got -1)" in output
    assert project.files() == before


def test_a_later_failure_says_how_to_bring_results_back(project: Project) -> None:
    """What DVC removed before the stage failed comes back by the commands in the message."""
    before = project.files()
    project.edit("params.yaml", " lr: 0.01\n", " lr: 1e30\n")
    output = project.run("dvc", "repro", status=255)

    assert "training has diverged" in output
    assert "data/model/checkpoint.pt" not in project.files()

    project.run("git", "checkout", "--", "params.yaml", "data/reports")
    project.run("dvc", "checkout")
    assert project.files() == before


def test_prepare_refuses_a_folder_that_dvc_does_not_watch(project: Project) -> None:
    """Else DVC would not see it change."""
    project.edit("dvc.yaml", "      - data/mine\n", "")
    project.edit("params.yaml", "size: 16 ", "size: 24 ")
    output = project.run("dvc", "repro", status=255)

    assert "add `- data/mine` to the deps of the stage prepare in dvc.yaml" in output


def test_images_of_another_size_are_prepared_again(project: Project) -> None:
    """DVC's run cache is blind to any parameter named `size`, so prepare must do without it."""
    for size in (24, 16):
        text = (project.path / "params.yaml").read_text()
        (project.path / "params.yaml").write_text(re.sub(r"size: \d+ ", f"size: {size} ", text))
        project.run("dvc", "repro", "prepare")
        content = torch.load(project.path / "data/prepared/train.pt", weights_only=True)

        assert content["images"].shape[-1] == size


def test_a_bad_size_is_stopped_by_check(project: Project) -> None:
    """Here too the run cache would say that all is as it was."""
    before = project.files()
    project.edit("params.yaml", "size: 16 ", "size: 7 ")

    assert "prepare.dataset.size" in project.run("dvc", "repro", status=255)
    assert project.files() == before


def test_metrics_and_parameters_differ_between_commits(project: Project) -> None:
    """Both are in Git: a clone without any remote can compare any two commits."""
    project.edit("params.yaml", "lr: 0.01\n", "lr: 0.02\n")

    assert project.ran() == ["check", "train", "evaluate"]

    project.commit("Twice the learning rate")
    clone = Project(project.path.parent / "clone")
    project.run("git", "clone", "--quiet", ".", str(clone.path))
    for place in (project, clone):
        metrics = json.loads(place.run("dvc", "metrics", "diff", "HEAD~1", "--json"))
        params = json.loads(place.run("dvc", "params", "diff", "HEAD~1", "--json"))

        loss = metrics["data/reports/train.json"]["train_loss"]
        assert loss["old"] != loss["new"]
        rate = params["params.yaml"]["train.optimizer.lr"]
        assert (rate["old"], rate["new"]) == (0.01, 0.02)


def test_queued_experiments_run_their_own_parameters_and_code(project: Project) -> None:
    """One has another optimizer, replaced whole as docs/experiments.md shows, one other code."""
    adam = "{name:adam,lr:0.001,beta1:0.9,beta2:0.999,weight_decay:0.0}"
    changes = ("-S", "~train.optimizer", "-S", f"+train.optimizer={adam}")
    project.run("dvc", "exp", "run", "--queue", "--name", "adam", *changes)
    text = "json_bytes(run.epochs[-1]._asdict())"
    other = 'json_bytes({**run.epochs[-1]._asdict(), "train_loss": 42.0})'
    project.edit("stages/train.py", text, other)
    project.run("dvc", "exp", "run", "--queue", "--name", "own-code")
    project.edit("stages/train.py", other, text)
    project.run("dvc", "queue", "start", "--jobs", "2")
    for _ in range(240):
        time.sleep(0.5)
        done = project.run("git", "for-each-ref", "refs/exps")
        if done.count("/adam\n") == done.count("/own-code\n") == 1:
            break
    table = csv.DictReader(io.StringIO(project.run("dvc", "exp", "show", "--csv")))
    rows = {row["Experiment"]: row for row in table}

    assert project.run("git", "status", "--porcelain") == ""
    assert rows["own-code"]["train_loss"] == "42.0"
    assert rows["own-code"]["train.optimizer.name"] == "sgd"
    assert rows["adam"]["train.optimizer.name"] == "adam"
    assert float(rows["adam"]["train_loss"]) < 42


def test_plots_are_drawn_without_a_warning(recorded: Project) -> None:
    """Both losses in one chart, accuracy, the confusion matrix, each class's F1 and the images."""
    output = recorded.run("dvc", "plots", "show", "--json")

    assert "WARNING" not in output
    for title in ("Loss", "Validation accuracy", "Confusion matrix", "F1 of each class"):
        assert title in output
    for image in ("confusion.png", "mistakes.png"):
        assert f"data/reports/images/{image}" in output


def test_a_finished_training_is_delivered_again(project: Project) -> None:
    """Whatever has become of the outputs and of DVC's cache, it is not trained twice."""
    before = project.files()
    project.run("rm", "-rf", ".dvc/cache", "data/model", "data/reports/loss.csv")
    output = project.run("dvc", "repro", "--force")

    assert "delivering it" in output
    assert project.files() == before


@pytest.mark.integration
def test_two_experiments_with_the_same_training_share_it(project: Project) -> None:
    """Queued at once, they are tested otherwise: one trains, the other takes its result."""
    project.forget()
    project.run("dvc", "exp", "run", "--queue", "-S", "train.epochs=60", "-S", "evaluate.views=1,2")
    project.run("dvc", "queue", "start", "--jobs", "2")
    for _ in range(120):
        time.sleep(1)
        if project.run("dvc", "queue", "status").count("Success") == 2:
            break
    names = [line.split()[0] for line in project.run("dvc", "queue", "status").splitlines()[1:3]]
    logs = [project.run("dvc", "queue", "logs", name) for name in names]

    assert sum("epoch 60/60" in log for log in logs) == 1
    assert sum("delivering it" in log for log in logs) == 1
    assert project.run("python", "-m", "stages", "runs").count(" finished ") == 1


def test_nothing_is_written_through_a_link_into_the_cache(project: Project) -> None:
    """With hard links a direct run, even by root, leaves what DVC keeps as it was."""
    project.run("dvc", "config", "cache.type", "hardlink")
    project.run("dvc", "checkout", "--relink")
    before = project.files()
    model = project.path / "data/model/checkpoint.pt"
    assert model.stat().st_nlink > 1
    project.run("python", "-m", "stages", "train", "-S", "train.seed=7")
    project.run("python", "-m", "stages", "prepare", "-S", "prepare.dataset.size=8")
    assert project.files() != before

    project.run("git", "checkout", "--", "data/reports")
    project.run("dvc", "checkout", "--force")
    assert project.files() == before
