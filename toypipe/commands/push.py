"""`toypipe push`: let nobody train what has been trained here.

`dvc push --run-cache` pushes what DVC remembers of every run, but of the files that it came to
only the cached outputs of what is checked out: no older network, and no metrics, which are in Git.
Without them another clone runs the stage again. DVC's cache has them all.
"""

import subprocess
from pathlib import Path

from toypipe.commands.dvc import COMMAND, environment, require_dvc
from toypipe.errors import ToypipeError


def run() -> int:
    """Push as DVC does, and then all other files that its run cache names.

    Returns:
        How many of these were not there yet.

    Raises:
        ToypipeError: DVC is not installed, or cannot push.
    """
    require_dvc("toypipe push")
    # By its command, which says in words what is wrong with a remote.
    if subprocess.run([*COMMAND, "push", "--run-cache"], env=environment(), check=False).returncode:
        raise ToypipeError("`dvc push --run-cache` failed, and says why above")
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
