"""An editor marks a mistake where `toypipe check` does, by JSON Schema alone.

What an editor sees is told by the library jsonschema, where it is installed.
"""

import io
import json
from typing import Any

import pytest
from parameter_files import ADAM, FOLDER, MUON, REST, TEXT, edit, refused
from ruamel.yaml import YAML

from synthetic import ROOT, SPEEDRUN
from toypipe.params.json_schema import editor_schema

jsonschema = pytest.importorskip("jsonschema")

SCHEMA = editor_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
YAML_1_2 = YAML(typ="safe", pure=True)
LEAD_NOWHERE = {"discriminator", "oneOf", "anyOf"}
"""Keywords at which an editor marks a whole section."""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def marked(text: str) -> list[str]:
    """Return the dotted keys that an editor marks in a parameter file."""
    errors = VALIDATOR.iter_errors(YAML_1_2.load(io.StringIO(text)))
    return sorted({".".join(map(str, error.absolute_path)) for error in errors})


def test_it_is_json_schema() -> None:
    """It follows the standard, and has no keyword at which a mistake would lose its place."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    assert not {f'"{word}"' for word in LEAD_NOWHERE if f'"{word}"' in json.dumps(SCHEMA)}


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_is_unmarked(recipe: Any) -> None:
    """What the schema of the code accepts, the editor does."""
    assert marked(recipe.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "values",
    [
        {"train.optimizer.name": "adm"},
        {"train.optimizer": ADAM.replace("beta1: 0.9", "beta1: 2")},
        {"train.optimizer": MUON.replace("lr: 0.1", "lr: -1", 1)},
        {"train.optimizer": MUON.replace(REST, REST.replace("momentum: 0.9", "momentum: x"))},
        {"train.schedule": "{name: cosine, warmup_epochs: 1, final: 2}"},
        {"train.model": "{name: torchvision, arch: resnet19}"},
        {"prepare.dataset": "{name: folder, path: mine, size: big}"},
        {"train.keep": "best", "train.validation": "0"},
        {"train.patience": "2", "train.validation": "0"},
        {"train.optimizer.nesterov": "true"},
        {"train.optimizer": MUON.replace(REST, REST.replace("momentum: 0.9", "momentum: 0"))},
        {"train.optimizer": MUON.replace("weight_decay: 0.0", "weight_decay: 0.1", 1)},
        {"train.sizes": "[24, 32]"},
        {"train.start": "imagenet"},
        {"train.model": SPEEDRUN, "train.start": "imagenet"},
        {"prepare.dataset": FOLDER.replace("16", "12")},
        {"prepare.dataset": FOLDER.replace("16", "8"), "train.model": SPEEDRUN},
    ],
)
def test_a_mistake_is_marked_where_check_finds_it(values: dict[str, str]) -> None:
    """A wrong choice, a wrong field of a choice, and a rule across fields: at the same key."""
    text = TEXT
    for key, value in values.items():
        text = edit(text, key, value)
    (line,) = refused(text)

    assert marked(text) == [line.split(": ")[1]]


@pytest.mark.parametrize("key", ["train", "train.optimizer", "train.optimizer.lr", "prepare"])
def test_what_is_missing_is_marked_at_the_section_around_it(key: str) -> None:
    """An editor has no other place for it."""
    assert marked(edit(TEXT, key, None)) == [key.rpartition(".")[0]]


def test_an_editor_offers_every_optimizer() -> None:
    """The names are one list, whatever fields are there."""
    offered = SCHEMA["$defs"]["TrainParams"]["properties"]["optimizer"]["properties"]["name"]

    assert set(offered["enum"]) == {"sgd", "adam", "adamw", "muon"}
