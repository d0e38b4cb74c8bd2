"""What Git remembers, by Git itself."""

import shutil
import subprocess
from pathlib import Path

from toypipe.errors import ToypipeError


def git(*arguments: str) -> str:
    """Run Git in the current folder; return what it prints.

    Raises:
        ToypipeError: There is no Git, or it refuses; the message is its own.
    """
    program = shutil.which("git")
    if program is None:
        raise ToypipeError("this needs Git, which is not installed")
    result = subprocess.run(
        [program, *arguments], capture_output=True, encoding="utf-8", check=False
    )
    if result.returncode != 0:
        raise ToypipeError(f"git {arguments[0]} says: {result.stderr.strip()}")
    return result.stdout


def find_commit(rev: str) -> str:
    """Return the full hash of a commit.

    Args:
        rev: Whatever Git takes for one: a branch, a tag, a hash, HEAD~1.

    Raises:
        ToypipeError: This clone has no such commit.
    """
    git("rev-parse", "--git-dir")  # where there is no repository, that is the trouble
    try:
        return git("rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}").strip()
    except ToypipeError:
        raise ToypipeError(
            f"Git knows no commit {rev} here: name one by its hash, a branch, a tag or as HEAD~1."
            " One that is elsewhere has to be fetched: git fetch origin. A checkout in CI has only"
            " the newest commit unless told otherwise: for actions/checkout, fetch-depth: 0"
        ) from None


def file_at(commit: str, path: Path) -> str:
    """Return what a file held at a commit.

    Args:
        commit: The commit's hash.
        path: The file, from the current folder, which need not be the top of the repository.

    Raises:
        ToypipeError: It was not there.
    """
    return git("show", f"{commit}:./{path.as_posix()}")
