"""Every mistake is reported, in words that help to correct it."""

import re
from pathlib import Path

import pytest
from parameter_files import TEXT, edit, lines_of, refused

from synthetic import SPEEDRUN


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_problem_reads_as_the_contract_says() -> None:
    """The format is `params.yaml:LINE: key: problem (got VALUE)`."""
    at = lines_of(TEXT)["train.loss"]
    assert refused(edit(TEXT, "train.loss", "cros_entropy")) == [
        (
            f"params.yaml:{at}: train.loss: should be 'cross_entropy', 'mse' or 'l1',"
            " did you mean cross_entropy? (got 'cros_entropy')"
        )
    ]


@pytest.mark.parametrize("key", lines_of(TEXT))
def test_missing_key_is_reported_at_its_section(key: str) -> None:
    """Nothing is defaulted: a key left out is missing, at the line of its section."""
    above = key.rpartition(".")[0]
    text = edit(TEXT, key, None)
    if above and not any(known.startswith(f"{above}.") for known in lines_of(text)):
        text = edit(text, above, "{}")
    section = lines_of(text)[above] if above else min(lines_of(text).values())
    assert refused(text) == [f"params.yaml:{section}: {key}: is missing"]


@pytest.mark.parametrize(
    ("key", "misspelt"),
    [
        ("evaluate", "evalute"),
        ("train.batch_size", "bach_size"),
        ("train.label_smoothing", "label_smoothin"),
        ("train.optimizer.weight_decay", "weightdecay"),
        ("train.augment.translate", "transalte"),
        ("train.model.name", "nmae"),
    ],
)
def test_misspelt_key_is_told_what_was_meant(key: str, misspelt: str) -> None:
    """A misspelt key is one problem, at its own line, with the key that was meant."""
    above, _, name = key.rpartition(".")
    at, lines = lines_of(TEXT)[key], TEXT.splitlines()
    lines[at - 1] = lines[at - 1].replace(f"{name}:", f"{misspelt}:")
    written = f"{above}.{misspelt}".lstrip(".")
    (line,) = refused("\n".join(lines))
    assert line.startswith(f"params.yaml:{at}: {written}: is unknown, did you mean {name}? (got ")


def test_key_with_dots_is_reported_at_its_line() -> None:
    """A key written with dots, as -S has it, is unknown at the line where it stands."""
    text = f"{TEXT}train.seed: 3\n"
    last = text.count("\n")
    assert refused(text) == [
        f"params.yaml:{last}: train.seed: is unknown, did you mean train? (got 3)"
    ]


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("train.optimizer.name", "sdg", "sgd"),
        ("train.schedule.name", "constnat", "constant"),
        ("train.model", "{name: torchvision, arch: resnet19}", "resnet18"),
        ("train.augment.flip", "randm", "random"),
        ("train.loss", "crossentropy", "cross_entropy"),
    ],
)
def test_misspelt_value_is_told_what_was_meant(key: str, value: str, meant: str) -> None:
    """A misspelt value is refused with the one that was meant."""
    (line,) = refused(edit(TEXT, key, value))
    assert line.startswith(f"params.yaml:{lines_of(TEXT)[key]}: {key}")
    assert f"did you mean {meant}? (got " in line


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("channels", "[8, 8, 32]", "should have 6 values, not 3 (got [8, 8, 32])"),
        ("channels", "[8, 8, 8, 8, 8, 8, 8]", "should have 6 values, not 7 (got "),
        ("channels", "[8, 8, 32, 32, 32, 7]", "should be greater than or equal to 8 (got 7)"),
        ("channels", "8", "should be a valid list (got 8)"),
        ("kernels", "[3, 3, 3, 3, 3, 4]", "should be less than or equal to 3 (got 4)"),
        ("kernels", "[3, 3, 3, 3, 3, 1.0]", "should be a valid integer (got 1.0)"),
        ("kernels", "[3, 3, 3, 3, 3, true]", "should be a valid integer (got True)"),
        ("kernels", "[3, 3, 3, 3, 3]", "should have 6 values, not 5 (got "),
    ],
)
def test_the_shapes_of_the_speedrun_network_are_checked(key: str, value: str, problem: str) -> None:
    """Six numbers each, of which each has its bounds."""
    model = re.sub(rf"{key}: \[.*?\]", f"{key}: {value}", SPEEDRUN)
    text = edit(TEXT, "train.model", model)
    (line,) = refused(text)

    start = f"params.yaml:{lines_of(text)['train.model']}: train.model.{key}: {problem}"
    assert line.startswith(start)


def test_field_of_another_choice_is_unknown() -> None:
    """A choice accepts no field that means nothing to it."""
    text = edit(TEXT, "train.schedule", "{name: constant, final: 0.1}")
    at = lines_of(text)["train.schedule"]
    assert refused(text) == [f"params.yaml:{at}: train.schedule.final: is unknown (got 0.1)"]


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    """Problems of every kind are listed together, a line each, as they stand in the file."""
    text = edit(TEXT, "evaluate.views", "5")
    text = edit(text, "train.optimizer.lr", "fast")
    text = edit(text, "train.keep", "worst")
    text = edit(text, "train.batch_size", None)
    text = edit(text, "prepare.dataset", "{name: folder, path: '', size: 4}")
    text = text.replace("  seed: 0", "  seed: 0\n  colour: red")
    where = [line.split(":")[1:3] for line in refused(text)]
    keys = ["prepare.dataset.path", "prepare.dataset.size", "train.batch_size", "train.colour"]
    keys += ["train.keep", "train.optimizer.lr", "evaluate.views"]
    assert [key.strip() for _, key in where] == keys
    numbers = [int(number) for number, _ in where]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("prepare.dataset", "{name: foler, size: abc}"),
        ("train.optimizer", "{name: sdg, fixed_norm: true, weight_decay: x}"),
    ],
)
def test_fields_of_an_unknown_choice_are_not_judged(choice: str, value: str) -> None:
    """Where the name of a choice is wrong, its other fields are not judged."""
    text = edit(TEXT, choice, value)
    (line,) = refused(text)
    assert line.startswith(f"params.yaml:{lines_of(text)[choice]}: {choice}.name: should be '")


def test_choice_may_have_a_field_that_is_called_like_it() -> None:
    """An unknown field is reported by its own keys, even where it is called like the choice."""
    text = TEXT.replace("name: sgd", "name: sgd\n    sgd: {lr: 3}")
    at = lines_of(text)["train.optimizer.sgd"]
    assert refused(text) == [f"params.yaml:{at}: train.optimizer.sgd: is unknown (got {{'lr': 3}})"]


def test_long_value_is_shortened() -> None:
    """A problem stays a line that can be read, however long the value."""
    (line,) = refused(edit(TEXT, "train.loss", "x" * 90_000))
    assert len(line) < 200
