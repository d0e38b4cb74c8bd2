"""How a command ends before its time: by Ctrl-C, by SIGTERM, and when who started it dies."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGENT = "TORCHELASTIC_RUN_ID"
"""What torchrun's agent sets in the environment of the processes that it starts."""
POLL = 0.5  # seconds between two looks at whether who started this is still there


class Interrupted(KeyboardInterrupt):
    """The process was asked to end."""

    def __init__(self, number: int, message: str = "") -> None:
        """Args: `number` of the signal; `message` for the user, if there is anything to say."""
        super().__init__(message or signal.Signals(number).name)
        self.exit_code = 128 + number  # as a shell reports it


class _Interrupts:
    """The requests to end that this process has received."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._held = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into `Interrupted`; a second one ends the process at once.

        Both are heard even where they were ignored before: a process in a shell's background
        ignores SIGINT, which is what `dvc queue kill` sends.
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
        """Within, a request does not interrupt: ask for it by `raise_received` at a good moment."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def raise_received(self, message: str = "") -> None:
        """Raise what was held back.

        Args:
            message: For the user.

        Raises:
            Interrupted: There was a request.
        """
        if self.received is not None:
            raise Interrupted(self.received, message)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")  # a progress bar has hidden the cursor
            os._exit(128 + number)
        self.received = number
        if not self._held:
            raise Interrupted(number)


interrupts = _Interrupts()
"""Signals belong to the process, so there is one."""


def _end_with_starter(over: threading.Event) -> None:
    """Ask this process to end when DVC has died: it would train on, and nobody would record it.

    Of several processes that train together, each ends with the agent that started it instead.

    Args:
        over: Set when nobody listens any more.
    """
    import psutil  # only a stage under DVC pays for it

    with suppress(psutil.NoSuchProcess):  # it has died meanwhile
        for ancestor in psutil.Process().parents():
            if AGENT in os.environ or _is_dvc(ancestor):
                while ancestor.is_running() and ancestor.status() != psutil.STATUS_ZOMBIE:
                    if over.wait(POLL):
                        return
                break
    # after a first request, a second would cut short what that began
    if interrupts.received is None and not over.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _is_dvc(process: "psutil.Process") -> bool:
    """Tell the process that started this stage from the shells between, and from who adopted it."""
    import psutil

    try:
        if "DVC_STAGE" in process.environ():  # DVC sets it for what it starts
            return False
        adopter = process.pid == 1 or process.name() == "systemd"
        return not adopter or any("dvc" in word for word in process.cmdline())
    except psutil.AccessDenied:
        return bool(process.pid != 1)
