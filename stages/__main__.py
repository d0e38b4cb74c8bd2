"""`python -m stages`: the commands of the folder one stands in."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def main() -> None:
    """Run a command, and end at once when it has ended."""
    # Before the commands listen, and when they have ended: no traceback from some import, and the
    # exit code that a command has when it is asked to end.
    for request in (signal.SIGINT, signal.SIGTERM):
        signal.signal(request, lambda number, _: os._exit(128 + number))
    from stages.cli import app

    run: Callable[..., Any] = app
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # one process of several: let torchrun explain
        from torch.distributed.elastic.multiprocessing.errors import record

        run = record(app)
    try:
        run(prog_name="toypipe")
    except SystemExit as end:
        # Taking torch down piece by piece takes over half a second, and DVC hashes what a stage
        # has used only when the process has ended: what is edited until then would be recorded.
        with suppress(OSError):  # nobody listens any more
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)


main()
