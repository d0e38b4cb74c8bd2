"""Values that contradict each other, or the images, are refused."""

import re
from pathlib import Path

import pytest
from parameter_files import (
    COSINE,
    FOLDER,
    MUON,
    RESNET,
    REST,
    SPLIT_FOLDER,
    TEXT,
    edit,
    lines_of,
    read,
    refused,
)

from synthetic import PARAMS, SPEEDRUN, make_train_params
from toypipe.errors import ToypipeError
from toypipe.params.file import read_params
from toypipe.params.rules import require_fit
from toypipe.params.schema import Params


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


REGNET = RESNET.replace("resnet18", "regnet_y_128gf")  # without weights
FOLDER_12 = FOLDER.replace("16", "12")
OF_FIXED_SIZE = "train.optimizer.weight_decay"

COMBINATIONS: list[tuple[dict[str, str], str]] = [
    ({"train.optimizer.nesterov": "true"}, "train.optimizer.nesterov"),
    (
        {"train.optimizer": MUON.replace("momentum: 0.9", "momentum: 0", 1)},
        "train.optimizer.nesterov",
    ),
    (
        {"train.optimizer": MUON.replace(REST, REST.replace("0.9", "0"))},
        "train.optimizer.rest.nesterov",
    ),
    ({"train.epochs": "2.5", "train.schedule": COSINE}, "train.schedule.warmup_epochs"),
    ({"train.keep": "best", "train.validation": "0"}, "train.keep"),
    ({"train.patience": "1", "train.validation": "0"}, "train.patience"),
    ({"train.start": "imagnet"}, "train.start"),
    ({"train.start": "imagenet"}, "train.start"),
    ({"train.start": "imagenet", "train.model": SPEEDRUN}, "train.start"),
    ({"train.start": "imagenet", "train.model": REGNET}, "train.start"),
    ({"train.validation": "50000"}, "train.validation"),
    ({"train.validation": "49969"}, "train.batch_size"),
    ({"train.augment.translate": "32"}, "train.augment.translate"),
    (
        {"train.augment.translate": "16", "prepare.dataset": FOLDER},
        "train.augment.translate",
    ),
    ({"train.augment.cutout": "33"}, "train.augment.cutout"),
    ({"train.augment.cutout": "17", "prepare.dataset": SPLIT_FOLDER}, "train.augment.cutout"),
    ({"prepare.dataset": FOLDER_12}, "prepare.dataset.size"),
    (
        {"prepare.dataset": FOLDER.replace("16", "8"), "train.model": SPEEDRUN},
        "prepare.dataset.size",
    ),
    ({"train.optimizer": MUON.replace("decay: 0.0", "decay: 0.1", 1)}, OF_FIXED_SIZE),
    ({"train.sizes": "[24]"}, "train.sizes"),
    ({"train.sizes": "[8, 32]", "train.model": SPEEDRUN}, "train.sizes"),
    ({"train.sizes": "[9, 32]", "train.model": SPEEDRUN.replace("[3,", "[2,")}, "train.sizes"),
    ({"train.sizes": "[24, 33]", "train.model": SPEEDRUN}, "train.sizes"),
    ({"train.sizes": "[16, 32, 24]", "train.model": SPEEDRUN}, "train.sizes"),
    ({"train.sizes": "[24]", "train.model": SPEEDRUN, "prepare.dataset": FOLDER}, "train.sizes"),
]
"""Values that break a rule, each fine in itself, and the key to blame."""


@pytest.mark.parametrize(("values", "blamed"), COMBINATIONS)
def test_combination_that_means_nothing_is_refused(values: dict[str, str], blamed: str) -> None:
    """Values that contradict each other are one problem, at the key to blame."""
    text = TEXT
    for key, value in values.items():
        text = edit(text, key, value)
    at = max(line for key, line in lines_of(text).items() if blamed.startswith(key))
    (line,) = refused(text)
    assert line.startswith(f"params.yaml:{at}: {blamed}: ")
    assert re.search(r" \(got .+\)$", line)


@pytest.mark.parametrize(("values", "blamed"), COMBINATIONS)
def test_combination_is_found_beside_other_mistakes(values: dict[str, str], blamed: str) -> None:
    """A wrong value elsewhere hides no contradiction."""
    text = edit(TEXT, "evaluate.views", "5")
    text = edit(text, "train.normalize", "none")
    for key, value in values.items():
        text = edit(text, key, value)
    assert {line.split(":")[2].strip() for line in refused(text)} == {
        blamed,
        "evaluate.views",
        "train.normalize",
    }


