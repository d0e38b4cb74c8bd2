"""Errors that a user can cause, each with the exit code of the command that raises it."""

from typing import ClassVar


class ToypipeError(ValueError):
    """Parameters, files or a device are wrong, not the code.

    The message is for the user: what was found, what was expected, what to do.
    """

    exit_code: ClassVar[int] = 2


class InputsChangedError(ToypipeError):
    """The inputs of a stage changed while it ran: DVC would record inputs that were not used."""

    exit_code = 3


class BusyError(ToypipeError):
    """Another process is doing the same work."""

    exit_code = 75


class LostError(ToypipeError):
    """Another process of the same training ended; the training can be resumed."""

    exit_code = 1
