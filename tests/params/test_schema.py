"""Which parameters there are, and which values they accept."""

from pathlib import Path
from typing import Any

import pytest
from parameter_files import (
    ADAM,
    COSINE,
    FOLDER,
    MUON,
    RESNET,
    SPLIT_FOLDER,
    TEXT,
    edit,
    lines_of,
    read,
    refused,
)
from pydantic import BaseModel, ValidationError

from synthetic import ROOT
from toypipe.params.data_sets import Folder, SplitFolder
from toypipe.params.file import read_params
from toypipe.params.schema import Adam, Falling, Muon, Params, Torchvision


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *(ROOT / "recipes").glob("*.yaml")], ids=lambda path: path.name
)
def test_own_files_are_valid(path: Path) -> None:
    """The project's params.yaml and every recipe can be run."""
    assert isinstance(read_params(path), Params)


def test_nothing_is_lost_or_added() -> None:
    """The parameters hold exactly the keys of the file."""
    dumped: dict[str, Any] = read(TEXT).model_dump()
    keys, rest = set(), [("", dumped)]
    for above, values in rest:
        for name, value in values.items():
            keys.add(above + name)
            if isinstance(value, dict):
                rest.append((f"{above}{name}.", value))
    assert keys == set(lines_of(TEXT))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("prepare.dataset", FOLDER, Folder(name="folder", path="mine", size=16)),
        (
            "prepare.dataset",
            SPLIT_FOLDER,
            SplitFolder(name="split_folder", path="mine", size=16, test_share=0.2, seed=0),
        ),
        ("train.model", RESNET, Torchvision(name="torchvision", arch="resnet18")),
        ("train.schedule", COSINE, Falling(name="cosine", warmup_epochs=2.5, final=0)),
        (
            "train.optimizer",
            ADAM,
            Adam(name="adam", lr=0.001, beta1=0.9, beta2=0.999, weight_decay=0),
        ),
    ],
)
def test_choice_brings_its_own_fields(key: str, value: str, expected: BaseModel) -> None:
    """Each choice is read with the fields that belong to it."""
    found: Any = read(edit(TEXT, key, value))
    for part in key.split("."):
        found = getattr(found, part)
    assert found == expected


def test_muon_has_a_second_optimizer() -> None:
    """Muon has a whole SGD for what is not a filter."""
    optimizer = read(edit(TEXT, "train.optimizer", MUON)).train.optimizer
    assert isinstance(optimizer, Muon)
    assert optimizer.rest.nesterov


def test_epochs_may_be_fractional() -> None:
    """A run may end within an epoch."""
    assert read(edit(TEXT, "train.epochs", "0.25")).train.epochs == 0.25


@pytest.mark.parametrize("share", ["0", "1", "0.0", "1.0", ".nan"])
def test_a_split_leaves_something_on_both_sides(share: str) -> None:
    """The share of the test images lies between 0 and 1, which are refused."""
    text = edit(TEXT, "prepare.dataset", SPLIT_FOLDER.replace("0.2", share))
    (line,) = refused(text)
    assert ": prepare.dataset.test_share: should be " in line


def _sections(section: BaseModel) -> list[BaseModel]:
    below = [value for _, value in section if isinstance(value, BaseModel)]
    return [section, *(found for part in below for found in _sections(part))]


def test_parameters_cannot_be_changed() -> None:
    """No field of any section can be set, and none can be added."""
    for section in _sections(read(TEXT)):
        for name in [*type(section).model_fields, "new"]:
            with pytest.raises(ValidationError):
                setattr(section, name, 1)


@pytest.mark.parametrize(
    ("key", "value", "got"),
    [
        ("train.seed", '"8"', "'8'"),
        ("train.seed", "8.0", "8.0"),
        ("train.seed", "true", "True"),
        ("train.seed", "-1", "-1"),
        ("train.seed", "9223372036854775808", "9223372036854775808"),
        ("train.seed", "", "None"),
        ("train.seed", "2026-01-01", "datetime.date(2026, 1, 1)"),
        ("train.epochs", "0", "0"),
        ("train.epochs", ".nan", "nan"),
        ("train.epochs", ".inf", "inf"),
        ("train.epochs", '"20"', "'20'"),
        ("train.batch_size", "0", "0"),
        ("train.batch_size", "1e3", "1000.0"),
        ("train.validation", "-1", "-1"),
        ("train.label_smoothing", "1.0", "1.0"),
        ("train.label_smoothing", ".nan", "nan"),
        ("train.optimizer.lr", "0", "0"),
        ("train.optimizer.lr", "true", "True"),
        ("train.optimizer.lr", '"0.1"', "'0.1'"),
        ("train.optimizer.lr", ".nan", "nan"),
        ("train.optimizer.lr", ".inf", "inf"),
        ("train.optimizer.lr", "1e999", "inf"),
        ("train.optimizer.momentum", "1.0", "1.0"),
        ("train.optimizer.momentum", ".nan", "nan"),
        ("train.optimizer.weight_decay", "-0.1", "-0.1"),
        ("train.optimizer.weight_decay", ".nan", "nan"),
        ("train.optimizer.weight_decay", ".inf", "inf"),
        ("train.optimizer.nesterov", "no", "'no'"),
        ("train.optimizer.nesterov", "0", "0"),
        ("train.augment.translate", "1.5", "1.5"),
        ("train.augment.flip", "false", "False"),
        ("train.augment.crop", "1.1", "1.1"),
        ("train.augment.crop", "0", "0"),
        ("train.augment.crop", ".nan", "nan"),
        ("train.augment.cutout", "-1", "-1"),
        ("train.augment.cutout", "1.5", "1.5"),
        ("train.augment.mixup", "-0.1", "-0.1"),
        ("train.augment.mixup", ".inf", "inf"),
        ("train.patience", "-1", "-1"),
        ("train.sampling", "false", "False"),
        ("train.start", "''", "''"),
        ("train.augment", "3", "3"),
        ("train", "", "None"),
        ("evaluate.views", "3", "3"),
        ("evaluate.views", '"1"', "'1'"),
        ("evaluate.views", "1.0", "1.0"),
        ("evaluate.views", "true", "True"),
        ("evaluate.precision", "float16", "'float16'"),
        ("evaluate.precision", "32", "32"),
    ],
)
def test_value_of_another_type_or_range_is_refused(key: str, value: str, got: str) -> None:
    """Types are strict, and what is out of range is refused, with its line and the value."""
    text = edit(TEXT, key, value)
    (line,) = refused(text)
    assert line.startswith(f"params.yaml:{lines_of(text)[key]}: {key}: should ")
    assert line.endswith(f" (got {got})")
