"""`make demo`: the whole pipeline without a download."""

import json
import subprocess
from pathlib import Path

import pytest

from synthetic import ROOT


@pytest.mark.integration
def test_the_demo_learns_the_digits_and_leaves_the_project_as_it_was(tmp_path: Path) -> None:
    """It runs in a copy, tells accuracy and page, and reaches 0.95 by its recipe."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    # -o: this environment is the one to use; a clone has none.
    command = ["make", "--no-print-directory", "-o", ".venv/.ready", "demo"]
    shown = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout
    status = ["git", "-C", str(clone), "status", "--porcelain"]
    reports = clone / ".toypipe/demo/data/reports"
    accuracy = json.loads((reports / "test.json").read_text())["accuracy"]

    assert accuracy >= 0.95
    assert f"{accuracy:.4f}" in shown
    assert shown.rstrip().endswith("open .toypipe/demo/data/reports/index.html in a browser")
    assert (reports / "index.html").exists()
    assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == ""
