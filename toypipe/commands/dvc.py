"""DVC as another process, in the environment that it needs."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from toypipe.errors import ToypipeError

COMMAND = (sys.executable, "-m", "dvc")


def require_dvc(command: str) -> None:
    """Refuse a command that is nothing without DVC.

    Raises:
        ToypipeError: It is not installed.
    """
    if find_spec("dvc") is None:
        raise ToypipeError(
            f"{command} runs the pipeline with DVC, which is not installed: pip install dvc"
        )


def environment() -> dict[str, str]:
    """Return an environment in which `python` is this one and no other project's DVC is at work."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**own, "PATH": path, "DVC_NO_ANALYTICS": "1"}
