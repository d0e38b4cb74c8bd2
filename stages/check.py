"""Stage `check`: stop invalid parameters before DVC removes the last good results."""

from pathlib import Path

from toypipe.errors import printable
from toypipe.params.schema import Params
from toypipe.pipeline.stage import Reads, Stage, Writes


def run(
    stage: Stage,
    params: Params,  # noqa: ARG001 - valid: `Stage` has read them
    *,
    params_yaml: Reads = Path("params.yaml"),
    params_ok: Writes = Path("data/params.ok"),
) -> str:
    """Confirm that the parameter file is valid; return a line for the user.

    The confirmation has the same bytes every time, so that valid new parameters rerun only the
    stages whose own sections have changed.
    """
    with stage.publish(params_ok) as (file,):
        file.write(b"ok\n")
    return f"{printable(str(params_yaml))} is valid"
