"""Whatever a command is given, its error is harmless text with a code of its own."""

from pathlib import Path
from random import Random

import pytest

from faults import hostile_text
from faults.hostile_text import ARGUMENTS, hold


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("seed", range(3))
def test_odd_arguments_are_shown_escaped(argument: str, seed: int) -> None:
    """No escape code, no forged line, no password, and no traceback: exit code 2."""
    text = hostile_text.odd(Random(f"{argument} {seed}")).replace("\ud800", "")
    tally = hold([word.replace("@", text) for word in argument.split()], 2)

    assert tally.good, "\n".join(tally.notes)


def test_lines_of_a_message_are_lines() -> None:
    """Each mistake in a parameter file has its own, also where a key breaks one."""
    Path("params.yaml").write_text('"a\\nFORGED": 1\nprepare: 2\n')
    tally = hold(["check"], 2)

    assert tally.good, "\n".join(tally.notes)
