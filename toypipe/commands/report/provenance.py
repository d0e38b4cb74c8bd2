"""The commit and the parameters that results belong to."""

from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from toypipe.commands.git import git
from toypipe.errors import ToypipeError
from toypipe.params.file import flatten
from toypipe.params.schema import Params

PARAMS = Path("params.yaml")
TRACKED = ("params.yaml", "dvc.yaml", "dvc.lock", "data/reports", "stages", "toypipe")


class Difference(NamedTuple):
    """A parameter with two values, as params.yaml writes them."""

    key: str
    then: str
    now: str


def current_commit() -> tuple[str, bool]:
    """Return the short hash of the commit, if there is one, and whether the project differs."""
    try:
        commit = git("rev-parse", "--short", "HEAD").strip()
    except ToypipeError:
        return "", True
    return commit, bool(git("status", "--porcelain", "--", *TRACKED))


def recorded_params() -> dict[str, Any] | None:
    """Return the parameters in dvc.lock; None if it does not hold them all."""
    try:
        stages = YAML(typ="safe", pure=True).load(Path("dvc.lock"))["stages"]
        return {name: stages[name]["params"]["params.yaml"][name] for name in Params.model_fields}
    except (OSError, YAMLError, KeyError, TypeError):
        return None


def differences(then: Any, params: Params) -> list[Difference]:
    """Compare parameters with earlier ones; there are no differences if those are unknown."""
    if not isinstance(then, dict):
        return []
    old, new = dict(flatten(then)), dict(flatten(params.model_dump()))
    return [
        Difference(key, written(old.get(key)), written(new.get(key)))
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def written(value: Any) -> str:
    """Write a parameter as params.yaml does."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
