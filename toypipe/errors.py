"""The one exception that a user can cause."""


class ToypipeError(ValueError):
    """Something outside the code is wrong: parameters, files, a device.

    The message is what the user reads: what was found, what was expected, what to do.
    """
