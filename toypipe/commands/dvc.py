"""Run DVC as another process."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from toypipe.errors import ToypipeError

COMMAND = (sys.executable, "-m", "dvc")


def require_dvc(command: str) -> None:
    """Raise ToypipeError if DVC, which this command runs, is not installed."""
    if find_spec("dvc") is None:
        raise ToypipeError(f"{command} runs DVC, which is not installed: pip install dvc")


def environment() -> dict[str, str]:
    """Return an environment with this `python` and without another DVC's variables."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**own, "PATH": path, "DVC_NO_ANALYTICS": "1"}
