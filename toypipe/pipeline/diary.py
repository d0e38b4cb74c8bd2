"""Who made what: a line for each stage that ran, with what no tracked file may hold.

Versions, hardware and times are kept beside the project, in .toypipe, so that results do not
depend on them and `toypipe verify` can name them.
"""

import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from toypipe.compute.devices import DeviceName, describe, pick_device
from toypipe.pipeline.inputs import Inputs


def write(inputs: Inputs, device: DeviceName) -> None:
    """Add a line for a stage that has just published its outputs."""
    line = {
        "stage": inputs.stage,
        "params": inputs.values,
        "files": inputs.files,
        "machine": machine(device),
        "ended": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    path = _path(Path(os.environ.get("DVC_ROOT", ".")))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def find(root: Path, stage: str, files: Mapping[str, str]) -> dict[str, str] | None:
    """Return the machine on which a stage was run last on these files; None if nobody knows.

    Args:
        root: The project.
        stage: Its name.
        files: The md5 of each dependency, as dvc.lock has them.
    """
    try:
        lines = _path(root).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        entry = json.loads(line)
        known = {name: md5 for name, md5 in files.items() if name in entry["files"]}
        if entry["stage"] == stage and known and known.items() <= entry["files"].items():
            found: dict[str, str] = entry["machine"]
            return found
    return None


def machine(device: DeviceName) -> dict[str, str]:
    """Return what a stage runs on: hardware and versions."""
    return {
        **describe(pick_device(device)),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _path(root: Path) -> Path:
    return root / ".toypipe" / "diary.jsonl"
