"""Read commits and files through Git."""

import subprocess
from pathlib import Path

from toypipe.errors import ToypipeError


def git(*arguments: str) -> str:
    """Run Git in the current folder; return what it prints.

    Raises ToypipeError, with Git's own message, if Git is not installed or fails.
    """
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise ToypipeError("this needs Git, which is not installed") from None
    if result.returncode != 0:
        message = result.stderr.decode(errors="replace").strip()
        raise ToypipeError(f"git {arguments[0]} says: {message}")
    return result.stdout.decode(errors="replace")  # a file may hold anything


def find_commit(rev: str) -> str:
    """Return the full hash of a commit, by any name that Git accepts: a branch, a tag, HEAD~1.

    Raises ToypipeError if this clone has no such commit.
    """
    git("rev-parse", "--git-dir")  # outside a repository, this says so
    try:
        return git("rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}").strip()
    except ToypipeError:
        raise ToypipeError(
            f"Git knows no commit {rev} here: name one by its hash, a branch, a tag or as HEAD~1."
            " If it is only on the server, `git fetch origin` gets it. A checkout in CI has only"
            " the newest commit by default: set `fetch-depth: 0` for actions/checkout"
        ) from None


def file_at(commit: str, path: Path) -> str:
    """Return the content of a file at a commit, by its path from the current folder.

    Raises ToypipeError if the commit does not hold the file.
    """
    return git("show", f"{commit}:./{path.as_posix()}")
