"""What a fault has cost: the next run goes on undisturbed, and all is compared with the truth."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import psutil

from faults.arena import OUTPUTS, Arena, direct
from faults.project import Subject, Truth, await_
from faults.tally import Tally


def wrong_entries(subject: Subject, *truths: Truth) -> list[str]:
    """Name the stages whose entry in dvc.lock differs from that of every undisturbed run."""
    try:
        entries = subject.entries()
    except (OSError, KeyError, TypeError, ValueError) as error:
        return [f"dvc.lock: {error}"]
    return [
        f"the entry of {name} in dvc.lock"
        for name, entry in entries.items()
        if all(entry != truth.entries.get(name) for truth in truths)
    ]


def differing(files: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> list[str]:
    """Name the files that are not as they should be."""
    names = sorted(files.keys() | wanted.keys())
    return [name for name in names if files.get(name) != wanted.get(name)]


def judge(
    arena: Arena,
    subject: Subject,
    what: str,
    *,
    stage: str = "",
    truth: Truth | None = None,
    known: Sequence[Truth] = (),
) -> Tally:
    """After a fault: let the next run go on undisturbed, and compare all with the truth.

    Args:
        arena: Where the subject is from.
        subject: After its fault.
        what: The fault, in words.
        stage: To run this directly, instead of all under DVC.
        truth: The right results, if not those of parameters B.
        known: What else an undisturbed run may have recorded before.
    """
    truth = truth or arena.truth
    tally = Tally(1, orphans=subject.orphans())
    wrong = wrong_entries(subject, arena.recorded, arena.truth, truth, *known)
    tally.records = len(wrong)
    if stage:
        wanted = dict(subject.files())
        wanted |= {name: truth.files[name] for name in OUTPUTS[stage]}
        wanted = {name: content for name, content in wanted.items() if not is_temporary(name)}
        code = subject.end(*direct(stage))
    else:
        wanted = dict(truth.files)
        code = subject.end("dvc", "repro")
    bad = [f"exit code {code}"] * (code != 0) + differing(subject.files(), wanted)
    if not stage:
        found = wrong_entries(subject, truth)
        tally.records += len(found)
        wrong += found
        for command, expected in (
            (("dvc", "status"), "Data and pipelines are up to date.\n"),
            (("git", "status", "--porcelain"), truth.git),
        ):
            status = subprocess.run(
                command, cwd=subject.path, capture_output=True, text=True, check=False
            )
            if status.stdout != expected:
                bad.append(f"{' '.join(command)}: {status.stdout}{status.stderr}")
    litter = subject.litter()
    tally.orphans += subject.orphans()
    tally.outputs, tally.litter = len(bad), len(litter)
    tally.tracebacks = subject.printed.count("Traceback")
    place = "; ".join([*wrong, *bad, *litter])
    return tally.close(subject.path, f"{what}: {place}\n{subject.printed[-3000:]}")


def is_temporary(name: str) -> bool:
    """Tell whether a file has the name of one that is being written."""
    return re.fullmatch(r"\..+\.\d+", Path(name).name) is not None


def wait_a_part(arena: Arena, random: Random, stage: str, process: Any) -> None:
    """Wait for a random part of the time that a stage takes, or until it has ended."""
    moment = random.random() * arena.seconds[stage]
    await_(lambda: not psutil.pid_exists(process.pid), moment)
