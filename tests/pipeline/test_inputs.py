"""What a stage was given is compared with what lies there when it would publish."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from synthetic import PARAMS, ROOT, make_folder, make_split
from toypipe.data.split import save_split
from toypipe.errors import InputsChangedError, ToypipeError
from toypipe.pipeline import inputs
from toypipe.pipeline.inputs import Inputs


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with code, parameters and data of one's own."""
    for name in ("stages", "toypipe"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(PARAMS, tmp_path / "params.yaml")
    (tmp_path / "data/prepared").mkdir(parents=True)
    with (tmp_path / "data/prepared/train.pt").open("wb") as file:
        save_split(file, make_split(12))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inputs, "CODE", tmp_path)
    return tmp_path


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return what replaces a text in a file."""

    def edit(project: Path) -> None:
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new, 1))

    return edit


def flip(project: Path) -> None:
    """Turn a bit of the training images."""
    path = project / "data/prepared/train.pt"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (
            replace("params.yaml", "lr: 0.01\n", "lr: 0.02\n"),
            "lr was 0.01, is 0.02",
        ),
        (replace("params.yaml", "name: constant", "name: cosine"), "train.schedule"),
        (replace("params.yaml", "seed: 0", "seed: [0"), "not YAML"),
        (
            replace("toypipe/training/losses.py", "sum", "mean"),
            "toypipe/training/losses.py was edited",
        ),
        (replace("stages/train.py", "train", "learn"), "stages/train.py was edited"),
        (flip, "data/prepared/train.pt was edited"),
        (lambda project: (project / "params.yaml").unlink(), "params.yaml does not exist"),
        (
            lambda project: (project / "toypipe/training/muon.py").unlink(),
            "toypipe/training/muon.py was removed",
        ),
        (lambda project: (project / "data/prepared/train.pt").unlink(), "train.pt was removed"),
    ],
)
def test_a_change_is_named(project: Path, edit: Callable[[Path], None], named: str) -> None:
    """Whatever differs of what the stage uses, the message says what it was, and what to do."""
    noted = Inputs("train", Path("params.yaml"), [])
    edit(project)

    with pytest.raises(InputsChangedError) as caught:
        noted.require_unchanged()
    assert named in str(caught.value)
    assert "Nothing was written" in str(caught.value)
    assert caught.value.exit_code == 3


def test_all_changes_are_named_at_once(project: Path) -> None:
    """Code, data and parameters, each in a line."""
    noted = Inputs("train", Path("params.yaml"), [])
    replace("params.yaml", "epochs: 20", "epochs: 21")(project)
    replace("toypipe/training/augment.py", "mirror", "mirrors")(project)
    flip(project)

    with pytest.raises(InputsChangedError) as caught:
        noted.require_unchanged()
    _, *changes, _ = str(caught.value).splitlines()
    assert len(changes) == 3


@pytest.mark.parametrize(
    "edit",
    [
        replace("params.yaml", "lr: 0.01\n", "lr: 1.0e-2  # the same number\n"),
        replace("params.yaml", "views: 1", "views: 2"),
        replace("stages/cli.py", "The commands", "All commands"),
        replace("toypipe/evaluation/metrics.py", "Measure", "Judge"),
        lambda project: os.utime(project / "data/prepared/train.pt"),
        lambda project: os.utime(project / "toypipe/training/losses.py"),
    ],
    ids=["comment", "other section", "commands", "other stage", "touched data", "touched code"],
)
def test_what_does_not_concern_a_stage_is_nothing_to_it(
    project: Path, edit: Callable[[Path], None]
) -> None:
    """Comments, other sections, other modules and a new date change no result."""
    noted = Inputs("train", Path("params.yaml"), [])
    noted.require_unchanged()  # as when all has been loaded
    edit(project)

    noted.require_unchanged()


@pytest.mark.parametrize("name", ["data/prepared/train.pt", "toypipe/training/losses.py"])
def test_what_was_edited_and_put_back_while_it_was_loaded_has_changed(
    project: Path, name: str
) -> None:
    """Nobody knows which of the two was loaded."""
    noted = Inputs("train", Path("params.yaml"), [])
    content = (project / name).read_bytes()
    (project / name).write_bytes(b"something else")
    (project / name).write_bytes(content)

    with pytest.raises(InputsChangedError, match=name):
        noted.require_unchanged()


def test_check_has_read_every_section(project: Path) -> None:
    """Its word is about the whole file."""
    noted = Inputs("check", Path("params.yaml"), [])
    replace("params.yaml", "views: 1", "views: 2")(project)

    with pytest.raises(InputsChangedError, match=r"evaluate\.views was 1, is 2"):
        noted.require_unchanged()


def test_overrides_stand_over_the_file(project: Path) -> None:
    """What -S says is not changed by an edit of the same parameter; another one is."""
    noted = Inputs("train", Path("params.yaml"), ["train.optimizer.lr=0.5"])
    replace("params.yaml", "lr: 0.01\n", "lr: 0.02\n")(project)
    noted.require_unchanged()
    replace("params.yaml", "seed: 0", "seed: 1")(project)

    with pytest.raises(InputsChangedError, match=r"train\.seed was 0, is 1"):
        noted.require_unchanged()


def test_a_folder_of_ones_own_is_watched(project: Path) -> None:
    """A picture that is replaced, added or removed is a change of the folder."""
    make_folder(project / "data/mine")
    replace(
        "dvc.yaml", "      - stages/prepare.py", "      - data/mine\n      - stages/prepare.py"
    )(project)
    picture = project / "data/mine/train/cat/0.png"
    for edit in (lambda: picture.write_bytes(b"other"), picture.unlink, picture.touch):
        noted = Inputs("prepare", Path("params.yaml"), [])
        noted.require_unchanged()
        edit()
        with pytest.raises(InputsChangedError, match=r"data/mine/train/cat/0\.png was"):
            noted.require_unchanged()


@pytest.mark.parametrize("back", [False, True], ids=["swapped", "swapped and back"])
def test_two_folders_that_swap_their_names_have_changed(project: Path, *, back: bool) -> None:
    """Even if every file has the size and the times of the other: who knows which was read?"""
    mine = make_folder(project / "data/mine")
    for path in mine.rglob("*.png"):
        path.write_bytes(path.read_bytes().ljust(2000, b"\0"))
        os.utime(path, (1e9, 1e9))
    replace("dvc.yaml", "      - stages/prepare.py", "      - data/mine")(project)
    noted = Inputs("prepare", Path("params.yaml"), [])
    for _ in range(1 + back):
        (mine / "train/cat").rename(mine / "train/x")
        (mine / "train/dog").rename(mine / "train/cat")
        (mine / "train/x").rename(mine / "train/dog")

    with pytest.raises(InputsChangedError, match="data/mine/train/cat") as caught:
        noted.require_unchanged()
    assert len(str(caught.value).splitlines()) < 15


@pytest.mark.parametrize("kept", [False, True])
def test_a_training_is_said_to_be_kept_only_if_it_is(project: Path, *, kept: bool) -> None:
    """The stage knows: not while it loads, nor where nothing can be kept."""
    noted = Inputs("train", Path("params.yaml"), [])
    noted.require_unchanged()
    noted.kept = kept
    flip(project)

    with pytest.raises(InputsChangedError) as caught:
        noted.require_unchanged()
    assert ("training is kept" in str(caught.value)) == kept


def test_bad_parameters_are_refused_at_the_start(project: Path) -> None:
    """They are an error of their own, not a change."""
    replace("params.yaml", "seed: 0", "seed: x")(project)

    with pytest.raises(ToypipeError, match=r"train\.seed") as caught:
        Inputs("train", Path("params.yaml"), [])
    assert caught.value.exit_code == 2
