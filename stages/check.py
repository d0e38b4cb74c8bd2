"""Stage `check`: stop bad parameters before DVC removes the last good results."""

from collections.abc import Callable, Sequence
from pathlib import Path

from toypipe.params.file import read_params
from toypipe.pipeline.files import Reads, Writes, publish


def run(
    overrides: Sequence[str] = (),
    *,
    unchanged: Callable[[], None] = lambda: None,
    params: Reads = Path("params.yaml"),
    params_ok: Writes = Path("data/params.ok"),
) -> None:
    """Validate a parameter file.

    Args:
        overrides: Changes for this call, with the grammar of `dvc exp run -S`.
        unchanged: Raises if the file has changed since it was noted.
        params: The file.
        params_ok: Where to say so, in the same bytes every time: so new parameters that are fine
            leave the later stages to judge by the sections that they read.

    Raises:
        ToypipeError: There are problems; the message lists them all.
    """
    read_params(params, overrides)
    with publish(params_ok, unchanged=unchanged) as (file,):
        file.write(b"ok\n")
