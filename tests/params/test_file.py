"""What read_params accepts, and how it names everything that it does not."""

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from synthetic import PARAMS, ROOT
from toypipe.errors import ToypipeError
from toypipe.params.file import read_params
from toypipe.params.schema import Adam, Cosine, Folder, Muon, Params, Torchvision

TEXT = PARAMS.read_text(encoding="utf-8")
FILE = Path("params.yaml")

FOLDER = "{name: folder, path: mine, size: 16}"
RESNET = "{name: torchvision, arch: resnet18}"
SPEEDRUN = "{name: speedrun, width: 8, whitening: true, identity: true}"
COSINE = "{name: cosine, warmup_epochs: 2.5, final: 0}"
ADAM = "{name: adam, lr: 0.001, beta1: 0.9, beta2: 0.999, weight_decay: 0}"
REST = "{lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.0}"
MUON = (
    "{name: muon, lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 0.0, fixed_norm: true,"
    f" bias_lr: 0.2, rest: {REST}}}"
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lines_of(text: str) -> dict[str, int]:
    """Find every key of a file in block style, by its indentation, and its line."""
    found, above = {}, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"( *)(\w+):", line):
            above[len(match[1]) // 2 :] = [match[2]]
            found[".".join(above)] = number
    return found


def edit(text: str, key: str, value: str | None) -> str:
    """Give a key of a file in block style another value, in YAML, or remove it."""
    lines = text.splitlines(keepends=True)
    first = lines_of(text)[key] - 1
    indent = " " * (2 * key.count("."))
    end = first + 1
    while end < len(lines) and lines[end].startswith(f"{indent} "):
        end += 1
    name = key.rpartition(".")[2]
    lines[first:end] = [] if value is None else [f"{indent}{name}: {value}\n"]
    return "".join(lines)


def read(text: str) -> Params:
    """Read a parameter file with this text."""
    FILE.write_text(text, encoding="utf-8")
    return read_params(FILE)


def refused(content: str | bytes) -> list[str]:
    """Return the lines of the message that refuses a parameter file."""
    FILE.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ToypipeError) as caught:
        read_params(FILE)
    return str(caught.value).splitlines()


# what is accepted -----------------------------------------------------------------------------


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
        ("train.model", RESNET, Torchvision(name="torchvision", arch="resnet18")),
        ("train.schedule", COSINE, Cosine(name="cosine", warmup_epochs=2.5, final=0)),
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


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), ("1", 1.0), ("5E-1", 0.5)])
def test_number_is_read_as_yaml_1_2(text: str, value: float) -> None:
    """An exponent needs no dot to make a number, and an integer is one."""
    optimizer = read(edit(TEXT, "train.optimizer.lr", text)).train.optimizer
    assert isinstance(optimizer.lr, float)
    assert optimizer.lr == value


def test_epochs_may_be_fractional() -> None:
    """A run may end within an epoch."""
    assert read(edit(TEXT, "train.epochs", "0.25")).train.epochs == 0.25


def test_byte_order_mark_and_crlf_do_no_harm() -> None:
    """A file that a Windows editor has saved says the same."""
    FILE.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert read_params(FILE) == read_params(PARAMS)


def _sections(section: BaseModel) -> list[BaseModel]:
    below = [value for _, value in section if isinstance(value, BaseModel)]
    return [section, *(found for part in below for found in _sections(part))]


def test_parameters_cannot_be_changed() -> None:
    """No field of any section can be set, and none can be added."""
    for section in _sections(read(TEXT)):
        for name in [*type(section).model_fields, "new"]:
            with pytest.raises(ValidationError):
                setattr(section, name, 1)


# what is refused, and how ---------------------------------------------------------------------


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
        ("train.augment", "3", "3"),
        ("train", "", "None"),
        ("evaluate.views", "3", "3"),
        ("evaluate.views", '"1"', "'1'"),
        ("evaluate.views", "1.0", "1.0"),
        ("evaluate.views", "true", "True"),
    ],
)
def test_value_of_another_type_or_range_is_refused(key: str, value: str, got: str) -> None:
    """Types are strict, and what is out of range is refused, with its line and the value."""
    text = edit(TEXT, key, value)
    (line,) = refused(text)
    assert line.startswith(f"params.yaml:{lines_of(text)[key]}: {key}: should ")
    assert line.endswith(f" (got {got})")


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


def test_long_value_is_shortened() -> None:
    """A problem stays a line that can be read, however long the value."""
    (line,) = refused(edit(TEXT, "train.loss", "x" * 90_000))
    assert len(line) < 200


# what is no parameter file --------------------------------------------------------------------


def test_duplicate_key_is_reported_at_its_line() -> None:
    """A key that stands twice is refused at the second."""
    text = TEXT.replace("  seed: 0\n", "  seed: 0\n  seed: 1\n")
    (line,) = refused(text)
    assert line.startswith(f"params.yaml:{lines_of(text)['train.seed']}: ")
    assert "seed is there twice" in line


@pytest.mark.parametrize(
    "value",
    [
        "0: 1",
        "'a' b",
        "*nowhere",
        "!strange 0",
        "@0",
        pytest.param("!!int x", id="tag with a value that is none"),
        pytest.param("!!bool maybe", id="tag with a word that is none"),
        pytest.param("\x07", id="control character"),
        pytest.param("9" * 5000, id="more digits than Python reads"),
    ],
)
def test_yaml_mistake_is_reported_at_its_line(value: str) -> None:
    """What is not YAML, or makes no value, is refused in one line, at its line of the file."""
    (line,) = refused(edit(TEXT, "train.seed", value))
    assert line.startswith(f"params.yaml:{lines_of(TEXT)['train.seed']}: ")


