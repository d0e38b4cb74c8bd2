"""Stage `check`: stop invalid parameters before DVC removes the last good results."""

from pathlib import Path

from toypipe.data.listing import list_images
from toypipe.errors import ToypipeError, printable
from toypipe.params.data_sets import Folder, SplitFolder
from toypipe.params.rules import require_fit
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
    stages whose own sections have changed. Raises ToypipeError if a folder of images or the
    checkpoint to start from is missing or unknown to DVC, or the images are too few.
    """
    dataset = params.prepare.dataset
    if isinstance(dataset, Folder | SplitFolder):
        folder = Path(dataset.path)
        stage.require_listed("prepare.dataset.path", folder)
        if folder.exists() or not _is_added(folder):
            with stage.blaming("prepare.dataset.path"):
                images, _ = list_images(dataset)
            require_fit(
                params.train,
                size=dataset.size,
                images=sum(map(len, images.values())),
                classes=len(images),
                place=stage.place,
            )
    if (start := params.train.start_path) is not None:
        stage.require_listed("train.start", start)
        if not start.is_file() and not _is_added(start):
            with stage.blaming("train.start"):
                raise ToypipeError(f"there is no file {start}")
    with stage.publish(params_ok) as (file,):
        file.write(b"ok\n")
    return f"{printable(str(params_yaml))} is valid"


def _is_added(path: Path) -> bool:
    """Tell whether `dvc add` has noted a path: `dvc repro --allow-missing` works without it."""
    return path.with_name(f"{path.name}.dvc").exists()
