"""The same faults where memory has no room for the images, which are read while a stage runs."""

from functools import partial
from random import Random

from faults.arena import Arena, Case
from faults.edits import edit_in_mid_run, edits
from faults.interruptions import interruptions
from faults.kills import kill
from faults.tally import Tally

TIMES = {"train": 10, "evaluate": 6}  # kills of each sort
EDITS = 3  # of each sort


def cases(arena: Arena) -> list[Case]:
    """Return kills, interruptions, and edits of the images."""
    elsewhere = Arena(arena.root / "no-room", room=False)
    kills: list[Case] = [
        partial(kill, stage=stage, under_dvc=under_dvc, group=group)
        for stage, times in TIMES.items()
        for under_dvc in (False, True)
        for group in (False, True)
        for _ in range(times)
    ]
    edited: list[Case] = [
        partial(edit_in_mid_run, edit=edit)
        for edit in edits(elsewhere)
        if edit.file.startswith("data/prepared/")
        for _ in range(EDITS)
    ]
    return [
        partial(_in_another, case=case, other=elsewhere)
        for case in (*kills, *edited, *interruptions(elsewhere))
    ]


def _in_another(_: Arena, random: Random, case: Case, other: Arena) -> Tally:
    return case(other, random)
