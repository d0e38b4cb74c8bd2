"""The table of all kinds of faults: a new kind is one entry."""

from collections.abc import Callable
from typing import NamedTuple

from faults import (
    damage,
    disks,
    edits,
    folders,
    hardships,
    hostile_files,
    interruptions,
    keeping,
    kills,
    parameters,
)
from faults.arena import Arena, Case


class Kind(NamedTuple):
    """A row of the table."""

    cases: Callable[[Arena], list[Case]]
    alone: bool = False
    """Its cases run in this process, not in others: one at a time, in the main thread."""


KINDS = {
    "parameter files": Kind(parameters.cases, alone=True),
    "kills of a stage": Kind(kills.kills),
    "deaths of DVC": Kind(kills.deaths),
    "interruptions": Kind(interruptions.interruptions),
    "edits in mid-run": Kind(edits.cases),
    "writes that fail": Kind(disks.failing_writes),
    "bad files": Kind(damage.bad_files),
    "fuzzed images": Kind(hostile_files.images),
    "claimed sizes": Kind(hostile_files.sizes),
    "special files": Kind(hostile_files.special_files),
    "folders swapped or linked": Kind(folders.cases, alone=True),
    "nothing can be kept": Kind(keeping.cases, alone=True),
    "hang-ups": Kind(hardships.hang_ups, alone=True),
    "few open files": Kind(hardships.file_limits, alone=True),
}
