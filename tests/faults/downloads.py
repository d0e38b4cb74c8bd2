"""Downloads from servers that stall, never end, break off or send something else."""

import contextlib
import hashlib
import time
from functools import partial
from random import Random
from unittest import mock

from faults.arena import Arena, Case
from faults.tally import Tally
from misbehaving import CONTENT, SIZE, serve
from toypipe.data import download as module
from toypipe.data.download import download
from toypipe.errors import ToypipeError

DIGEST = f"sha256 {hashlib.sha256(CONTENT).hexdigest()}"
LIMITS = {"SILENCE": 0.25, "WINDOW": 0.15, "CRAWL": 1000, "PAUSE": 0.01, "LOOK": 0.01}
HANGS = 10.0  # seconds; with these limits nothing takes as long
KINDS = (
    *("endless", "silent", "silent after the head", "silent halfway", "drips", "breaks", "loops"),
    *("breaks, other bytes", "breaks, in chunks", "ends early, no length", "other bytes", "404"),
    *("shorter", "longer", "nonsense length", "login page, no length", "range of another file"),
    *("more, no length", "range always refused", "another protocol", "hangs up", "moved nowhere"),
)


def stubborn(arena: Arena, random: Random, kind: str) -> Tally:
    """Download from a server of this kind and up to two others, then from a good one."""
    tally, folder = Tally(1), arena.place().path
    target = folder / "raw/file"
    kinds = [kind, *random.choices([*KINDS, "good"], k=random.randrange(3))]
    random.shuffle(kinds)
    start = time.monotonic()
    with serve() as server, contextlib.ExitStack() as stack:
        for name, value in LIMITS.items():
            stack.enter_context(mock.patch.object(module, name, value))
        for sources in (kinds, ["good"]):
            said = ""
            try:
                for _ in download(list(map(server.url, sources)), target, size=SIZE, digest=DIGEST):
                    pass
            except ToypipeError as error:
                said = str(error)
            tally.outputs += (not said) != (target.exists() and target.read_bytes() == CONTENT)
        tally.outputs += bool(said) + (time.monotonic() - start > HANGS)
    tally.litter = len(list(target.parent.iterdir())) - 1
    return tally.close(folder, f"{kinds}: {time.monotonic() - start:.1f} s, {said or 'done'}")


def cases(_: Arena) -> list[Case]:
    """Return five downloads for each kind of server."""
    return [partial(stubborn, kind=kind) for kind in KINDS for _ in range(5)]
