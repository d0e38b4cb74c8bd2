"""Are the results that lie here the ones that dvc.lock records?

A direct call replaces results and leaves dvc.lock as it is. Then the network, its curves, the test
figures and the record may be of different trainings.
"""

from collections.abc import Sequence
from pathlib import Path

from toypipe.errors import ToypipeError
from toypipe.pipeline.dvc_files import Hashed, Recorded, read_lock
from toypipe.pipeline.inputs import file_md5

REPORTS = "data/reports"  # these are in Git, other results in DVC's cache


def changed_outputs(*stages: str) -> list[str]:
    """Name the outputs of these stages that differ from dvc.lock; a missing one does not."""
    recorded = _read()
    outputs = (file for stage in stages if stage in recorded for file in recorded[stage].outs)
    return [file.path for file in outputs if _differs(file)]


def changed_results(stage: str) -> list[str]:
    """Name the results of earlier stages that this stage reads, and that differ from dvc.lock."""
    recorded = _read()
    made = {file.path for each in recorded.values() for file in each.outs}
    inputs = recorded[stage].deps if stage in recorded else []
    return [file.path for file in inputs if file.path in made and _differs(file)]


def describe_changes() -> tuple[str, bool]:
    """Say which results differ from dvc.lock, and how to restore them; an empty text if none does.

    Returns the text, and whether network and test figures are certainly of different trainings:
    the figures are those in dvc.lock, the network is not.
    """
    training, testing = changed_outputs("train"), changed_outputs("evaluate")
    if not training and not testing:
        return "", False
    mixed = not testing and Path(REPORTS, "test.json").exists()
    text = f"{', '.join([*training, *testing])}: not what dvc.lock records"
    if mixed:
        text += ". The test figures are of another network; `toypipe evaluate` measures this one"
    return f"{text}. {how_to_restore([*training, *testing])}", mixed


def how_to_restore(changed: Sequence[str]) -> str:
    """Return a sentence that names the commands which restore these results."""
    tracked = [path for path in changed if path.startswith(f"{REPORTS}/")]
    commands = [f"git checkout HEAD -- {REPORTS}"] if tracked else []
    for name, stage in _read().items():
        if any(file.path in changed and file.path not in tracked for file in stage.outs):
            commands.append(f"dvc checkout --force {name}")
    return f"To restore the committed ones: `{' && '.join(commands)}`"


def _read() -> dict[str, Recorded]:
    """Return the stages in dvc.lock; none if it is missing, or is not what DVC writes."""
    try:
        return read_lock()
    except (OSError, ToypipeError):
        return {}


def _differs(file: Hashed) -> bool:
    path = Path(file.path)
    return path.is_file() and file_md5(path) != file.md5
