"""Errors become exit codes, and a paragraph for the user."""

import os
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from toypipe.errors import ToypipeError
from toypipe.pipeline.signals import AGENT, OWN_RUN, Interrupted, interrupts


class Commands(TyperGroup):
    """The one place where errors become exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; explain an error that a user can mend, without a traceback."""
        try:
            with interrupts.listening():
                return super().invoke(ctx)
        except ToypipeError as error:
            _fail(error)
        except Interrupted as error:
            if os.environ.get("RANK", "0") == "0":
                print(f"interrupted: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.filename is None or isinstance(error, BrokenPipeError):
                raise
            _fail(ToypipeError(f"{error.filename}: {error.strerror}"))


def _fail(error: ToypipeError) -> NoReturn:
    """Print an error and end; one of several processes leaves it to torchrun's agent.

    An agent that toypipe did not start may print it minutes later, so one process per host does.
    """
    text = str(error)
    if os.environ.get("DVC_STAGE") in {"train", "evaluate"}:  # the others' outputs stay (persist)
        text += (
            "\nDVC removed the earlier outputs of this stage before it ran. To restore them:"
            " `dvc checkout` and `git checkout -- data/reports`."
        )
    agent = os.environ.get(AGENT)
    if agent == OWN_RUN or (agent is not None and os.environ["LOCAL_RANK"] != "0"):
        error.args = (text,)
        raise error
    print(f"error: {text}", file=sys.stderr, flush=True)
    raise typer.Exit(error.exit_code) from None
