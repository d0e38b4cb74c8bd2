"""dvc.yaml and dvc.lock are read as DVC writes them, or refused by name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from synthetic import ROOT
from toypipe.errors import ToypipeError
from toypipe.pipeline.dvc_files import list_dependencies, read_lock

READERS: dict[str, Callable[[], object]] = {
    "dvc.yaml": lambda: list_dependencies("train"),
    "dvc.lock": read_lock,
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_our_own_are_read() -> None:
    """With the files that each stage lists, and their md5."""
    stages = read_lock(ROOT)

    assert list(stages) == ["check", "prepare", "train", "evaluate"]
    for name, stage in stages.items():
        assert sorted(file.path for file in stage.deps) == sorted(
            list_dependencies(name, ROOT / "dvc.yaml")
        )
    assert set(stages["train"].params["params.yaml"]) == {"train"}
    assert list_dependencies("deploy", ROOT / "dvc.yaml") == []


def test_stages_without_dependencies_have_none() -> None:
    """DVC accepts them, also where a stage is made of others."""
    Path("dvc.yaml").write_text("stages: {a: {cmd: x}, b: {foreach: [1], do: {cmd: x}}}\nvars: [1]")

    assert list_dependencies("a") == list_dependencies("b") == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "it should be names and their values, but found nothing"),
        ("stages:\n", "stages should be names and their values, but found nothing"),
        ("stages: {train: {deps: x}}\n", "stages.train.deps should be a list, but found a str"),
        ("stages: {train: {deps: [{path: x}]}}\n", "stages.train.deps.0"),
    ],
)
@pytest.mark.parametrize("name", ["dvc.yaml", "dvc.lock"])
def test_broken_ones_are_refused(name: str, content: str, found: str) -> None:
    """The message has the file, the place in it, and how to get the committed one."""
    Path(name).write_text(content)
    with pytest.raises(ToypipeError) as caught:
        READERS[name]()

    assert str(caught.value).startswith(f"{name}: {found}")
    assert str(caught.value).endswith(f". `git checkout -- {name}` restores the committed file")
