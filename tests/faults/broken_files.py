"""Bytes from elsewhere: broken pipeline files and results, and nonsense beside the trainings."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

from faults.arena import Arena, Case
from faults.hostile_text import hold, in_one_copy, odd
from faults.project import Subject
from faults.tally import Tally

DEEP = "[" * 100_000
DIGITS = "9" * 5_000
CONFLICT = "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> other\n"
BROKEN = [
    *(b"", b"null", b"- 1\n", b"word", b"a: 1\n", b"\xff\xfe\x00", b"a:\n\tb: 1\n", b"\x00", b"*a"),
    *(CONFLICT.encode(), DEEP.encode(), b"a: " + DIGITS.encode(), b"#" * 2**20, b"a: &a [*a]\n"),
    *(b"stages:\n", b"stages: [1]\n", b"stages: {train: , check: , prepare: }\n", b"%YAML 9\n---"),
    *(b"stages: {train: {deps: }, check: {deps: {}}, prepare: {deps: 1}}\n", b"!!binary x", b"@"),
    b"stages: {train: {deps: [1]}, check: {deps: [[]]}, prepare: {deps: [{}]}}\n",
    b"stages: {check: {outs: [{path: x}]}, prepare: {params: [x]}, train: {deps: [x]}}\n",
]
METRICS = [
    *("", "null", "[1]", '"x"', DEEP, '{"a":' * 100_000, CONFLICT, '{"accuracy": }', "NaN", "{}"),
    *('{"accuracy": 1e99999999999999999999999}', f'{{"accuracy": {DIGITS}}}', '{"accuracy": null}'),
    *('{"accuracy": [1]}', '{"accuracy": {"a": 1}}', '{"accuracy": -1e400}', " " * 2**20, "\x00"),
]
ROWS = [
    *("nan,inf,-inf,1e999,0", "1,,,,", f"{DIGITS},1,1,1,1", "1", "1,1,1,1,1,1,1", '"', "\x00", ""),
    *("x" * 200_000, "caf\udce9,1,1,1,1", "1e300,1e300,1e300,1e300,1e300", "a,nan,1,1,1", "a,b"),
]


def in_bytes(text: str) -> bytes:
    """Encode a text; half a character stands for a byte that is not UTF-8."""
    return text.encode(errors="surrogateescape")


def broken(_: Arena, random: Random, file: str, content: bytes) -> Tally:
    """Break dvc.yaml or dvc.lock: whatever reads it refuses it, or can do without."""
    path = Path(file)
    good = path.read_bytes()
    path.write_bytes(content)
    if file == "dvc.yaml":
        tally = hold(["check"], 0, 2)
        with patch.dict("os.environ", DVC_STAGE="prepare"):
            tally.add(hold(["prepare"], 2))
    else:
        tally = hold(["verify", "--stage", "nothing"], 2)
        if random.random() < 0.2:
            tally.add(hold(["report"], 0))
    path.write_bytes(good)
    return tally


def damaged(_: Arena, random: Random, file: str, content: bytes) -> Tally:
    """Damage results, here and in a commit: gate and report refuse them, or can do with them."""
    path = Path("data/reports", file)
    good = path.read_bytes()
    path.write_bytes(content)
    commands = [["gate", "--min", "test.accuracy=0"], ["gate", "--max-drop=1", "--against=HEAD~1"]]
    if path.suffix == ".csv" or random.random() < 0.2:
        commands = [["report"], ["report", "--against", "HEAD"]]
    tally = hold(commands[0], 0, 2, 4)
    for command in ("add data/reports", "commit --quiet --allow-empty --message Damaged"):
        Subject(Path.cwd()).run("git", *command.split())
    path.write_bytes(good)
    Subject(Path.cwd()).run("git", "commit", "--quiet", "--allow-empty", "--all", "-m", "Mended")
    against = commands[1][:-1] + (["HEAD~1"] if path.suffix == ".csv" else ["--against=HEAD~1"])
    return tally.add(hold(against, 0, 2, 4))


RECORDS = [
    *('{"used": 1e300}', '{"used": NaN}', '{"epoch": -1}', '{"epoch": NaN}', "[1]", "null", "\xff"),
    *('{"values": null}', '{"values": {"params": [1]}}', '{"values": {"params": null}}', DEEP, ""),
    *('{"values": {"params": {"epochs": "x", "[/]": "[/red]"}}}', '{"pid": 1e99}', '{"used": -1}'),
    *('{"machine": {"a\\nFORGED": "\\u001b[31m"}}', '{"values": {"params": {"epochs": NaN}}}'),
    f'{{"values": {{"params": {{"seed": {DIGITS}}}}}}}',
]
Entry = Callable[[Path], object]
ENTRIES: dict[str, Entry] = {
    "lock that is a folder": lambda runs: (runs / "0123456789ab.lock").mkdir(),
    "locked by a folder": lambda runs: (runs / "0123456789ac.lock" / "x").mkdir(parents=True),
    "dangling link": lambda runs: (runs / "0123456789ad").symlink_to("nowhere"),
    "link to itself": lambda runs: (runs / "0123456789ae").symlink_to("0123456789ae"),
    "link to a folder": lambda runs: (runs / "0123456789af").symlink_to("/"),
    "file": lambda runs: (runs / "0123456789b0").write_text("x"),
    "odd name": lambda runs: (runs / "a\nFORGED\x1b[31m").mkdir(),
    "folder of its own": lambda runs: (runs / "notes" / "deep").mkdir(parents=True),
}


def noted(_: Arena, random: Random, record: str) -> Tally:
    """Put nonsense into the record and the log of a training: it is shown, and goes on."""
    (path,) = Path(".toypipe/runs").glob("*/run.json")
    good = path.read_bytes()
    path.write_bytes(record.encode("latin-1"))
    log = odd(random).replace("\ud800", "").replace("FORGED", "a line of its own")
    path.with_name("log.txt").write_bytes(in_bytes(log))
    tally = hold(["runs"], 0).add(hold(["runs", path.parent.name], 0))
    tally.add(hold(["train"], 0))
    path.write_bytes(good)
    return tally


def strange(_: Arena, __: Random, entry: str) -> Tally:
    """Put something else beside the trainings: they are listed, and go on."""
    with contextlib.suppress(FileExistsError):
        ENTRIES[entry](Path(".toypipe/runs"))
    return hold(["runs"], 0).add(hold(["train"], 0))


def pipeline_files(_: Arena) -> list[Case]:
    """Return every breach of dvc.yaml and dvc.lock, and all nonsense in the folder of runs."""
    files: list[Case] = [
        partial(broken, file=file, content=content)
        for file in ("dvc.yaml", "dvc.lock")
        for content in BROKEN
    ]
    runs: list[Case] = [partial(noted, record=record) for record in RECORDS]
    runs += [partial(strange, entry=entry) for entry in ENTRIES]
    return [partial(in_one_copy, parts=files), partial(in_one_copy, parts=runs)]


def results(_: Arena) -> list[Case]:
    """Return every damage of the metrics and tables, here and in a commit."""
    head = {"loss.csv": "epoch,train_loss,validation_loss,validation_accuracy,learning_rate\n"}
    head |= {"confusion.csv": "actual,predicted\n", "per_class.csv": "class,precision,recall,f1,"}
    head["per_class.csv"] += "support\n"
    parts: list[Case] = [
        partial(damaged, file="test.json", content=content.encode()) for content in METRICS
    ]
    for file, columns in head.items():
        contents = [b"", b"\xff", CONFLICT.encode(), *(in_bytes(f"{columns}{r}\n") for r in ROWS)]
        parts += [partial(damaged, file=file, content=content) for content in contents]
    return [partial(in_one_copy, parts=parts)]
