"""Read commits and files through Git."""

import subprocess
from pathlib import Path

from toypipe.errors import ToypipeError


def git(*arguments: str) -> str:
    """Run Git here and return what it prints; if it fails, its message is a ToypipeError."""
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise ToypipeError("this needs Git, which is not installed") from None
    if result.returncode != 0:
        message = result.stderr.decode(errors="replace").strip()
        raise ToypipeError(*f"git {arguments[0]} says: {message}".splitlines())
    return result.stdout.decode(errors="replace")


def find_commit(rev: str) -> str:
    """Return a commit's full hash, by any name that Git accepts; ToypipeError if there is none."""
    git("rev-parse", "--git-dir")  # outside a repository, this says so
    try:
        return git("rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}").strip()
    except ToypipeError:
        raise ToypipeError(
            f"Git knows no commit {rev} here: name one by its hash, a branch, a tag or as HEAD~1."
            " If it is only on the server, `git fetch origin` gets it. A checkout in CI has only"
            " the newest commit by default: set `fetch-depth: 0` for actions/checkout"
        ) from None


def file_at(commit: str, path: Path, largest: int) -> bytes | None:
    """Return at most so many bytes of a file of a commit, by its path from here; None without."""
    command = ["git", "show", f"{commit}:./{path.as_posix()}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        content = process.stdout.read(largest)
        if len(content) == largest:
            process.kill()
            return content
    return content if process.returncode == 0 else None
