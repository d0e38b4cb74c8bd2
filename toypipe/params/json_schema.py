"""The schema of params.yaml for editors, which complete and mark by JSON Schema alone.

Pydantic tells choices apart by `discriminator`, which is no keyword of JSON Schema: an editor would
see that no choice fits, and mark the whole section. `if` and `then` lead it to the one that `name`
names. What compares two numbers, or needs the images, is left to `toypipe check`.
"""

from typing import Any

from toypipe.params.rules import SIZE, SMALLEST
from toypipe.params.schema import Params

Schema = dict[str, Any]

Where = tuple[str, Schema]  # a dotted key, and what is asked of its value

WITHOUT_VALIDATION: Where = ("train.validation", {"const": 0})
TOY: Where = ("train.model.name", {"const": "toy"})
SPEEDRUN: Where = ("train.model.name", {"const": "speedrun"})
FIXED_NORM: Where = ("train.optimizer.fixed_norm", {"const": True})
RULES: list[tuple[Where, str, Schema]] = [
    (WITHOUT_VALIDATION, "train.keep", {"const": "last"}),
    (WITHOUT_VALIDATION, "train.patience", {"const": 0}),
    (FIXED_NORM, "train.optimizer.weight_decay", {"const": 0}),
    (TOY, "train.start", {"not": {"const": "imagenet"}}),
    (TOY, "train.sizes", {"maxItems": 0}),
    (TOY, SIZE, {"multipleOf": 8}),
    (SPEEDRUN, "train.start", {"not": {"const": "imagenet"}}),
    (SPEEDRUN, "train.sizes", {"items": {"minimum": SMALLEST}}),
    (SPEEDRUN, SIZE, {"minimum": SMALLEST}),
    *(
        ((f"{section}.momentum", {"const": 0}), f"{section}.nesterov", {"const": False})
        for section in ("train.optimizer", "train.optimizer.rest")
    ),
]
"""Of the rules of rules.py: where one value is such, another must be such."""


def editor_schema() -> Schema:
    """Return JSON Schema of params.yaml by which an editor marks a mistake at its own value."""
    schema = Params.model_json_schema()
    for section in schema["$defs"].values():
        for name, field in section["properties"].items():
            if "discriminator" in field:
                section["properties"][name] = _chosen_by_name(field)
    schema["allOf"] = [
        {"if": _at(*where, required=True), "then": _at(key, demanded)}
        for where, key, demanded in RULES
    ]
    return schema


def _chosen_by_name(field: Schema) -> Schema:
    """Return a section whose `name` decides which of the choices it must fit."""
    names = dict[str, list[str]]()  # of each choice
    for name, choice in field["discriminator"]["mapping"].items():
        names.setdefault(choice, []).append(name)
    return {
        "title": field["title"],
        "description": field["description"],
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"enum": [name for each in names.values() for name in each]}},
        "allOf": [
            {"if": _at("name", {"enum": own}, required=True), "then": {"$ref": choice}}
            for choice, own in names.items()
        ],
    }


def _at(key: str, schema: Schema, *, required: bool = False) -> Schema:
    """Return a schema that asks something of the value at a dotted key, if it is there or must."""
    for name in reversed(key.split(".")):
        schema = {"properties": {name: schema}, **({"required": [name]} if required else {})}
    return schema
