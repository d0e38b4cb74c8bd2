"""`python -m stages`: the commands of the folder one stands in."""

import os
import signal
import sys


def main() -> None:
    """Run a command, and end at once when it has ended."""
    # Until the commands listen, Ctrl-C just ends this, without a traceback from some import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from stages.cli import app

    try:
        app(prog_name="toypipe")
    except SystemExit as end:
        if isinstance(end.code, int):
            # Python takes most of a second to put torch away. DVC looks at parameters, code and
            # data only after that: an edit meanwhile would be recorded as what was used.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)
        raise


main()
