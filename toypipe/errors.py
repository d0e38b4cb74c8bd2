"""What a user can cause, each with the exit code that a command ends with."""

from typing import ClassVar


class ToypipeError(ValueError):
    """Something outside the code is wrong: parameters, files, a device.

    The message is what the user reads: what was found, what was expected, what to do.
    """

    exit_code: ClassVar[int] = 2


class InputsChangedError(ToypipeError):
    """What a stage was given changed while it ran: DVC would record what was not used."""

    exit_code = 3


class BusyError(ToypipeError):
    """Another process is at the same work."""

    exit_code = 75


class LostError(ToypipeError):
    """Another process of the same training has gone; what was saved can be gone on with."""

    exit_code = 143
