"""Try kinds of faults, and tally what they cost."""

import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

from conftest import clean_environment
from faults.arena import Arena, Case
from faults.kinds import KINDS, Kind
from faults.tally import Tally


def attempt(arena: Arena, kind: str, number: int, case: Case, seed: int) -> Tally:
    """Try one; what keeps it from being tried is a failure too."""
    try:
        return case(arena, Random(f"{seed} {kind} {number}"))
    except Exception:  # noqa: BLE001 - the others are to go on
        return Tally(1, outputs=1, notes=[f"{kind} {number}: {traceback.format_exc()}"])


def tallies(names: Sequence[str], seed: int, share: float) -> dict[str, Tally]:
    """Try kinds, one after the other."""
    clean_environment()
    arena = Arena(Path(tempfile.mkdtemp(prefix="faults-")))
    table: dict[str, Tally] = {}
    for name in names:
        begun = time.monotonic()
        table[name] = tally_of(arena, name, KINDS[name], seed, share)
        table[name].seconds = round(time.monotonic() - begun)
        print(table[name].row(name), file=sys.stderr, flush=True)
        for note in sorted(set(table[name].notes)):
            print(note, file=sys.stderr, flush=True)
    if all(tally.good for tally in table.values()):
        shutil.rmtree(arena.root)
    else:
        print(f"what was spoilt is in {arena.root}", file=sys.stderr)
    return table


def tally_of(arena: Arena, name: str, kind: Kind, seed: int, share: float) -> Tally:
    """Try a kind, or a share of its cases."""
    numbered = list(enumerate(kind.cases(arena)))
    picked = Random(f"{seed} {name}").sample(numbered, max(1, round(len(numbered) * share)))
    tries = [partial(attempt, arena, name, number, case, seed) for number, case in picked]
    tally = Tally()
    if kind.alone:
        for each in tries:
            tally.add(each())
    else:
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(each) for each in tries]:
                tally.add(done.result())
    return tally
