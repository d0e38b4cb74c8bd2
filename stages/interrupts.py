"""How a command ends before its time: by Ctrl-C, by SIGTERM, and when DVC dies."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
POLL = 0.5  # seconds between two looks at whether DVC is still there


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
        try:
            if "DVC_STAGE" in os.environ:
                threading.Thread(target=_end_with_dvc, daemon=True).start()
            yield
        finally:
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


def _end_with_dvc() -> None:
    """Ask this process to end when DVC has died: it would train on, and nobody would record it."""
    import psutil  # only a stage under DVC pays for it

    def has_stage(process: psutil.Process) -> bool:
        try:
            return "DVC_STAGE" in process.environ()
        except psutil.AccessDenied:
            return False  # another user's, so DVC has not started it: mostly it is process 1

    try:
        # DVC sets DVC_STAGE for what it starts, so it is the nearest that has not got it.
        dvc = next(process for process in psutil.Process().parents() if not has_stage(process))
        orphaned = dvc.pid == 1 and not any("dvc" in word for word in dvc.cmdline())
        while not orphaned and dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE:
            time.sleep(POLL)
    except psutil.NoSuchProcess:
        pass  # it has died meanwhile
    except (psutil.AccessDenied, StopIteration):
        return  # not ours to watch
    if interrupts.received is None:  # else a second request would cut short what the first began
        os.kill(os.getpid(), signal.SIGTERM)
