"""-S changes parameters as DVC does, for one call, and says what it cannot do."""

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides as dvc_apply_overrides
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from synthetic import PARAMS
from toypipe.errors import ToypipeError
from toypipe.params.file import read_params
from toypipe.params.overrides import apply_overrides
from toypipe.params.schema import Adam, Params, Sgd

FILE = Path("params.yaml")
ADAM = "{name:adam,lr:0.001,beta1:0.9,beta2:0.999,weight_decay:0}"


@pytest.fixture(autouse=True)
def _own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(PARAMS, FILE)


def load(path: Path) -> dict[str, Any]:
    """Read a YAML file as plain values."""
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return values


def by_toypipe(*overrides: str) -> str | None:
    """Return what our -S makes of params.yaml, as JSON that tells 1 from 1.0 and true, or None."""
    try:
        values = apply_overrides(load(PARAMS), overrides)
    except ToypipeError:
        return None
    return json.dumps(values, sort_keys=True)


def by_dvc(*overrides: str) -> str | None:
    """Return what `dvc exp run -S` makes of it: DVC's own function, on a copy of the file."""
    shutil.copyfile(PARAMS, FILE)
    try:
        dvc_apply_overrides(FILE, list(overrides))
    except InvalidArgumentError:
        return None
    return json.dumps(load(FILE), sort_keys=True)


def refused(*overrides: str) -> list[str]:
    """Return the lines of the message that refuses these overrides."""
    with pytest.raises(ToypipeError) as caught:
        read_params(FILE, overrides)
    return str(caught.value).splitlines()


# as DVC does ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.seed=7"],
        ["train.epochs=0.5", "train.batch_size=64"],
        ["train.optimizer.lr=1e-3"],
        ["train.optimizer.lr=1e3"],
        ["train.optimizer.nesterov=True", "train.optimizer.momentum=0.9"],
        ["train.loss=mse"],
        ["train.loss='mse'"],
        ['train.loss="m s,e=1"'],
        ["train.loss="],
        ["train.seed=null"],
        ["train.seed='3'"],
        ["train.seed=[1,2]"],
        ["train.loss=str(1)"],
        ["evaluate.batch_size=${train.batch_size}"],
        ["train.seed=1", "train.seed=2"],
        ["+train.more=1"],
        ["+train.more={a:1,b:[2,3.0],c:{d:x}}"],
        ["++train.seed=4", "++train.more=4"],
        ["~train.seed"],
        ["~train.seed=0"],
        ["~train"],
        ["train={seed:3}"],
        ["+train={seed:3,more:4}"],
        ["train=3"],
        ["~train.optimizer", f"+train.optimizer={ADAM}"],
        ["~train.schedule", "+train.schedule={name: linear, warmup_epochs: 1, final: 0.0}"],
    ],
    ids=" ".join,
)
def test_overrides_change_the_values_as_dvc_does(overrides: list[str]) -> None:
    """Each form of override gives the values that DVC would write, of the same types."""
    changed = by_toypipe(*overrides)
    assert changed is not None
    assert changed == by_dvc(*overrides)


@pytest.mark.parametrize(
    "override",
    [
        "train.sede=1",
        "+train.seed=1",
        "~train.sede",
        "~train.seed=1",
        "train.seed",
        "train.seed=[1",
        "train.seed=1]",
        "train.seed=int(x)",
        "train.loss=a b=c",
        f"train.optimizer={ADAM}",
        "",
        "=1",
        "--help",
    ],
)
def test_what_dvc_refuses_is_refused(override: str) -> None:
    """What DVC cannot apply is refused, and the message says what could be."""
    assert by_dvc(override) is None
    message = refused(override)
    assert message[0].startswith(f"-S {override}: ")
    assert "KEY=VALUE" in message[-1]


words = st.sampled_from(
    ["mse", "1", "0.5", "1e-3", "-2", "true", "null", "'1'", '"a b"', "", "a:b"]
)
values = words | st.sampled_from(
    ["{a:1}", "{}", "[1,x]", "{lr:0.1,b:{c:2}}", "1,2", "{a", "$", "''"]
)
keys = st.sampled_from(
    ["train", "train.seed", "train.optimizer", "train.optimizer.lr", "train.new", "new", "evaluate"]
)
changes = st.builds("{}{}={}".format, st.sampled_from(["", "", "+", "++"]), keys, values)
removals = st.builds("~{}".format, keys)


@settings(max_examples=40, deadline=None)
@given(st.lists(changes | removals, min_size=1, max_size=3))
def test_any_overrides_give_what_dvc_gives(overrides: list[str]) -> None:
    """Whatever the overrides, the values are DVC's, or both refuse; a sweep is one call to DVC."""
    ours = by_toypipe(*overrides)
    if any("1,2" in override for override in overrides):
        assert ours is None
    else:
        assert ours == by_dvc(*overrides)


def test_nothing_else_is_changed() -> None:
    """Neither params.yaml nor the values handed in are changed, only those returned."""
    before, values, expected = FILE.read_bytes(), load(FILE), load(FILE)
    expected["train"]["seed"] = 9
    del expected["evaluate"]
    changed = apply_overrides(values, ["train.seed=9", "~evaluate"])
    assert read_params(FILE, ["train.seed=9"]).train.seed == 9
    assert FILE.read_bytes() == before
    assert values == load(PARAMS)
    assert changed == expected


def test_choice_is_changed_by_replacing_it_whole() -> None:
    """Removing the optimizer and adding another leaves no field of the first."""
    assert isinstance(read_params(FILE).train.optimizer, Sgd)
    overrides = ["~train.optimizer", f"+train.optimizer={ADAM}"]
    optimizer = read_params(FILE, overrides).train.optimizer
    assert optimizer == Adam(name="adam", lr=0.001, beta1=0.9, beta2=0.999, weight_decay=0)