@pytest.mark.parametrize(
    ("overrides", "size", "images", "expected"),
    [
        (
            ["train.batch_size=21"],
            16,
            20,
            (
                "train.batch_size: must be at most 20, the number of images left to train on:"
                " 20 less the 0 of train.validation. Learning rates go with it:"
                " half of it needs half of them (got 21)"
            ),
        ),
        (
            ["train.batch_size=18", "train.validation=3"],
            16,
            20,
            (
                "train.batch_size: must be at most 17, the number of images left to train on:"
                " 20 less the 3 of train.validation. Learning rates go with it:"
                " half of it needs half of them (got 18)"
            ),
        ),
        (
            ["train.validation=12"],
            16,
            12,
            (
                "train.validation: must be below 12, the number of training images; 0 for no"
                " validation (got 12)"
            ),
        ),
        (
            ["train.augment.translate=16"],
            16,
            20,
            "train.augment.translate: must be below 16, the size of the images in pixels (got 16)",
        ),
        (
            ["train.augment.cutout=17"],
            16,
            20,
            "train.augment.cutout: must be at most 16, the size of the images in pixels (got 17)",
        ),
        (
            ["~train.model", f"+train.model={SPEEDRUN}", "train.sizes=[12,32]"],
            16,
            20,
            (
                "train.sizes: must be at most 16, the size of the images in pixels, which can only"
                " shrink (got [12, 32])"
            ),
        ),
        (
            [],
            12,
            20,
            (
                "prepare.dataset.size: must be divisible by 8 for toy, which halves it three times"
                " (got 12)"
            ),
        ),
        (
            ["~train.model", f"+train.model={SPEEDRUN}"],
            8,
            20,
            "prepare.dataset.size: must be at least 9 for the speedrun network (got 8)",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(
    overrides: list[str], size: int, images: int, expected: str
) -> None:
    """The same rules judge the real images, and name their size and number."""
    with pytest.raises(ToypipeError) as caught:
        require_fit(make_train_params(*overrides), size=size, images=images)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("overrides", "size", "images"),
    [
        (["train.batch_size=20"], 16, 20),
        (["train.batch_size=1", "train.validation=19"], 16, 20),
        (["train.augment.translate=15"], 16, 20),
        (["train.augment.cutout=16"], 16, 20),
        (["~train.model", f"+train.model={SPEEDRUN}", "train.sizes=[9,32]"], 32, 20),
        (["~train.model", f"+train.model={SPEEDRUN}"], 9, 20),
        (["~train.model", f"+train.model={RESNET}"], 12, 20),
    ],
)
def test_images_that_only_just_fit_are_accepted(
    overrides: list[str], size: int, images: int
) -> None:
    """The largest and smallest values that work are accepted."""
    require_fit(make_train_params(*overrides), size=size, images=images)


def test_all_that_does_not_fit_is_reported_at_once() -> None:
    """Each broken rule is a line of the message."""
    params = make_train_params("train.batch_size=21", "train.augment.translate=12")
    with pytest.raises(ToypipeError) as caught:
        require_fit(params, size=12, images=20)
    keys = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert keys == ["train.batch_size", "train.augment.translate", "prepare.dataset.size"]


@pytest.mark.parametrize(
    "override",
    [
        "train.batch_size=45001",
        "train.validation=50000",
        "train.augment.translate=32",
        "train.augment.cutout=33",
    ],
)
def test_check_knows_cifar10_as_training_will(override: str) -> None:
    """For CIFAR-10, `check` refuses in the words in which the real images are refused."""
    with pytest.raises(ToypipeError) as before:
        read_params(PARAMS, [override])
    unknown_images = ["~prepare.dataset", f"+prepare.dataset={FOLDER}"]
    smaller = ["train.batch_size=32", "train.validation=5000", "prepare.dataset.size=64"]
    params = read_params(PARAMS, [*unknown_images, *smaller, override]).train
    with pytest.raises(ToypipeError) as after:
        require_fit(params, size=32, images=50_000)
    assert str(before.value) == f"-S: {after.value}"


@pytest.mark.parametrize(
    "values",
    [
        {"train.optimizer.nesterov": "true", "train.optimizer.momentum": "0.1"},
        {"train.epochs": "2.6", "train.schedule": COSINE},
        {"train.keep": "best", "train.validation": "1"},
        {"train.validation": "49968"},
        {"train.validation": "49990", "train.batch_size": "1"},
        {"train.patience": "1", "train.validation": "1"},
        {"train.start": "imagenet", "train.model": RESNET},
        {"train.start": "any/checkpoint.pt"},
        {"train.augment.translate": "31"},
        {"train.augment.cutout": "32"},
        {"prepare.dataset": FOLDER, "train.validation": "60000"},
        {"prepare.dataset": FOLDER_12, "train.model": RESNET},
    ],
)
def test_combination_at_the_border_is_accepted(values: dict[str, str]) -> None:
    """What only just means something is accepted."""
    text = TEXT
    for key, value in values.items():
        text = edit(text, key, value)
    assert isinstance(read(text), Params)
