"""Command `push`: share the results of every run, so that no other clone repeats one.

`dvc push --run-cache` pushes the records of all runs, but only the cached files of what is checked
out, and no metrics, which are in Git. The other files are in DVC's cache.
"""

import subprocess
from pathlib import Path

from toypipe.commands.dvc import COMMAND, environment, require_dvc
from toypipe.errors import ToypipeError


def run() -> int:
    """Push as DVC does, then all files that its run cache names; return how many were new.

    Raises ToypipeError if DVC is not installed, or cannot push.
    """
    require_dvc("toypipe push")
    # DVC's command, unlike its library, explains what is wrong with a remote.
    if subprocess.run([*COMMAND, "push", "--run-cache"], env=environment(), check=False).returncode:
        raise ToypipeError("`dvc push --run-cache` failed: its message is above")
    from dvc.repo import Repo

    pushed = 0
    with Repo() as repo:
        entries = Path(repo.stage_cache.cache_dir).glob("*/*/*")
        runs = [(entry.parent.name, entry.name) for entry in entries]
        for odb, objects in repo.stage_cache.get_used_objs(runs).items():
            result = repo.cloud.push(objects, odb=odb)
            if result.failed:
                raise ToypipeError(f"{len(result.failed)} files could not be pushed")
            pushed += len(result.transferred)
    return pushed
