"""Errors that a user can cause, each with its exit code, and text from elsewhere made harmless."""

import re
from typing import ClassVar

# What may hold a password in a URL, also in one that breaks the rules: with a slash in it,
# or with one slash less, as in a path.
LOGIN = re.compile(r"(:/+)(?:[^\s/:@]*:\S*|(?<=//)[^\s/]*)@")


def printable(text: str) -> str:
    r"""Return a text as one harmless line: `\x1b` for an escape, `***` for the login of a URL.

    Whatever is not printable is escaped: control characters, line breaks, characters that change
    the direction of writing, bytes of a file name that are not UTF-8.
    """
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return LOGIN.sub(r"\1***@", "".join(shown))


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory ran out: Python's, or torch's on any device."""
    words = ("out of memory", "allocate memory")  # CUDA and MPS; the CPU
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


class ToypipeError(ValueError):
    r"""Parameters, files or a device are wrong, not the code.

    The message is for the user: what was found, what was expected, what to do. Each argument is a
    line of it. A line break within an argument is from elsewhere, and is shown as `\n`.
    """

    exit_code: ClassVar[int] = 2

    def __str__(self) -> str:
        return "\n".join(printable(str(line)) for line in self.args)


class InputsChangedError(ToypipeError):
    """The inputs of a stage changed while it ran: DVC would record inputs that were not used."""

    exit_code = 3


class BusyError(ToypipeError):
    """Another process is doing the same work."""

    exit_code = 75


class LostError(ToypipeError):
    """Another process of the same training ended; the training can be resumed."""

    exit_code = 1
