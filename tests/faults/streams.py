"""Standard streams that are closed, full or unread: the exit code is that of the command."""

from functools import partial
from random import Random

from faults.arena import Arena, Case
from faults.judge import differing
from faults.tally import Tally

REDIRECTIONS = [
    *("{} >&-", "{} 2>&-", "{} <&-", "{} <&- >&-", "{} >&- 2>&-", "{} <&- >&- 2>&-"),
    *("{} >/dev/full", "{} 2>/dev/full", "{} >/dev/full 2>&1"),
    "(sleep 0.2; {} 2>&1) | true; exit ${{PIPESTATUS[0]}}",
]
COMMANDS = {
    "gate --min test.accuracy=2": 4,
    "gate --min test.accuracy=0": 0,
    "gate": 2,
    "check": 0,
    "check --params nowhere.yaml": 2,
    "train": 0,
    "evaluate": 0,
    "runs": 0,
    "schema": 0,
    "predict data/mine/test": 0,
    "--help": 0,
    "--nothing": 2,
}
FOR_PROGRAMS = {"schema", "predict data/mine/test"}  # where it cannot be written, work is lost


def redirected(arena: Arena, _: Random, redirection: str, command: str) -> Tally:
    """Run a command with these streams; its files are as they were, and its code is its own."""
    lost = command in FOR_PROGRAMS and "{} >/dev/full" in redirection
    expected = 2 if lost else COMMANDS[command]
    subject = arena.copy_of(arena.finished)
    code = subject.end("bash", "-c", redirection.format(f"python -m stages {command}"))
    bad = [f"exit code {code}"] if code != expected else []
    bad += differing(subject.files(), arena.truth.files)
    tracebacks = subject.printed.count("Traceback") + subject.printed.count("Exception ignored")
    tally = Tally(1, outputs=len(bad), tracebacks=tracebacks, litter=len(subject.litter()))
    return tally.close(
        subject.path, f"{redirection.format(command)}: {bad}\n{subject.printed[-1000:]}"
    )


def cases(_: Arena) -> list[Case]:
    """Return every command with every redirection."""
    return [
        partial(redirected, redirection=redirection, command=command)
        for redirection in REDIRECTIONS
        for command in COMMANDS
    ]
