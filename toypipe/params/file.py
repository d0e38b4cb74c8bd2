"""Read a parameter file: YAML 1.2, validated, with every problem at its line."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from toypipe.errors import ToypipeError
from toypipe.params.mistakes import Problem, find_problems
from toypipe.params.overrides import apply_overrides
from toypipe.params.schema import Params

LARGEST = 100_000  # bytes; a parameter file has about 1,000


def read_params(path: Path, overrides: Sequence[str] = ()) -> Params:
    """Read and validate a parameter file.

    Args:
        path: A YAML file with the sections `prepare`, `train` and `evaluate`.
        overrides: Changes for this call, with the grammar of `dvc exp run -S`.

    Returns:
        The parameters, unchangeable. Nothing is defaulted.

    Raises:
        ToypipeError: The file cannot be read or is not YAML, or has unknown, missing, ill-typed
            or contradictory values; the message lists every one of them with its line.
    """
    root = _parse(path, _read_text(path))
    if not isinstance(root, MappingNode):
        found = f"found a {'list' if isinstance(root, SequenceNode) else 'word'}"
        found = found if root else "it is empty"
        raise ToypipeError(
            f"{path}: expected the sections prepare, train and evaluate, but {found}."
            " `git checkout -- params.yaml` brings back the last committed one"
        )

    values, touched = _values(path, root), list[str]()
    if overrides:
        values, touched = apply_overrides(values, overrides)
    params, problems = find_problems(values)
    if params is None:
        lines = {problem: _locate(root, problem.path)[0] for problem in problems}
        listed = [
            f"{'-S' if _overridden(root, problem, touched) else f'{path}:{line}'}:"
            f" {problem.key}: {problem.text}"
            for problem, line in sorted(lines.items(), key=lambda item: item[1])
        ]
        raise ToypipeError("\n".join([*listed, *_advice(problems, touched)]))
    return params


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise ToypipeError(
            f"{path} does not exist in {Path.cwd()}. Commands run in the folder of a toypipe"
            " project, the one that holds params.yaml and dvc.yaml; --params names another file"
        ) from None
    except OSError as error:
        raise ToypipeError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise ToypipeError(f"{path} is larger than {LARGEST} bytes: that is no parameter file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ToypipeError(
            f"{path}:{line}: not UTF-8 (byte {error.start}): save it as UTF-8"
        ) from None


def _parse(path: Path, text: str) -> Node | None:
    """Read YAML 1.2, where 1e-3 is a number and `no` a word; None if there is nothing in it."""
    try:
        with warnings.catch_warnings(action="ignore", category=ReusedAnchorWarning):
            root: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context).splitlines()[0]
        raise ToypipeError(f"{path}:{mark.line + 1}: not YAML: {problem}") from None
    except ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ToypipeError(f"{path}:{line}: not YAML: {error.reason}") from None
    except RecursionError:
        raise ToypipeError(f"{path}: nested far too deeply for a parameter file") from None
    return root


def _values(path: Path, node: Node) -> Any:
    """Turn parsed YAML into plain values, refusing what has no place in a parameter file."""
    place = f"{path}:{node.start_mark.line + 1}"
    if node.anchor:
        raise ToypipeError(f"{place}: found the anchor &{node.anchor}: write every value out")
    if isinstance(node, MappingNode):
        values: dict[str, Any] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, ScalarNode):
                raise ToypipeError(f"{path}:{line}: a key must be a word")
            if name.value in values:
                raise ToypipeError(f"{path}:{line}: {name.value} is there twice: remove one")
            values[name.value] = _values(path, value)
        return values
    if isinstance(node, SequenceNode):
        return [_values(path, value) for value in node.value]
    try:
        return YAML(typ="safe", pure=True).constructor.construct_object(node)
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError):
        raise ToypipeError(f"{place}: {node.value[:40]!r} is not what its form says") from None


def _within(key: str, holders: Sequence[str]) -> bool:
    """Tell whether a key is one of these, or lies below one."""
    return any(f"{key}.".startswith(f"{holder}.") for holder in holders)


def _overridden(root: Node, problem: Problem, touched: Sequence[str]) -> bool:
    """Tell whether a problem is one of -S: at a key that it changed, or above one that it added."""
    _, found = _locate(root, problem.path)
    added = not found and any(_within(key, [problem.key]) for key in touched)
    return added or _within(problem.key, touched)


def _locate(node: Node, keys: Sequence[str]) -> tuple[int, bool]:
    """Return the line of a key, from 1, and True; for a missing key that of its section."""
    line: int = node.start_mark.line + 1
    for key in keys:
        pairs = node.value if isinstance(node, MappingNode) else []
        found = next(((name, value) for name, value in pairs if name.value == key), None)
        if found is None:
            return line, False
        line, node = found[0].start_mark.line + 1, found[1]
    return line, True


def _advice(problems: Sequence[Problem], touched: Sequence[str]) -> list[str]:
    """Explain how to change to a choice with other fields, where they were merged into the old."""
    for choice in ("prepare.dataset", "train.model", "train.optimizer", "train.schedule"):
        mixed = any(
            problem.key.startswith(f"{choice}.")
            and problem.text.startswith(("is missing", "is unk"))
            for problem in problems
        )
        if mixed and any(_within(key, [choice]) for key in touched):
            advice = (
                f"To change to another {choice.split('.')[1]}, replace it whole:"
                f" -S '~{choice}' -S '+{choice}={{name: ..., ...}}'"
            )
            return [advice]
    return []
