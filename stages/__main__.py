"""`python -m stages`: the commands, from the code of the current folder."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def main() -> None:
    """Run a command, and end at once when it has ended."""
    # Before the commands handle signals, and after: the exit code is the same, without a traceback.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: os._exit(128 + received))
    from stages.cli import app
    from toypipe.errors import ToypipeError

    run: Callable[..., Any] = app
    if "TORCHELASTIC_ERROR_FILE" in os.environ:  # one of several processes: report to torchrun
        from torch.distributed.elastic.multiprocessing.errors import record

        run = record(app)
    try:
        run(prog_name="toypipe")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except ToypipeError:  # torchrun's agent has its message
        code = 1
    else:
        code = 0
    # Taking torch down takes over half a second, and DVC hashes a stage's inputs when its process
    # has ended: an edit until then would be recorded.
    with suppress(OSError):  # the reader of the output is gone
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


main()
