"""Predictions of image files: those of `evaluate`, in every form."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from stages.cli import app
from synthetic import ROOT, make_split
from toypipe.commands import streams
from toypipe.commands.predict import BATCH, LARGE, Answer, run
from toypipe.commands.predictions import TOP, show
from toypipe.data.pictures import read_picture
from toypipe.data.split import Split
from toypipe.errors import ToypipeError
from toypipe.evaluation.metrics import predict
from toypipe.networks.build import Shape, build_model
from toypipe.networks.checkpoint import Classifier, load_checkpoint, save_checkpoint
from toypipe.networks.normalize import build_normalize
from toypipe.params.schema import Toy

CPU = torch.device("cpu")
CLASSES = 7
COUNT = 2 * BATCH + 5
"""Enough for two full batches and a part."""


@pytest.fixture(scope="module")
def split() -> Split:
    """Return images of seven classes."""
    return make_split(COUNT, size=16, classes=CLASSES)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, split: Split) -> Path:
    """Return a folder with a network, and the images as PNG files in `images`."""
    folder = tmp_path_factory.mktemp("pictures")
    params = Toy(name="toy")
    normalize = build_normalize("standard", split.images)
    model = build_model(params, Shape(16, CLASSES), normalize, seed=0)
    for parameter in model.parameters():
        parameter.data *= 2  # so that fresh weights see differences between the classes
    (folder / "data/model").mkdir(parents=True)
    with (folder / "data/model/checkpoint.pt").open("wb") as file:
        save_checkpoint(file, Classifier(model, params, 16, split.classes))
    (folder / "images/more").mkdir(parents=True)
    for i, image in enumerate(split.images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"images/{i:03}.png")
    return folder


@pytest.fixture(autouse=True)
def _stand_there(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)


def invoke(*arguments: str, given: bytes = b"", status: int = 0) -> Result:
    """Run predict in this process."""
    result = CliRunner().invoke(
        app, ["predict", "--device", "cpu", *arguments], input=given, catch_exceptions=False
    )
    assert result.exit_code == status, result.stderr
    return result


def answers(*arguments: str, given: bytes = b"", status: int = 0) -> list[dict[str, Any]]:
    """Return what predict prints as JSON."""
    lines = invoke("--json", *arguments, given=given, status=status).stdout.splitlines()
    return [json.loads(line) for line in lines]


def paths(*arguments: str, given: bytes = b"", status: int = 0) -> list[str]:
    """Return the names of the files that are answered."""
    return [answer["path"] for answer in answers(*arguments, given=given, status=status)]


def logits(split: Split, views: int = 1) -> torch.Tensor:
    """Return what `evaluate` computes for the same images, in one batch."""
    model = load_checkpoint(Path("data/model/checkpoint.pt"), CPU).model
    return predict(model, split.images, batch_size=1000, views=views)


# what it answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("views", [1, 2, 6])
def test_predictions_are_those_of_evaluate(split: Split, views: int) -> None:
    """From files with the same pixels, the classes are those that `evaluate` counts."""
    expected = logits(split, views)
    found = answers("images", "--views", str(views))

    assert [answer["path"] for answer in found] == [f"images/{i:03}.png" for i in range(COUNT)]
    names = [split.classes[i] for i in expected.argmax(1).tolist()]
    assert len(set(names)) > 1
    assert [answer["class"] for answer in found] == names
    shares = torch.tensor([[a["probabilities"][c] for c in split.classes] for a in found])
    torch.testing.assert_close(shares, expected.softmax(1), rtol=0, atol=1e-6)


def test_probabilities_are_complete_and_sorted() -> None:
    """Every class has a probability; they add up to one and begin with the named class."""
    for answer in answers("images"):
        values = list(answer["probabilities"].values())
        assert len(values) == CLASSES
        assert math.isclose(sum(values), 1)
        assert values == sorted(values, reverse=True)
        assert next(iter(answer["probabilities"].items())) == (
            answer["class"],
            answer["probability"],
        )


def test_an_image_of_any_size_is_prepared_as_for_training(split: Split, tmp_path: Path) -> None:
    """A photograph is cropped and resized by the same function as the training images."""
    image = Image.effect_mandelbrot((300, 200), (-2, -1.5, 1, 1.5), 50).convert("RGB")
    image.save(tmp_path / "photo.jpg")
    pixels = read_picture(tmp_path / "photo.jpg", 16).permute(2, 0, 1)[None]
    expected = logits(Split(pixels, split.labels[:1], split.classes)).softmax(1)[0]
    (answer,) = answers(str(tmp_path / "photo.jpg"))

    shares = torch.tensor([answer["probabilities"][name] for name in split.classes])
    torch.testing.assert_close(shares, expected, rtol=0, atol=1e-6)


def test_text_has_a_line_for_each_image_with_the_top_classes() -> None:
    """Without a terminal, the output is aligned columns with the values of the JSON."""
    lines = invoke("images").stdout.splitlines()

    assert len(lines) == COUNT
    assert len({line.index("images/") for line in lines}) == 1
    for line, answer in zip(lines, answers("images"), strict=True):
        top = list(answer["probabilities"].items())[:TOP]
        cells = [word for name, share in top for word in (name, f"{share:.4f}")]
        assert line.split() == [*cells, answer["path"]]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_on_a_terminal_there_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal there is a row for each of the top classes, and the image is named once."""
    import pty

    (answer,) = answers("images/000.png")
    master, terminal = pty.openpty()
    with open(terminal, "w") as stdout:  # noqa: PTH123 - a descriptor has no path
        monkeypatch.setattr(sys, "stdout", stdout)
        show(iter([[Answer(answer["path"], answer["probabilities"])]]), as_json=False)
        monkeypatch.undo()
    output = os.read(master, 100_000).decode()
    os.close(master)

    assert output.count("images/000.png") == 1
    rows = [line.split() for line in output.splitlines() if "class" in line][1:]
    top = list(answer["probabilities"].items())[:TOP]
    assert [[row[-4], row[-2]] for row in rows] == [[name, f"{share:.4f}"] for name, share in top]


