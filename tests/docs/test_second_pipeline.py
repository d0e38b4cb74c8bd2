"""docs/second-pipeline.md is run as it is written, in a clone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from blocks import BLOCK, words
from synthetic import ROOT


@pytest.mark.integration
def test_the_page_makes_a_second_pipeline(tmp_path: Path) -> None:
    """Each block succeeds and prints what the page shows; at the end the new stage is recorded."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": tools, "PYTHONPATH": str(clone)}
    page = (ROOT / "docs/second-pipeline.md").read_text(encoding="utf-8")
    for block in BLOCK.finditer(page):
        text, shown = block["text"], ""
        if block["kind"] == "console":
            command, shown = text.removeprefix("$ ").split("\n", 1)
            text = f"{command} || true"
        result = subprocess.run(
            ["bash", "-e", "-c", text],
            cwd=clone,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{text}\n{result.stdout}"
        if shown:
            assert list(map(words, result.stdout.splitlines())) == [*map(words, shown.splitlines())]

    lock = YAML(typ="safe", pure=True).load(clone / "dvc.lock")
    git = ["git", "-C", str(clone)]
    log, status = (
        subprocess.run([*git, *what], capture_output=True, text=True, check=True).stdout
        for what in (["log", "--format=%s"], ["status", "--porcelain"])
    )
    assert list(lock["stages"]) == ["check", "prepare", "train", "halve", "evaluate"]
    assert log.splitlines() == ["First record", "Start from toypipe"]
    assert status == ""
