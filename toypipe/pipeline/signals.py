"""How a command is interrupted: by Ctrl-C, by SIGTERM, or when its starter dies."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGENT = "TORCHELASTIC_RUN_ID"  # torchrun's agent sets it for its processes: the name of the run
OWN_RUN = "toypipe"  # that name, if toypipe started the agent: then it prints all messages
POLL = 0.5  # seconds between two checks that the starter is alive


class Interrupted(KeyboardInterrupt):
    """The process received a signal to end."""

    def __init__(self, number: int, message: str = "") -> None:
        """Args: the signal's `number`; a `message` for the user, by default the signal's name."""
        super().__init__(message or signal.Signals(number).name)
        self.exit_code = 128 + number  # as a shell reports it


class _Interrupts:
    """The signals that this process has received."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._held = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into `Interrupted`; a second one ends the process at once.

        This includes signals that were ignored before: a shell's background process ignores
        SIGINT, which is what `dvc queue kill` sends.
        """
        self.received = None
        before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        over = threading.Event()
        try:
            if "DVC_STAGE" in os.environ or AGENT in os.environ:
                threading.Thread(target=_end_with_starter, args=(over,), daemon=True).start()
            yield
        finally:
            over.set()
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold signals back within the block; `raise_received` delivers them."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def raise_received(self, message: str = "") -> None:
        """Raise `Interrupted`, with a message for the user, if a signal was held back."""
        if self.received is not None:
            raise Interrupted(self.received, message)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")  # a progress bar hides the cursor
            os._exit(128 + number)
        self.received = number
        if not self._held:
            raise Interrupted(number)


interrupts = _Interrupts()  # signals belong to the process, so there is one instance


def _end_with_starter(over: threading.Event) -> None:
    """Send SIGTERM to this process when DVC dies: nobody would record its training.

    A process that torchrun started ends with torchrun's agent instead. `over` is set when the
    command has ended.
    """
    import psutil  # only a stage under DVC needs it

    with suppress(psutil.NoSuchProcess):  # the starter died meanwhile
        for ancestor in psutil.Process().parents():
            if AGENT in os.environ or _is_dvc(ancestor):
                while ancestor.is_running() and ancestor.status() != psutil.STATUS_ZOMBIE:
                    if over.wait(POLL):
                        return
                break
    # After a first signal, a second one would cut short the saving that the first began.
    if interrupts.received is None and not over.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _is_dvc(process: Any) -> bool:
    """Tell DVC from the shells between it and this stage, and from init, which adopts orphans."""
    import psutil

    try:
        if "DVC_STAGE" in process.environ():  # DVC sets it for the processes that it starts
            return False
        is_init = process.pid == 1 or process.name() == "systemd"
        return not is_init or any("dvc" in word for word in process.cmdline())
    except psutil.AccessDenied:
        return bool(process.pid != 1)
