"""Try every kind of fault, or some, and print the table."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from faults.kinds import KINDS
from faults.tally import HEAD, renewed
from faults.trial import tallies


def main(seed: int, only: Sequence[str], share: float, write: Path | None) -> int:
    """Try everything, or a share of it; print the table; return the exit code.

    `write` names a page that has such a table: the rows of the kinds that were tried are replaced.
    """
    start = time.monotonic()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "dvc", "filelock"))
    print(f"seed {seed}; {platform.platform()}, {os.cpu_count()} cores")
    print(f"Python {platform.python_version()}, {versions}\n", flush=True)
    names = list(only or KINDS)
    halves = [[name for name in names if KINDS[name].alone is alone] for alone in (True, False)]
    # Two processes, because threads would disturb the cases that are forks of their process.
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        parts = pool.map(partial(tallies, seed=seed, share=share), filter(None, halves))
        done = {name: tally for part in parts for name, tally in part.items()}
    table = {name: done[name] for name in names}
    print(HEAD)
    for name, tally in table.items():
        print(tally.row(name))
    if write:
        rows = {name: tally.row(name) for name, tally in table.items()}
        write.write_text(renewed(write.read_text(), rows))
    print(f"\n{(time.monotonic() - start) / 60:.1f} minutes")
    return 0 if all(tally.good for tally in table.values()) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Inject faults, and count what they cost.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], choices=KINDS)
    parser.add_argument("--share", type=float, default=1.0, help="of every kind, at random")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="whose table gets the rows")
    given = parser.parse_args()
    sys.exit(main(given.seed, given.only, given.share, given.write))
