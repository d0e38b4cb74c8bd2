"""Read a parameter file: YAML 1.2, validated, every problem with its line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import Node, ScalarNode, SequenceNode

from toypipe.errors import ToypipeError
from toypipe.params.documents import Document
from toypipe.params.mistakes import CHOICES, Keys, validate
from toypipe.params.overrides import apply_overrides, replace_whole
from toypipe.params.rules import flatten
from toypipe.params.schema import Params

__all__ = ["flatten", "place_of", "read_params"]

SCALARS = YAML(typ="safe", pure=True).constructor  # YAML 1.2: 1e-3 is a number, `no` is text


def read_params(path: Path, overrides: Sequence[str] = ()) -> Params:
    """Read and validate a parameter file, with changes in the grammar of `dvc exp run -S`.

    Raises ToypipeError if the file cannot be read, or if values are unknown, missing, invalid or
    contradictory; the message lists every problem with its line.
    """
    root = _compose(path)
    lines: dict[Keys, int] = {(): root.start_mark.line + 1 if root else 1}
    values = _plain(path, root, (), lines) if root else None
    if not isinstance(values, dict):
        raise ToypipeError(
            f"{path}: expected the sections prepare, train and evaluate, but"
            f" {'it is empty' if values is None else f'found a {type(values).__name__}'}."
            " `git checkout -- params.yaml` restores the committed file"
        )
    found = validate(apply_overrides(values, overrides) if overrides else values)
    if isinstance(found, Params):
        return found
    in_file = validate(values) if overrides else found
    listed, advice = list[tuple[int, str]](), list[str]()
    for keys, text in found:
        above = keys
        while above not in lines:  # a missing key has the line of its section
            above = above[:-1]
        place = f"{path}:{lines[above]}"
        if not isinstance(in_file, list) or (keys, text) not in in_file:
            place, choice = "-S", ".".join(keys[:-1])
            if choice in CHOICES and text.startswith(("is missing", "is unknown")):
                advice = [replace_whole(choice)]  # fields of the old and the new choice are mixed
        listed.append((lines[above], f"{place}: {'.'.join(keys)}: {text}"))
    listed.sort(key=lambda item: item[0])
    raise ToypipeError(*(message for _, message in listed), *advice)


def place_of(key: str, path: Path, overrides: Sequence[str] = ()) -> str:
    """Return where the value of a valid parameter was given, to begin a message about it."""
    if any(key.startswith(change.lstrip("+~").partition("=")[0]) for change in overrides):
        return f"-S: {key}"
    lines: dict[Keys, int] = {}
    if root := _compose(path):
        _plain(path, root, (), lines)
    return f"{path}:{lines.get(tuple(key.split('.')), 1)}: {key}"


def _compose(path: Path) -> Node | None:
    """Return the YAML nodes of a file, or None for an empty file."""
    try:
        return Document.read(path).compose()
    except FileNotFoundError:
        raise ToypipeError(
            f"{path} does not exist in {Path.cwd()}. Commands run in the folder of a toypipe"
            " project, which holds params.yaml and dvc.yaml; --params names another file"
        ) from None
    except OSError as error:
        raise ToypipeError(f"{path} cannot be read: {error.strerror}") from None


def _plain(path: Path, node: Node, keys: Keys, lines: dict[Keys, int]) -> Any:
    """Return the plain values of a node, and note the line of each key."""
    place = f"{path}:{node.start_mark.line + 1}"
    if node.anchor:
        raise ToypipeError(f"{place}: found the anchor &{node.anchor}: write every value out")
    if isinstance(node, SequenceNode):
        return [_plain(path, item, keys, lines) for item in node.value]
    if isinstance(node, ScalarNode):
        try:
            value = SCALARS.construct_non_recursive_object(node)
            str(value)  # fails for 0xfff... with more digits than Python prints
        except (YAMLError, ValueError, LookupError, TypeError, AttributeError):
            tag = str(node.tag).rpartition(":")[2]
            raise ToypipeError(f"{place}: {node.value[:40]!r} is not a valid {tag}") from None
        return value
    values = dict[str, Any]()
    for name, value in node.value:
        line = name.start_mark.line + 1
        if not isinstance(name, ScalarNode):
            raise ToypipeError(f"{path}:{line}: a key must be text")
        if name.value in values:
            raise ToypipeError(f"{path}:{line}: the key {name.value} is a duplicate: remove one")
        lines[*keys, name.value] = line
        values[name.value] = _plain(path, value, (*keys, name.value), lines)
    return values
