"""Stage `check`: stop invalid parameters before DVC removes the last good results."""

from pathlib import Path

from toypipe.data.listing import list_images
from toypipe.errors import ToypipeError, printable
from toypipe.params.rules import require_fit
from toypipe.params.schema import Folder, Params, SplitFolder
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
    stages whose own sections have changed. Raises ToypipeError if a folder of images or the
    checkpoint to start from is missing or unknown to DVC, or the images are too few.
    """
    dataset = params.prepare.dataset
    if isinstance(dataset, Folder | SplitFolder):
        stage.require_listed("prepare.dataset.path", Path(dataset.path))
        with stage.blaming("prepare.dataset.path"):
            images, _ = list_images(dataset)
        count = sum(map(len, images.values()))
        require_fit(
            params.train, size=dataset.size, images=count, classes=len(images), place=stage.place
        )
    if (start := params.train.start_path) is not None:
        stage.require_listed("train.start", start)
        if not start.is_file():
            with stage.blaming("train.start"):
                raise ToypipeError(f"there is no file {start}: `dvc checkout` brings back DVC's")
    with stage.publish(params_ok) as (file,):
        file.write(b"ok\n")
    return f"{printable(str(params_yaml))} is valid"
