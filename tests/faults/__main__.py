"""Try every kind of fault, or some, and print the table."""

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random

from conftest import clean_environment
from faults.arena import Arena, Case
from faults.kinds import KINDS, Kind
from faults.tally import HEAD, Tally, renewed


def attempt(arena: Arena, kind: str, number: int, case: Case, seed: int) -> Tally:
    """Try one; what keeps it from being tried is a failure too."""
    try:
        return case(arena, Random(f"{seed} {kind} {number}"))
    except Exception:  # noqa: BLE001 - the others are to go on
        return Tally(1, outputs=1, notes=[f"{kind} {number}: {traceback.format_exc()}"])


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


def main(seed: int, only: Sequence[str], share: float, write: Path | None) -> int:
    """Try everything, or a share of it; print the table; return the exit code.

    `write` names a page that has such a table: the rows of the kinds that were tried are replaced.
    """
    clean_environment()
    start = time.monotonic()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "dvc", "filelock"))
    print(f"seed {seed}; {platform.platform()}, {os.cpu_count()} cores")
    print(f"Python {platform.python_version()}, {versions}\n", flush=True)
    table: dict[str, Tally] = {}
    root = Path(tempfile.mkdtemp(prefix="faults-"))
    arena = Arena(root)
    for name in only or KINDS:
        begun = time.monotonic()
        table[name] = tally_of(arena, name, KINDS[name], seed, share)
        table[name].seconds = round(time.monotonic() - begun)
        print(table[name].row(name), file=sys.stderr, flush=True)
        for note in sorted(set(table[name].notes)):
            print(note, file=sys.stderr, flush=True)
    print(HEAD)
    for name, tally in table.items():
        print(tally.row(name))
    if write:
        rows = {name: tally.row(name) for name, tally in table.items()}
        write.write_text(renewed(write.read_text(), rows))
    print(f"\n{(time.monotonic() - start) / 60:.1f} minutes")
    good = all(tally.good for tally in table.values())
    if good:
        shutil.rmtree(root)
    else:
        print(f"what was spoilt is in {root}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Inject faults, and count what they cost.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], choices=KINDS)
    parser.add_argument("--share", type=float, default=1.0, help="of every kind, at random")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="whose table gets the rows")
    given = parser.parse_args()
    sys.exit(main(given.seed, given.only, given.share, given.write))
