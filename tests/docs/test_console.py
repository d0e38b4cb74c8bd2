"""The console blocks of the pages: each is run here, or says right above it why not.

    <!-- not run: needs S3 -->

The blocks of a page run one after another, by bash, in a small project. Of the lines that a block
shows, the words are compared with what is printed, and the numbers are not: they are those of
CIFAR-10. All commands in blocks and in the text must exist, with their options.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from dvc.cli.parser import get_main_parser

from blocks import BLOCK, words
from conftest import Project
from stages.cli import app
from synthetic import ROOT, make_folder

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "reference.md"),
]
SKIPPED = re.compile(r"didn't change, skipping|^$")
"""What DVC says of stages that are up to date."""
REDIRECTED = re.compile(r"\d?>\S+")
PREFIX = re.compile(r"[A-Z_]\w*=|time$")
"""What may stand before a command."""
FUNCTION = 'toypipe() { python -m stages "$@"; }; '
"""The `toypipe` on the path is another project's: that of this checkout."""


class Command(NamedTuple):
    """A command of a block, and the lines that the block shows below it."""

    text: str
    shown: list[str]


class Block(NamedTuple):
    """A block of a page."""

    kind: str
    reason: str | None
    """Why it is not run."""
    commands: list[Command]


def read_blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that are commands."""
    found = BLOCK.finditer(page.read_text())
    return [
        Block(match["kind"], match["reason"], list(_commands(match["kind"], match["text"])))
        for match in found
        if match["kind"] != "text"
    ]


def _commands(kind: str, text: str) -> Iterator[Command]:
    """Yield the commands of a block; in a console they follow a prompt."""
    text = text.replace("\\\n", "")
    if kind == "console":
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            yield Command(command, shown)
    else:
        yield from (Command(line, []) for line in text.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_copied_from_a_page_does_what_the_page_shows(
    page: Path, request: pytest.FixtureRequest
) -> None:
    """Commands without a comment succeed, or fail where the page shows an error."""
    run = [command for block in read_blocks(page) if not block.reason for command in block.commands]
    if not run:
        return
    project: Project = request.getfixturevalue("project")
    project.run("git", "commit", "--quiet", "--allow-empty", "--message", "One before")
    home = project.path.parent
    photo = make_folder(home / "pictures") / "train/cat/0.png"
    shutil.copy(photo, project.path / "photo.jpg")
    (make_folder(home / "more", each=20) / "train").rename(home / "animals")
    shutil.copytree(ROOT / "recipes", project.path / "recipes")
    for command, shown in run:
        result = subprocess.run(
            ["bash", "-c", f"{FUNCTION}{command}"],
            cwd=project.path,
            env={**os.environ, "HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        fails = any(line.startswith("error:") for line in shown)
        assert (result.returncode != 0) == fails, f"{command}\n{result.stdout}"
        if shown:
            printed = [words(line) for line in result.stdout.splitlines()]
            printed = [line for line in printed if not SKIPPED.search(line)]
            known = list(map(words, shown))
            assert printed[0] == known[0], command
            # Rows of unchanged metrics may be missing, but nothing else is printed.
            assert set(printed) - set(known) == set(), command


def test_undo_restores_the_last_commit(project: Project) -> None:
    """README's commands restore it after an edit that has run, and after a direct training."""
    blocks = read_blocks(ROOT / "README.md")
    lines = [command.text for block in blocks for command in block.commands]
    edit, direct = (line for line in lines if line.startswith("git checkout --quiet HEAD"))
    before = project.files()

    project.edit("params.yaml", " lr: 0.01", " lr: 0.02")
    project.run("dvc", "repro")
    assert project.files() != before
    project.run("bash", "-c", edit)
    assert project.files() == before
    project.run(sys.executable, "-m", "stages", "train", "-S", "train.epochs=1")
    assert project.files() != before
    project.run("bash", "-c", direct)
    assert project.files() == before
    assert project.run("git", "status", "--short") == ""
    assert "up to date" in project.run("dvc", "status")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    """What a page names exists, run or not: commands, their options, make targets, scripts."""
    text = page.read_text()
    inline = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    shown = [command.text for block in read_blocks(page) for command in block.commands]
    for line in [*shown, *inline]:
        for parts in _split(line):
            _require(parts)


def _split(line: str) -> Iterator[list[str]]:
    """Yield the simple commands of a line, without variables and redirections."""
    try:
        lexer = shlex.shlex(REDIRECTED.sub("", line), posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        tokens = list(lexer)
    except ValueError:  # half a quotation: not a command
        return
    command: list[str] = []
    for token in [*tokens, ";"]:
        if token[0] in "|&;":
            yield command
            command = []
        elif command or not PREFIX.match(token):
            command.append(token)


def _require(command: list[str]) -> None:
    """Check that a command and its options exist, where it is one of ours, of DVC's or of make."""
    match command:
        case ["toypipe", name, *arguments]:
            _require_toypipe(name, arguments)
        case ["torchrun", *arguments]:
            start = arguments.index("stages") + 1
            _require_toypipe(arguments[start], arguments[start + 1 :])
        case ["dvc", *arguments] if arguments:
            get_main_parser().parse_args(arguments)
        case ["make", *targets]:
            makefile = (ROOT / "Makefile").read_text()
            assert set(targets) <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)), command
        case ["python", script, *arguments] if script.endswith(".py"):
            source = (ROOT / script).read_text()
            options = [word for word in arguments if re.match(r"--?[a-zA-Z]", word)]
            assert all(option in source for option in options), command


def _require_toypipe(name: str, arguments: list[str]) -> None:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert name in commands, name
    try:
        commands[name].make_context(name, arguments)
    except Exception as error:
        if type(error).__name__ != "MissingParameter":  # the text may leave arguments out
            raise


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_is_text_or_commands(page: Path) -> None:
    """A block in another language would be neither run nor explained."""
    assert {block.kind for block in read_blocks(page)} <= {"bash", "console"}
