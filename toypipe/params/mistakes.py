"""Everything that is wrong with the values of a parameter file, in words."""

import re
import reprlib
from difflib import get_close_matches
from functools import reduce
from operator import getitem
from typing import Any

from pydantic import ValidationError

from toypipe.params.rules import KNOWN, broken_rules, flatten
from toypipe.params.schema import Params

# The unions of the schema: `name` decides which other fields there are.
CHOICES = ("prepare.dataset", "train.model", "train.optimizer", "train.schedule")

Keys = tuple[str, ...]  # that lead to a value, the outermost first
Problem = tuple[Keys, str]  # what is wrong at one key; the text reads on after the key


def validate(values: dict[str, Any]) -> Params | list[Problem]:
    """Return the parameters that a file's values make, or everything that is wrong with them."""
    try:
        params, errors = Params.model_validate(values), []
    except ValidationError as error:
        params, errors = None, error.errors(include_url=False)
    located = [(_keys(error["loc"]), error) for error in errors]

    missing = {keys for keys, error in located if error["type"] == "missing"}
    unknown = {keys for keys, error in located if error["type"] == "extra_forbidden"}
    meant = dict[Keys, list[str]]()
    for *above, name in unknown:
        section = reduce(getitem, above, values)
        known = ({(*above, str(key)) for key in section} | missing) - unknown
        names = [key for *parent, key in known if parent == above]
        meant[*above, name] = get_close_matches(name, names, n=1)
    # A misspelt key and the missing one that was meant are one mistake.
    echoes = missing & {(*keys[:-1], *names) for keys, names in meant.items()}
    problems = [
        _in_words(keys, error, meant.get(keys, [])) for keys, error in located if keys not in echoes
    ]
    # A rule is tried where the values that it compares are valid, whatever is wrong elsewhere.
    wrong = tuple(f"{'.'.join(keys)}." for keys, _ in located)
    valid = {key: value for key, value in flatten(values) if not f"{key}.".startswith(wrong)}
    valid |= KNOWN.get(valid.get("prepare.dataset.name", ""), {})
    problems += [(tuple(key.split(".")), text) for key, text in broken_rules(valid)]
    return params if params and not problems else problems


def _keys(location: tuple[str | int, ...]) -> Keys:
    """Turn Pydantic's location into keys of the file: no list indices, no names of choices."""
    if ".".join(map(str, location[:2])) in CHOICES:
        location = location[:2] + location[3:]
    return tuple(part for part in location if isinstance(part, str))


def _in_words(keys: Keys, error: Any, meant: list[str]) -> Problem:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return keys, "is missing"
    if kind == "union_tag_not_found":
        if not (found := get_close_matches("name", map(str, value), n=1)):
            return (*keys, "name"), "is missing"
        kind, keys, value, meant = "extra_forbidden", (*keys, *found), value[found[0]], ["name"]
    match kind:
        case "extra_forbidden":
            text = "is unknown"
        case "literal_error" | "union_tag_invalid":
            if kind == "union_tag_invalid":
                keys, value = (*keys, "name"), value["name"]
            tags = context.get("expected_tags", "").rsplit(", ", 1)
            expected = context.get("expected") or " or ".join(tags)
            names = re.findall(r"'(\w+)'", expected)
            text = (
                f"should be {expected}" if len(names) < 10 else "is not listed in docs/reference.md"
            )
            meant = get_close_matches(str(value), names, n=1)
        case "model_type" | "model_attributes_type":
            text = "should be a section with keys of its own"
        case "too_short" | "too_long":
            number = context.get("min_length") or context.get("max_length")
            text = f"should have {number} values, not {context['actual_length']}"
        case _:
            text = re.sub("^(Input|String) should", "should", error["msg"])
    guess = "".join(f", did you mean {name}?" for name in meant)
    return keys, f"{text}{guess} (got {reprlib.repr(value)})"