def test_byte_that_is_not_utf8_is_reported_at_its_line() -> None:
    """A file in another encoding is refused at the first line that shows it."""
    text = TEXT.replace("  seed: 0\n", "  seed: 0  # Größe\n")
    (line,) = refused(text.encode("latin-1"))
    assert line.startswith(f"params.yaml:{lines_of(text)['train.seed']}: not UTF-8")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "it is empty"),
        ("# nothing but a comment\n", "it is empty"),
        ("- prepare\n- train\n", "found a list"),
        ("train\n", "found a word"),
    ],
)
def test_file_without_sections_says_what_was_expected(text: str, found: str) -> None:
    """A file that is no mapping is told what it holds and what it should."""
    (line,) = refused(text)
    assert line.startswith("params.yaml: expected the sections prepare, train and evaluate")
    assert found in line


def test_missing_file_says_where_it_was_looked_for() -> None:
    """A file that is not there is named, with the folder."""
    with pytest.raises(ToypipeError, match=r"params\.yaml does not exist in ") as caught:
        read_params(FILE)
    assert str(Path.cwd()) in str(caught.value)


def test_folder_is_no_file() -> None:
    """A folder instead of a file is refused by name."""
    FILE.mkdir()
    with pytest.raises(ToypipeError, match=r"params\.yaml cannot be read"):
        read_params(FILE)


def test_huge_file_is_refused() -> None:
    """A file far too large to hold parameters is not even parsed."""
    assert "larger than" in refused(TEXT + "#" * 100_000)[0]


def _aliases(levels: int, nested: str) -> str:
    bomb = "z0: &z0 {x: 1}\n"
    for i in range(1, levels):
        bomb += f"z{i}: &z{i} {nested.format(', '.join([f'*z{i - 1}'] * 9))}\n"
    return bomb


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        pytest.param("[" * 500, [], id="open lists"),
        pytest.param("{a: " * 2000, [], id="open mappings"),
        pytest.param("train:\n  seed: " + "[" * 300 + "]" * 300, [], id="lists"),
        pytest.param(_aliases(9, "[{}]"), [], id="aliases"),
        pytest.param(_aliases(8, "{{<<: [{}]}}"), [], id="merged aliases"),
        pytest.param(_aliases(6, "[{}]") + TEXT, ["train.seed=1"], id="aliases and -S"),
        pytest.param("a: " + "[" * 150 + "]" * 150, ["train.seed=1"], id="lists and -S"),
        pytest.param("train: &a\n  seed: *a\n", [], id="a mapping within itself"),
        pytest.param("train: &a\n  seed: *a\n", ["train.seed=1"], id="the same and -S"),
    ],
)
def test_deep_or_repeated_values_are_refused_quickly(text: str, overrides: list[str]) -> None:
    """A file that unfolds without end is refused before anyone loses patience."""
    FILE.write_text(text, encoding="utf-8")
    start = time.process_time()
    with pytest.raises(ToypipeError):
        read_params(FILE, overrides)
    assert time.process_time() - start < 3  # seconds


# combinations that mean nothing ---------------------------------------------------------------

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
    ({"train.validation": "50000"}, "train.validation"),
    ({"train.validation": "49969"}, "train.batch_size"),
    ({"train.augment.translate": "32"}, "train.augment.translate"),
    (
        {"train.augment.translate": "16", "prepare.dataset": FOLDER},
        "train.augment.translate",
    ),
    ({"prepare.dataset": FOLDER_12}, "prepare.dataset.size"),
    (
        {"prepare.dataset": FOLDER.replace("16", "8"), "train.model": SPEEDRUN},
        "prepare.dataset.size",
    ),
    ({"train.optimizer": MUON.replace("decay: 0.0", "decay: 0.1", 1)}, OF_FIXED_SIZE),
    ({"train.sizes": "[24]"}, "train.sizes"),
    ({"train.sizes": "[8, 32]", "train.model": SPEEDRUN}, "train.sizes"),
    ({"train.sizes": "[24, 33]", "train.model": SPEEDRUN}, "train.sizes"),
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
    "values",
    [
        {"train.optimizer.nesterov": "true", "train.optimizer.momentum": "0.1"},
        {"train.epochs": "2.6", "train.schedule": COSINE},
        {"train.keep": "best", "train.validation": "1"},
        {"train.validation": "49968"},
        {"train.validation": "49999", "train.batch_size": "1"},
        {"train.augment.translate": "31"},
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


# whatever comes -------------------------------------------------------------------------------

# fmt: off
FRAGMENTS = [
    ": ", "- ", "? ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "!", "!!int ", "!!float ", "!!bool ",
    "!!set ", "!!binary ", "|", ">", '"', "'", "%", "#", "\n", "  ", "\t", "---\n", "~", "no",
    "1:30", ".nan", "-.inf", "0x", "2026-99-99", "\0", "\x85", "\ufeff", "name: muon",
]
# fmt: on


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Return the project's own file with a few stretches of it replaced."""
    text = "\n".join(line.split("#")[0].rstrip() for line in TEXT.splitlines())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 20))
        new = draw(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=4))
        text = text[:start] + "".join(new) + text[end:]
    return text.encode("utf-8", "surrogatepass")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | mutations())
@example(b"train: !!bool maybe")
@example(b"train: !!int ''")
@example(b"train: !!float ''")
@example(b"train: &a 1\nprepare: &a 2")
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Whatever the file holds, it gives parameters or a ToypipeError, and nothing else."""
    FILE.write_bytes(content)
    with suppress(ToypipeError):
        assert isinstance(read_params(FILE), Params)
