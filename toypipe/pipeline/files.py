"""How a stage names its files, and how it publishes them: all or none."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Annotated

from toypipe.data.files import whole

Reads = Annotated[Path, "reads"]
"""A file that a stage reads: a dependency in dvc.yaml, which a test holds to these."""
Writes = Annotated[Path, "writes"]
"""A file that a stage writes: an output in dvc.yaml."""


@contextmanager
def publish(*paths: Path, unchanged: Callable[[], None]) -> Iterator[list[IO[bytes]]]:
    """Open the outputs of a stage: all take their names, one right after the other, or none does.

    Args:
        paths: Where they go.
        unchanged: Called when all is written; raises if what was used is not what lies there now.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(whole(path)) for path in paths]
        yield files
        for file in files:
            file.flush()  # what a full disk refuses, it refuses before any file has its name
        unchanged()
