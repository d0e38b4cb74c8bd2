"""A record is verified by running the pipeline again in a clean copy."""

import json
from decimal import Decimal

import pytest

from conftest import Project

VERIFY = ("python", "-m", "stages", "verify")


def test_a_true_record_is_identical(project: Project) -> None:
    """Every stage runs again elsewhere, without anything that was computed, and changes nothing."""
    before = project.files()
    output = project.run(*VERIFY)

    for stage in ("check", "prepare", "train", "evaluate"):
        assert f"Running stage '{stage}'" in output
        assert f"{stage}: identical" in output
    assert "epoch 2/2" in output
    assert "delivering it" not in output
    assert project.files() == before
    assert project.run("git", "status", "--porcelain") == ""


def test_the_first_stage_that_differs_is_named(project: Project) -> None:
    """With both values of each metric that differs, here the time of day, and both machines."""
    project.edit(
        "stages/evaluate.py",
        "json_bytes(metrics._asdict())",
        'json_bytes({**metrics._asdict(), "loss": __import__("time").time()})',
    )
    project.run("dvc", "repro")
    test_json = (project.path / "data/reports/test.json").read_bytes()
    then = json.loads(test_json, parse_float=Decimal)["loss"]
    project.edit("data/reports/train.json", "{", "{\n")
    project.run("dvc", "commit", "--force", "train")
    output = project.run(*VERIFY, status=4)

    assert "prepare: identical" in output
    assert "train: data/reports/train.json differs" in output
    assert "evaluate: data/reports/test.json differs" in output
    assert "the first stage that differs is train" in output
    assert f"loss was {then:.6g}, is " in output
    assert "all metrics agree to within" in output
    assert output.count("threads 1, torch ") == 2


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("params.yaml", "lr: 0.01\n", "lr: 0.02\n", "train: params.yaml"),
        (
            "toypipe/training/losses.py",
            "The losses",
            "All losses",
            "train: toypipe/training (modified)",
        ),
    ],
)
def test_a_project_that_was_edited_is_not_verified(
    project: Project, name: str, old: str, new: str, said: str
) -> None:
    """The record describes another: the message says where they differ, and what to do."""
    project.edit(name, old, new)
    output = project.run(*VERIFY, status=2)

    assert said in output
    assert "Running stage" not in output


def test_one_stage_needs_its_inputs(project: Project) -> None:
    """Those that the record has, and no others."""
    (project.path / "data/prepared/train.pt").unlink()

    output = project.run(*VERIFY, "--stage", "train", status=2)
    assert "data/prepared/train.pt (deleted)" in output
    assert "every output" in project.run(*VERIFY, "--stage", "evaluate")


def test_what_lies_outside_the_project_is_refused(project: Project) -> None:
    """The copy would lack it, or write beside itself."""
    (project.path.parent / "extra.txt").write_text("x")
    project.edit(
        "dvc.yaml", "      - stages/check.py\n", "      - stages/check.py\n      - ../extra.txt\n"
    )
    project.run("dvc", "commit", "--force", "check")

    assert "outside this project" in project.run(*VERIFY, status=2)


def test_without_a_record_there_is_nothing_to_verify(project: Project) -> None:
    """Nor is there anything for a stage that is not in it."""
    assert "dvc.lock has no stage deploy" in project.run(*VERIFY, "--stage", "deploy", status=2)
    (project.path / "dvc.lock").unlink()
    assert "dvc.lock is missing" in project.run(*VERIFY, status=2)
