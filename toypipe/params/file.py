"""Read a parameter file: YAML 1.2, validated, every problem with its line."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from toypipe.errors import ToypipeError
from toypipe.params.mistakes import CHOICES, Keys, validate
from toypipe.params.overrides import apply_overrides, replace_whole
from toypipe.params.rules import flatten
from toypipe.params.schema import Params

__all__ = ["flatten", "place_of", "read_params"]

LARGEST = 100_000  # bytes; a parameter file has about 1,000
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
    raise ToypipeError("\n".join([*(message for _, message in listed), *advice]))


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
    content, text = b"", ""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        text = content.decode()
        if len(content) <= LARGEST:
            with warnings.catch_warnings(action="ignore", category=ReusedAnchorWarning):
                root: Node | None = YAML(typ="safe", pure=True).compose(text)
            return root
        line, problem = 1, f"larger than {LARGEST} bytes, so not a parameter file"
    except FileNotFoundError:
        raise ToypipeError(
            f"{path} does not exist in {Path.cwd()}. Commands run in the folder of a toypipe"
            " project, which holds params.yaml and dvc.yaml; --params names another file"
        ) from None
    except OSError as error:
        raise ToypipeError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = f"not UTF-8 (byte {error.start}): save it as UTF-8"
    except ReaderError as error:
        line, problem = text[: error.position].count("\n") + 1, f"not YAML: {error.reason}"
    except MarkedYAMLError as error:
        line = (error.problem_mark or error.context_mark).line + 1
        problem = f"not YAML: {str(error.problem or error.context).splitlines()[0]}"
    except RecursionError:
        line, problem = 1, "nested too deeply for a parameter file"
    raise ToypipeError(f"{path}:{line}: {problem}")


def _plain(path: Path, node: Node, keys: Keys, lines: dict[Keys, int]) -> Any:
    """Return the plain values of a node, and note the line of each key."""
    place = f"{path}:{node.start_mark.line + 1}"
    if node.anchor:
        raise ToypipeError(f"{place}: found the anchor &{node.anchor}: write every value out")
    if isinstance(node, SequenceNode):
        return [_plain(path, item, keys, lines) for item in node.value]
    if isinstance(node, ScalarNode):
        try:
            return SCALARS.construct_non_recursive_object(node)
        except (YAMLError, ValueError, LookupError, TypeError, AttributeError):
            tag = str(node.tag).rpartition(":")[2]
            raise ToypipeError(f"{place}: {node.value[:40]!r} is not a valid {tag}") from None
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
