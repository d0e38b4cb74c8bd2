"""`toypipe plots-page` cannot break `dvc plots show`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from conftest import Project
from stages.cli import app
from toypipe.commands import plots_page


def test_the_page_is_this_checkouts_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git ignores the page and the setting by which DVC uses it; a second call changes nothing."""
    monkeypatch.chdir(project.path)
    plots_page.run()
    plots_page.run()
    shown = project.run("dvc", "plots", "show")
    page = (project.path / "dvc_plots/index.html").read_text(encoding="utf-8")

    assert "WARNING" not in shown
    assert "<title>DVC plots</title>" in page
    assert "cdn.jsdelivr.net" not in page
    assert "Validation accuracy" in page
    assert project.run("git", "status", "--porcelain") == ""


def test_a_clone_without_the_page_has_dvcs_own(recorded: Project, tmp_path: Path) -> None:
    """Nothing that Git tracks names the page, so DVC in a clone uses its own."""
    clone = Project(tmp_path / "clone")
    recorded.run("git", "clone", "--quiet", ".", str(clone.path))
    clone.run("dvc", "plots", "show")

    assert "Validation accuracy" in (clone.path / "dvc_plots/index.html").read_text("utf-8")


def test_outside_a_dvc_project_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["plots-page"], catch_exceptions=False)

    assert result.exit_code == 2
    assert "there is no .dvc here" in result.stderr
    assert list(tmp_path.iterdir()) == []
