"""dvc.yaml and dvc.lock: the stages, and the record of their last run."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from toypipe.params.documents import Document

PIPELINE, LOCK = Path("dvc.yaml"), Path("dvc.lock")


class Stage(BaseModel):
    """A stage in dvc.yaml."""

    deps: list[str] = []  # the files and folders that it uses


class Pipeline(BaseModel):
    """dvc.yaml."""

    stages: dict[str, Stage]


class Hashed(BaseModel):
    """A file or folder in dvc.lock."""

    path: str
    md5: str


class Recorded(BaseModel):
    """A stage in dvc.lock."""

    deps: list[Hashed] = []
    outs: list[Hashed] = []
    params: dict[str, dict[str, Any]] = {}  # by file and key


class Lock(BaseModel):
    """dvc.lock."""

    stages: dict[str, Recorded]


def list_dependencies(stage: str, path: Path = PIPELINE) -> list[str]:
    """Return what dvc.yaml lists under `deps` of a stage; nothing if it has no such stage.

    Raises ToypipeError if it is not what DVC accepts, OSError if it cannot be read.
    """
    stages = Document.read(path, _restored(path)).yaml(Pipeline).stages
    return stages[stage].deps if stage in stages else []


def read_lock(root: Path = Path()) -> dict[str, Recorded]:
    """Return the stages in the dvc.lock of a project, by name.

    Raises ToypipeError if it is not what DVC writes, OSError if it cannot be read.
    """
    return Document.read(root / LOCK, _restored(LOCK)).yaml(Lock).stages


def _restored(path: Path) -> str:
    return f"`git checkout -- {path.name}` restores the committed file"