# which files ----------------------------------------------------------------------------------


def test_folders_are_walked_in_order_without_hidden_files(split: Split, tmp_path: Path) -> None:
    """A folder's files come first, then its folders' files, each in alphabetical order."""
    image = Image.fromarray(split.images[0].permute(1, 2, 0).numpy())
    names = ["b.png", "a.png", "d/2.png", "d/1.png", "c/x.png", ".hidden.png", ".git/x.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / name)

    wanted = ["a.png", "b.png", "c/x.png", "d/1.png", "d/2.png"]
    assert paths(str(tmp_path)) == [str(tmp_path / name) for name in wanted]


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_names_come_from_standard_input_as_they_are(split: Split, tmp_path: Path) -> None:
    """`-` reads one name per line: with blanks, in no encoding, or of a folder."""
    image = Image.fromarray(split.images[0].permute(1, 2, 0).numpy())
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/a b \xff.png")
    image.save(strange)
    given = b"\n".join([b"./images/001.png", os.fsencode(strange), b"", os.fsencode(tmp_path)])

    found = paths("images/002.png", "-", "images/003.png", given=given)
    assert found == ["images/002.png", "./images/001.png", strange, strange, "images/003.png"]
    (line,) = invoke(strange).stdout.splitlines()
    assert line.endswith("/a b \\udcff.png")


def test_bad_files_are_named_and_the_others_answered(tmp_path: Path) -> None:
    """Damaged, missing and empty paths are named on standard error; the exit code is 2."""
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    bad = [str(tmp_path / name) for name in ("text.png", "nowhere.png", "empty", "x" * 300)]
    result = invoke("--json", "images/000.png", *bad, "images/001.png", status=2)

    found = [json.loads(line)["path"] for line in result.stdout.splitlines()]
    assert found == ["images/000.png", "images/001.png"]
    *named, last = result.stderr.splitlines()
    assert all(line.startswith(name) for line, name in zip(named, bad, strict=True))
    assert last.startswith("error: ")
    assert "4" in last


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_what_is_no_file_is_named_and_the_others_answered(tmp_path: Path) -> None:
    """A named pipe is not waited for, and an error of a plugin of Pillow ends nothing."""
    bad = [tmp_path / "fifo.png", tmp_path / "bad.dds", Path("/dev/zero")]
    os.mkfifo(bad[0])
    bad[1].write_bytes(b"DDS " + (124).to_bytes(4, "little") + bytes(200))
    names = [*map(str, bad), "images/001.png"]
    result = invoke("--json", "images/000.png", *names, status=2)

    found = [json.loads(line)["path"] for line in result.stdout.splitlines()]
    assert found == ["images/000.png", "images/001.png"]
    assert all(str(path) in result.stderr for path in bad)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="the system has no /dev/fd")