# what is refused, and how ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("prepare.dataset", "folder"),
        ("train.model", "torchvision"),
        ("train.optimizer", "adam"),
        ("train.schedule", "cosine"),
    ],
)
def test_name_alone_is_refused_with_advice(choice: str, name: str) -> None:
    """Changing only the name of a choice with other fields is told to replace it whole."""
    *problems, advice = refused(f"{choice}.name={name}")
    assert problems
    assert all(problem.startswith(f"-S: {choice}.") for problem in problems)
    assert f"-S '~{choice}' -S '+{choice}={{name: ..., ...}}'" in advice


def test_mapping_over_a_choice_is_refused_with_advice() -> None:
    """A mapping merges too: one with other fields is told the same."""
    message = "\n".join(refused(f"train.optimizer={ADAM}"))
    assert "-S '~train.optimizer' -S '+train.optimizer={" in message


@pytest.mark.parametrize(
    "value",
    ["1,2", "'a','b'", "range(1,3)", "choice(1,2)", "choice(1)", "glob(*)", "interval(0,1)"],
)
def test_sweep_is_refused(value: str) -> None:
    """Several values are refused: this is one call, and DVC's queue is for many."""
    (line,) = refused(f"train.seed={value}")
    assert line.startswith(f"-S train.seed={value}: several values are a sweep")
    assert "dvc exp run --queue -S" in line


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("train.sede=1", "train.seed"),
        ("seed=1", "train.seed"),
        ("train.lr=1", "train.optimizer.lr"),
        ("trian.seed=1", "train.seed"),
        ("batch_size=1", "train.batch_size or evaluate.batch_size"),
    ],
)
def test_unknown_key_is_told_what_was_meant(override: str, meant: str) -> None:
    """A key that is not there is refused with the one that was meant."""
    assert refused(override)[0] == f"-S {override}: there is no such key, did you mean {meant}?"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.seed=-1", "train.seed: should be greater than or equal to 0 (got -1)"),
        ("train.seed=1.0", "train.seed: should be a valid integer (got 1.0)"),
        ("~train.seed", "train.seed: is missing"),
        ("+train.bach_size=3", "train.bach_size: is unknown, did you mean batch_size? (got 3)"),
        ("+train.augment.noise={a:1}", "train.augment.noise: is unknown (got {'a': 1})"),
        ("+train.loader.workers=4", "train.loader: is unknown (got {'workers': 4})"),
        ("+hydra.verbose=1", "hydra: is unknown (got {'verbose': 1})"),
    ],
)
def test_problem_of_an_override_has_no_line(override: str, problem: str) -> None:
    """What -S brings in is reported with the prefix -S: no line of the file shows it."""
    assert refused(override) == [f"-S: {problem}"]


@pytest.mark.parametrize("cause", ["nesterov=true", "momentum=0"])
def test_combination_that_an_override_makes_is_refused(cause: str) -> None:
    """Values that contradict each other only after -S are refused with its prefix."""
    mine = {"nesterov=true": "momentum: 0.0", "momentum=0": "nesterov: true"}[cause]
    text = FILE.read_text(encoding="utf-8").replace("momentum: 0.0", "momentum: 0.9")
    text = re.sub(f"{mine.split(':')[0]}: .*", mine, text)
    FILE.write_text(text, encoding="utf-8")
    (line,) = refused(f"train.optimizer.{cause}")
    assert line.startswith("-S: train.optimizer.nesterov: looks ahead along the momentum")


def test_problems_of_file_and_override_stand_together() -> None:
    """Both kinds are listed in the order of the file, each where it comes from."""
    text = re.sub("views: .*", "views: 5", FILE.read_text(encoding="utf-8"))
    text = re.sub("keep: .*", "keep: none", text)
    FILE.write_text(text, encoding="utf-8")
    at = {line.strip(): number for number, line in enumerate(text.splitlines(), start=1)}
    found = [line.split(": ")[:2] for line in refused("train.loss=l3", "train.seed=x")]
    assert found == [
        ["-S", "train.seed"],
        [f"params.yaml:{at['keep: none']}", "train.keep"],
        ["-S", "train.loss"],
        [f"params.yaml:{at['views: 5']}", "evaluate.views"],
    ]


def test_override_mends_a_wrong_file() -> None:
    """A value that -S replaces is not held against the file."""
    text = FILE.read_text(encoding="utf-8").replace("seed: 0", "seed: zero")
    FILE.write_text(text, encoding="utf-8")
    assert read_params(FILE, ["train.seed=5"]).train.seed == 5


@pytest.mark.parametrize("line", ["when: 2026-01-01", "? null\n: 1", "some: !!set {a, b}"])
def test_file_is_refused_as_without_overrides(line: str) -> None:
    """What Hydra cannot hold is refused in the same words, whether or not -S is used."""
    FILE.write_text(f"{FILE.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")
    assert refused("evaluate.batch_size=1") == refused()


@settings(max_examples=60, deadline=None)
@given(st.text("train.sed=+~'\",[]{}()$:@/\\ 1-\n", max_size=20) | st.text(max_size=10))
@example("train.seed=" + "9" * 5000)
@example("train.seed=" + "[" * 200 + "]" * 200)
@example("train.seed=" + "{a:" * 100 + "1" + "}" * 100)
def test_any_override_is_applied_or_refused(override: str) -> None:
    """Whatever -S holds, it gives parameters or a ToypipeError, and nothing else."""
    with suppress(ToypipeError):
        assert isinstance(read_params(PARAMS, [override]), Params)
