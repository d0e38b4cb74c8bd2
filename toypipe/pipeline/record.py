"""Are the results that lie here the ones that dvc.lock records?

A direct call replaces results and leaves dvc.lock as it is. Then the network, its curves, the test
figures and the record may be of different trainings.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from toypipe.pipeline.inputs import file_md5

REPORTS = "data/reports"  # these are in Git, other results in DVC's cache


class _File(BaseModel):
    path: str
    md5: str = ""

    def differs(self) -> bool:
        here = Path(self.path)
        return here.is_file() and file_md5(here) != self.md5


class _Stage(BaseModel):
    deps: list[_File] = []
    outs: list[_File] = []


class _Lock(BaseModel):
    stages: dict[str, _Stage] = {}


def changed_outputs(*stages: str) -> list[str]:
    """Name the outputs of these stages that differ from dvc.lock; a missing one does not."""
    recorded = _read()
    outputs = (file for stage in stages if stage in recorded for file in recorded[stage].outs)
    return [file.path for file in outputs if file.differs()]


def changed_results(stage: str) -> list[str]:
    """Name the results of earlier stages that this stage reads, and that differ from dvc.lock."""
    recorded = _read()
    made = {file.path for each in recorded.values() for file in each.outs}
    inputs = recorded[stage].deps if stage in recorded else []
    return [file.path for file in inputs if file.path in made and file.differs()]


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


def _read() -> dict[str, _Stage]:
    """Return the stages in dvc.lock; none if it is missing, or is not what DVC writes."""
    try:
        lock = YAML(typ="safe", pure=True).load(Path("dvc.lock"))
        return _Lock.model_validate(lock).stages
    except (OSError, YAMLError, ValidationError, UnicodeDecodeError):
        return {}
