"""What results were made of, and how to make them again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from toypipe.commands.git import git
from toypipe.errors import ToypipeError
from toypipe.params.schema import Params
from toypipe.pipeline.inputs import flatten

PARAMS = Path("params.yaml")
TRACKED = ("params.yaml", "dvc.yaml", "dvc.lock", "data/reports", "stages", "toypipe")


def describe_origin(params: Params) -> dict[str, Any]:
    """Say, for the page, what the results were made of and how to make them again."""
    try:
        commit = git("rev-parse", "--short", "HEAD").strip()
    except ToypipeError:
        commit = ""
    commands = ["make setup", ". .venv/bin/activate", "dvc repro"]
    if not commit:
        origin = "The project is not in Git, so nothing names its state but the parameters above."
    elif git("status", "--porcelain", "--", *TRACKED):
        origin = (
            f"The project has changed since commit {commit}, so that commit alone does not name"
            " what this is: commit first, then make the report again. To run what lies here:"
        )
    else:
        origin = f"This is commit {commit}."
        commands.insert(0, f"git checkout {commit}")
    values = dict(flatten(params.model_dump()))
    changed = differences(_recorded() or values, values)
    return {
        "origin": origin,
        "commands": "\n".join(commands),
        "params": [(key, _value(value)) for key, value in values.items()],
        "unrecorded": ", ".join(f"{key}: {then}, now {value}" for key, then, value in changed),
    }


def _recorded() -> dict[str, Any]:
    """Return the parameters that dvc.lock records, if it does."""
    try:
        stages = YAML(typ="safe", pure=True).load(Path("dvc.lock"))["stages"]
        sections = [stages[name]["params"]["params.yaml"] for name in Params.model_fields]
    except (OSError, YAMLError, KeyError, TypeError):
        return {}
    return {key: value for section in sections for key, value in flatten(section)}


def differences(then: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the parameters that differ, by flat keys: key, value then, value now."""
    for key in dict.fromkeys([*then, *now]):
        if then.get(key) != now.get(key):
            yield key, _value(then.get(key)), _value(now.get(key))


def _value(value: Any) -> str:
    """Write a parameter as params.yaml has it."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return str(value).removesuffix(".0")
        case _:
            return str(value)
