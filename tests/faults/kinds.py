"""The table of all kinds of faults: a new kind is one entry."""

from collections.abc import Callable
from typing import NamedTuple

from faults import (
    broken_files,
    clocks,
    damage,
    disks,
    downloads,
    edits,
    folders,
    hardships,
    hostile_files,
    hostile_text,
    interruptions,
    keeping,
    kills,
    no_room,
    parameters,
    queue_workers,
    streams,
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
    "no room for the images": Kind(no_room.cases),
    "bad files": Kind(damage.bad_files),
    "hostile names": Kind(hostile_text.names, alone=True),
    "broken dvc.yaml, dvc.lock and runs": Kind(broken_files.pipeline_files, alone=True),
    "broken metrics and tables": Kind(broken_files.results, alone=True),
    "standard streams": Kind(streams.cases),
    "folders swapped or linked": Kind(folders.cases, alone=True),
    "nothing can be kept": Kind(keeping.cases, alone=True),
    "hang-ups": Kind(hardships.hang_ups, alone=True),
    "few open files": Kind(hardships.file_limits, alone=True),
    "clocks that are set": Kind(clocks.cases),
    "bad downloads": Kind(downloads.cases, alone=True),
    "killed queue workers": Kind(queue_workers.cases),
    "fuzzed images": Kind(hostile_files.images),
    "claimed sizes": Kind(hostile_files.sizes),
    "special files": Kind(hostile_files.special_files),
}