def test_the_pipe_of_a_shell_is_read() -> None:
    """`predict <(...)` and `... | predict /dev/stdin` answer the image that comes."""
    reader, writer = os.pipe()
    os.write(writer, Path("images/000.png").read_bytes())
    os.close(writer)
    (answer,) = answers(f"/dev/fd/{reader}")
    os.close(reader)
    (expected,) = answers("images/000.png")
    assert answer["probabilities"] == expected["probabilities"]


def test_a_standard_input_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be open for writing only, as in `predict - 0>file`."""
    descriptor = os.open(tmp_path / "written.txt", os.O_WRONLY | os.O_CREAT)
    with os.fdopen(descriptor) as stdin, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        found = run(["-"], checkpoint=Path("data/model/checkpoint.pt"), device="cpu", views=1)
        with pytest.raises(ToypipeError, match="standard input cannot be read"):
            list(found)


def test_photographs_are_answered_in_their_order(split: Split, tmp_path: Path) -> None:
    """Decoded by several threads, among small files and bad ones, each gets its own answer."""
    generator = torch.Generator().manual_seed(0)
    names = [f"{i:02}.png" for i in range(20)]
    for i, name in enumerate(names):
        side = 16 if i % 3 == 0 else 250  # uncompressible: a file of 190 kB
        pixels = torch.randint(0, 256, (side, side, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(tmp_path / name)
    (tmp_path / "07.png").write_bytes(bytes(2 * LARGE))
    names.remove("07.png")
    found = answers(str(tmp_path), status=2)

    assert [Path(answer["path"]).name for answer in found] == names
    for answer in found:
        pixels = read_picture(Path(answer["path"]), 16).permute(2, 0, 1)[None]
        expected = logits(Split(pixels, split.labels[:1], split.classes)).argmax()
        assert answer["class"] == split.classes[int(expected)]


def test_without_images_the_usage_is_shown() -> None:
    """A call without images is bad usage; an empty list on standard input is not."""
    assert "IMAGE" in invoke(status=2).stderr
    assert answers("-") == []


def test_without_a_network_its_maker_is_named() -> None:
    """A missing checkpoint is an error that names the command that makes it."""
    result = invoke("images", "--checkpoint", "nowhere.pt", status=2)
    assert "nowhere.pt" in result.stderr
    assert "toypipe train" in result.stderr


# pipes ----------------------------------------------------------------------------------------


def test_answers_flow_until_the_reader_has_seen_enough() -> None:
    """A full batch is answered while names still arrive; a reader that leaves causes no error."""
    command = [sys.executable, "-m", "stages", "predict", "--json", "-"]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"images/000.png\n" * BATCH)
        process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(BATCH)]
        process.stdout.close()
        process.stdin.write(b"images/000.png\n" * BATCH)
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert all(json.loads(line)["path"] == "images/000.png" for line in lines)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_closed_pipe_ends_quietly(as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is gone, as `head` is, ends the work in every form; so does the last flush."""
    reader, writer = os.pipe()
    os.close(reader)
    batches = iter([[Answer("a.png", {"cat": 1.0})]] * 3)
    with open(writer, "w") as stdout:  # noqa: PTH123 - a descriptor has no path
        for name in ("stdout", "__stdout__"):
            monkeypatch.setattr(sys, name, stdout)
        streams.mend()
        show(batches, as_json=as_json)
        monkeypatch.undo()
    assert len(list(batches)) == 2
