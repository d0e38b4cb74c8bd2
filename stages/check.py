"""Stage `check`: stop invalid parameters before DVC removes the last good results."""

from pathlib import Path

from toypipe.errors import ToypipeError
from toypipe.params.schema import Params
from toypipe.pipeline.stage import Reads, Stage, Writes


def run(
    stage: Stage,
    params: Params,
    *,
    params_yaml: Reads = Path("params.yaml"),
    params_ok: Writes = Path("data/params.ok"),
) -> str:
    """Confirm that the parameter file is valid; return a line for the user.

    The confirmation has the same bytes every time, so that valid new parameters rerun only the
    stages whose own sections have changed. Raises ToypipeError if the checkpoint to start from is
    missing, or unknown to DVC.
    """
    if (start := params.train.start_path) is not None:
        stage.require_listed("train.start", start)
        if not start.is_file():
            with stage.blaming("train.start"):
                raise ToypipeError(f"there is no file {start}: `dvc checkout` brings back DVC's")
    with stage.publish(params_ok) as (file,):
        file.write(b"ok\n")
    return f"{params_yaml} is valid"
