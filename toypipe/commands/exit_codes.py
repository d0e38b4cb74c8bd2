"""Errors become exit codes, and a paragraph for the user."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from toypipe.commands import streams
from toypipe.errors import ToypipeError, printable
from toypipe.pipeline.signals import AGENT, OWN_RUN, Interrupted, interrupts


class Commands(TyperGroup):
    """The one place where errors become exit codes."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command, whatever became of the standard streams."""
        streams.mend()
        return super().main(*args, **options)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse bad usage before the command's name."""
        with _one_line():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; explain an error that a user can mend, without a traceback."""
        try:
            with interrupts.listening(), _one_line():
                return super().invoke(ctx)
        except ToypipeError as error:
            _fail(error)
        except Interrupted as error:
            if os.environ.get("RANK", "0") == "0":
                print(f"interrupted: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.filename is None:
                raise
            _fail(ToypipeError(f"{error.filename}: {error.strerror}"))


@contextmanager
def _one_line() -> Iterator[None]:
    """Escape what Click quotes of the command line."""
    try:
        yield
    except typer.TyperException as error:
        error.message = printable(error.message)
        raise


def _fail(error: ToypipeError) -> NoReturn:
    """Print an error and end; one of several processes leaves it to torchrun's agent.

    An agent that toypipe did not start may print it minutes later, so one process per host does.
    """
    if os.environ.get("DVC_STAGE") in {"train", "evaluate"}:  # the others' outputs stay (persist)
        remedy = "`dvc checkout` and `git checkout -- data/reports`"
        said = "DVC removed the earlier outputs of this stage before it ran. To restore them:"
        error.args += (f"{said} {remedy}.",)
    agent = os.environ.get(AGENT)
    if agent == OWN_RUN or (agent is not None and os.environ["LOCAL_RANK"] != "0"):
        raise error
    print(f"error: {error}", file=sys.stderr, flush=True)
    raise typer.Exit(error.exit_code) from None
