"""What is wrong with a set of parameters: every problem at once, each at its key."""

import difflib
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from toypipe.params.schema import Params

CIFAR10_TRAINING_IMAGES = 50_000
CIFAR10_SIZE = 32  # pixels
SMALLEST_SPEEDRUN_IMAGE = 9  # pixels: its first layer takes one, then they are halved three times


@dataclass(frozen=True)
class Problem:
    """Something wrong at one key."""

    path: tuple[str, ...]
    """The keys that lead to it."""
    text: str
    """What, so that it can stand after the key."""

    @property
    def key(self) -> str:
        """The keys with dots between: `train.optimizer.lr`."""
        return ".".join(self.path)


@dataclass(frozen=True)
class Rule:
    """A combination of values, each fine in itself, that means nothing."""

    keys: tuple[str, ...]
    """The values that it looks at; the first is the one to blame."""
    broken: Callable[..., bool]
    """Whether these values break it."""
    text: str
    """What to say then."""


def _size(dataset: dict[str, Any]) -> int:
    return dataset["size"] if dataset["name"] == "folder" else CIFAR10_SIZE


def _training_images(dataset: dict[str, Any]) -> float:
    """Return how many there are, as far as that is known before they have been read."""
    return CIFAR10_TRAINING_IMAGES if dataset["name"] == "cifar10" else float("inf")


RULES = (
    Rule(
        ("train.optimizer.nesterov", "train.optimizer.momentum"),
        lambda nesterov, momentum: nesterov and momentum == 0,
        "looks ahead along the momentum, so train.optimizer.momentum must be above 0",
    ),
    Rule(
        ("train.optimizer.rest.nesterov", "train.optimizer.rest.momentum"),
        lambda nesterov, momentum: nesterov and momentum == 0,
        "looks ahead along the momentum, so train.optimizer.rest.momentum must be above 0",
    ),
    Rule(
        ("train.optimizer.weight_decay", "train.optimizer.fixed_norm"),
        lambda decay, fixed: fixed and decay > 0,
        "must be 0 where the filters keep their size (train.optimizer.fixed_norm)",
    ),
    Rule(
        ("train.schedule.warmup_epochs", "train.epochs"),
        lambda warmup, epochs: warmup >= epochs,
        "must be shorter than the run (train.epochs)",
    ),
    Rule(
        ("train.keep", "train.validation"),
        lambda keep, validation: keep == "best" and validation == 0,
        "best is judged by validation accuracy, so train.validation must be above 0",
    ),
    Rule(
        ("train.validation", "prepare.dataset"),
        lambda validation, dataset: validation >= _training_images(dataset),
        f"must leave images to train on: CIFAR-10 has {CIFAR10_TRAINING_IMAGES}",
    ),
    Rule(
        ("train.batch_size", "train.validation", "prepare.dataset"),
        lambda batch_size, validation, dataset: (
            validation < _training_images(dataset) < batch_size + validation
        ),
        f"must be at most the images left to train on: CIFAR-10's {CIFAR10_TRAINING_IMAGES}"
        " less train.validation",
    ),
    Rule(
        ("train.augment.translate", "prepare.dataset"),
        lambda translate, dataset: translate >= _size(dataset),
        "must be smaller than the images",
    ),
    Rule(
        ("prepare.dataset.size", "train.model.name"),
        lambda size, name: name == "toy" and size % 8 != 0,
        "must be divisible by 8 for the toy network, which halves it three times",
    ),
    Rule(
        ("prepare.dataset.size", "train.model.name"),
        lambda size, name: name == "speedrun" and size < SMALLEST_SPEEDRUN_IMAGE,
        f"must be at least {SMALLEST_SPEEDRUN_IMAGE} for the speedrun network",
    ),
    Rule(
        ("train.sizes", "train.model.name"),
        lambda sizes, name: name == "toy" and sizes,
        "must be [] for the toy network, which takes images of one size only",
    ),
    Rule(
        ("train.sizes", "train.model.name"),
        lambda sizes, name: name == "speedrun" and min(sizes, default=99) < SMALLEST_SPEEDRUN_IMAGE,
        f"must be at least {SMALLEST_SPEEDRUN_IMAGE} for the speedrun network",
    ),
    Rule(
        ("train.sizes", "prepare.dataset"),
        lambda sizes, dataset: max(sizes, default=0) > _size(dataset),
        "must be at most the size of the images, for they are shrunk to these",
    ),
)


