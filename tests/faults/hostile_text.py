"""Names from elsewhere: of files, commits, parameters, metrics and classes.

The commands run in this process. Each ends with a code of its own, in a paragraph without a
character that a terminal obeys, a line that a name has forged, or a password.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

import torch
from typer.testing import CliRunner

from faults.arena import Arena, Case
from faults.project import Subject
from faults.tally import Tally
from stages.cli import app

ODD = [
    *("\x1b[31m", "\x1b]0;title\x07", "\nFORGED", "\r\nFORGED", "\u2028FORGED", "\u202e", "\u200f"),
    *("\x7f", "\x9b31m", "\udcff", "\ud800", "\ufeff", "[red]", "[/]", ":smile:", "%s", "{x}", "é"),
    *("http://user:s3cret@127.0.0.1:1/x", "https://u:s3cret/@s3cret@[::1]", "a", " ", "\t", "'"),
]


def odd(random: Random) -> str:
    """Return a text that should not reach a terminal as it is."""
    return "".join(random.choices(ODD, k=random.randrange(1, 5)))


@contextlib.contextmanager
def standing_in(arena: Arena) -> Iterator[Subject]:
    """Stand in a copy of the finished project, whose commands are those of this process."""
    subject = arena.copy_of(arena.finished)
    shutil.rmtree(subject.path / "stages")  # else it would refuse the code of another folder
    with contextlib.chdir(subject.path):
        yield subject
    shutil.rmtree(subject.path)


def hold(arguments: Sequence[str], *codes: int) -> Tally:
    """Run a command; count a traceback, a code that is none of these, and what it must not show."""
    result = CliRunner().invoke(app, [*arguments])
    tally = Tally(1)
    what = f"{arguments!r}\n{result.output[-500:]!r}"
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        tally.tracebacks += 1
        tally.notes.append(f"{result.exception!r} for {what}")
        return tally
    lines = result.output.splitlines()
    wrong = [f"exit code {result.exit_code}"] if result.exit_code not in codes else []
    if any(not c.isprintable() for c in result.output.replace("\n", "")):
        wrong.append("a character that is obeyed")
    if any(line.startswith("FORGED") for line in lines):
        wrong.append("a forged line")
    if "s3cret" in result.output:
        wrong.append("a password")
    tally.outputs += len(wrong)
    tally.notes += [f"{', '.join(wrong)}: {what}"] if wrong else []
    return tally


ARGUMENTS = [
    *("gate --max-drop 0 --against @", "gate --min @=1", "gate --min test.accuracy=@", "runs @"),
    *("gate --max-drop @ --against HEAD", "check --params @", "check -S @", "check -S +train.@=1"),
    *(
        "check -S train.seed=@",
        "check --@",
        "check @",
        "--@",
        "@",
        "train --device @",
        "report --@",
    ),
    *(
        "train --processes @",
        "verify --stage @",
        "predict --checkpoint @ x",
        "predict @",
        "seeds @",
    ),
]


def named(_: Arena, random: Random, argument: str) -> Tally:
    """Give a command an odd argument."""
    text = odd(random).replace("\ud800", "")  # half a character, which no argument can hold
    return hold([word.replace("@", text) for word in argument.split()], 2)


def file_named(_: Arena, random: Random) -> Tally:
    """Give files odd names: a parameter file and an image that is none."""
    name = re.sub("http.*|/|\ud800", "", odd(random)) + ".x"
    shutil.copy("params.yaml", name)
    tally = hold(["check", "--params", name], 0).add(hold(["predict", "--", f"./{name}"], 2))
    Path(name).unlink()
    return tally


def parameter_named(_: Arena, random: Random) -> Tally:
    """Give params.yaml an odd key and an odd value."""
    good = Path("params.yaml").read_text(encoding="utf-8")
    pair = f"{json.dumps(odd(random))}: {json.dumps(odd(random))}\n"
    Path("params.yaml").write_text(f"{good}{pair}", encoding="utf-8")
    tally = hold(["check"], 2)
    Path("params.yaml").write_text(good, encoding="utf-8")
    return tally


def class_named(_: Arena, random: Random) -> Tally:
    """Give the classes of a checkpoint odd names."""
    content = torch.load("data/model/checkpoint.pt", weights_only=True)
    content["classes"] = [odd(random), odd(random)]
    torch.save(content, "odd.pt")
    image = str(next(Path("data/mine/test").glob("*/*")))
    form = ["--json"] if random.random() < 0.5 else []
    return hold(["predict", "--checkpoint", "odd.pt", *form, image], 0, 2)


def metric_named(_: Arena, random: Random) -> Tally:
    """Give a metric an odd name and an odd value."""
    path = Path("data/reports/test.json")
    good = path.read_bytes()
    path.write_text(json.dumps({odd(random): odd(random), "accuracy": 1}))
    tally = hold(["gate", "--min", "nothing=1"], 2)
    path.write_bytes(good)
    return tally


def url_named(_: Arena, __: Random) -> Tally:
    """Download from a URL with a password."""
    change = ["-S", "~prepare.dataset", "-S", "+prepare.dataset={name: cifar10}"]
    with patch("toypipe.data.download.PAUSE", 0):
        return hold(["prepare", "--url", ODD[-6], *change], 2)


def in_one_copy(arena: Arena, random: Random, parts: Sequence[Case]) -> Tally:
    """Try several faults, one after the other, in one copy."""
    tally = Tally()
    with standing_in(arena):
        for part in parts:
            tally.add(part(arena, random))
    return tally


def names(_: Arena) -> list[Case]:
    """Return every place for a name, five times with other names."""
    files: list[Case] = [file_named, parameter_named, class_named, metric_named]
    arguments: list[Case] = [partial(named, argument=argument) for argument in ARGUMENTS]
    all_of_them: Case = partial(in_one_copy, parts=[*arguments, *files])
    return [all_of_them] * 5 + [partial(in_one_copy, parts=[url_named])]