def find_problems(values: object) -> tuple[Params | None, list[Problem]]:
    """Validate what a parameter file holds.

    Args:
        values: What stands in the file, as plain Python values.

    Returns:
        The parameters, or None where there are problems; and the problems.
    """
    try:
        params, errors = Params.model_validate(values), []
    except ValidationError as error:
        params, errors = None, error.errors(include_url=False)
    problems = list(_without_echoes(_problem(values, error) for error in errors))
    wrong = {problem.key for problem in problems}
    for rule in RULES:
        # A rule is tried where its own values are sound, whatever else is wrong elsewhere.
        found = [_lookup(values, key) for key in rule.keys]
        sound = not any(_related(key, bad) for key in rule.keys for bad in wrong)
        if sound and None not in found and rule.broken(*found):
            problems.append(
                Problem(tuple(rule.keys[0].split(".")), f"{rule.text} (got {found[0]!r})")
            )
    return (None if problems else params), problems


def _related(key: str, other: str) -> bool:
    """Tell whether one key is the other, or holds it."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _lookup(values: object, key: str) -> Any:
    """Return the value at a dotted key, or None where there is none."""
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return None
        values = values[part]
    return values


def _problem(values: object, error: Any) -> Problem:
    """Put one of Pydantic's errors into words."""
    path = _path(values, error["loc"], missing=error["type"] == "missing")
    got = f" (got {reprlib.repr(error['input'])})"
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            text = "is missing"
        case "extra_forbidden":
            text = "is unknown" + _did_you_mean(path[-1], _fields(values, path[:-1])) + got
        case "union_tag_not_found":
            meant = difflib.get_close_matches("name", error["input"], n=1)
            got = f" (got {reprlib.repr(error['input'][meant[0]])})" if meant else ""
            path = [*path, *(meant or ["name"])]
            text = f"is unknown, did you mean name?{got}" if meant else "is missing"
        case "union_tag_invalid":
            path = [*path, "name"]
            got = f" (got {reprlib.repr(_lookup(values, '.'.join(path)))})"
            choices = context["expected_tags"].replace("'", "").split(", ")
            text = f"should be {', '.join(choices[:-1])} or {choices[-1]}"
            text += _did_you_mean(context["tag"], choices) + got
        case "literal_error":
            choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            text = f"should be {context['expected']}" if len(choices) < 10 else "is not on the list"
            text += _did_you_mean(error["input"], choices) + got
        case "model_type" | "model_attributes_type" | "dict_type":
            text = "should be a section with keys of its own" + got
        case "invalid_key":
            text = "should be a word: a key is text"
        case "string_too_short":
            text = "should not be empty"
        case _:
            text = error["msg"].replace("Input should be", "should be") + got
    return Problem(tuple(path), text)


def _path(values: object, location: tuple[str | int, ...], *, missing: bool) -> list[str]:
    """Turn Pydantic's location into keys of the file: it also names the chosen union member."""
    path = []
    for i, part in enumerate(location):
        if isinstance(values, dict) and part in values:
            path.append(str(part))
            values = values[part]
        elif (missing and i == len(location) - 1) or not path:
            path.append(str(part))
    return path


def _fields(values: object, path: list[str]) -> list[str]:
    """Return the fields that the schema has at a path, for the choices made in `values`."""
    model: type[BaseModel] = Params
    for part in path:
        values = values.get(part) if isinstance(values, dict) else None
        annotation = model.model_fields[part].annotation
        members = get_args(annotation) or (annotation,)
        chosen = values.get("name") if isinstance(values, dict) else None
        model = next(
            (m for m in members if chosen in get_args(_name_of(m))),
            members[0],  # only unions have a name to choose by
        )
    return list(model.model_fields)


def _name_of(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("name")
    return field.annotation if field else None


def _did_you_mean(word: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1)
    return f", did you mean {close[0]}?" if close else ""


def _without_echoes(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Leave out a missing key where its misspelling is reported beside it: that is one mistake."""
    problems = list(problems)
    meant = {
        (*problem.path[:-1], guess[1])
        for problem in problems
        if (guess := re.match(r"is unknown, did you mean (\w+)\?", problem.text))
    }
    return (p for p in problems if not (p.text == "is missing" and p.path in meant))
