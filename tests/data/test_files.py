"""A file is read completely and undamaged, or refused; no code in it is run."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import NamedTemporaryFile
from zipfile import ZipFile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.hostile_contents import rezipped
from toypipe.data.files import load_archive
from toypipe.errors import ToypipeError

CONTENT = {"numbers": torch.arange(1000), "name": "a"}
SMALL = """
import resource, sys
from pathlib import Path
import psutil, torch  # before the limit: they need room too
from toypipe.data.files import load_archive
taken = psutil.Process().memory_info().data
resource.setrlimit(resource.RLIMIT_DATA, (taken + 40_000_000, resource.RLIM_INFINITY))
load_archive(Path(sys.argv[1]), remedy="")
"""


def _saved() -> bytes:
    file = io.BytesIO()
    torch.save(CONTENT, file)
    return file.getvalue()


GOOD = _saved()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        GOOD[:-1],
        GOOD[: len(GOOD) // 2],
        b"\x80",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"epoch,train_loss\n",
        b"GIF89a\x00",
        bytes(range(256)),
    ],
    ids=["empty", "short", "half", "pickle", "pointer", "csv", "gif", "binary"],
)
def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """The message names the file and says what to do."""
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(ToypipeError, match=r"a\.pt is damaged.*dvc repro makes it again"):
        load_archive(path, remedy="dvc repro makes it")


def test_a_flipped_bit_changes_nothing_unseen(tmp_path: Path) -> None:
    """A flipped bit is found, or it is in padding and the content is the same."""
    path, found = tmp_path / "a.pt", 0
    for position in range(0, len(GOOD), 37):
        content = bytearray(GOOD)
        content[position] ^= 4
        path.write_bytes(content)
        try:
            read = load_archive(path, remedy="")
        except ToypipeError:
            found += 1
        else:
            assert read.keys() == CONTENT.keys()
            assert read["name"] == "a"
            assert torch.equal(read["numbers"], torch.arange(1000))

    assert found > len(GOOD) // 37 * 0.8


def test_a_flipped_bit_in_the_directory_is_refused(tmp_path: Path) -> None:
    """A flipped bit that declares the archive compressed is found too."""
    path = tmp_path / "a.pt"
    methods = [i + 10 for i in range(len(GOOD)) if GOOD.startswith(b"PK\x01\x02", i)]
    for position in methods:
        content = bytearray(GOOD)
        content[position] ^= 8
        path.write_bytes(content)
        with pytest.raises(ToypipeError, match="is damaged"):
            load_archive(path, remedy="")


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.none() | st.tuples(st.integers(0, 400), st.integers(1, 255)),
)
def test_a_compressed_archive_is_refused(method: int, flip: tuple[int, int] | None) -> None:
    """Torch compresses nothing. A flipped byte in what is compressed is not even looked for."""
    content = bytearray(rezipped(GOOD, method))
    if flip:
        content[flip[0] % len(content)] ^= flip[1]
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        with pytest.raises(ToypipeError, match="is damaged"):
            load_archive(Path(file.name), remedy="")


def test_an_archive_that_claims_more_than_its_length_is_refused(tmp_path: Path) -> None:
    """A member that is listed twice is there once."""
    path = tmp_path / "a.pt"
    with ZipFile(io.BytesIO(GOOD)) as old, ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.filelist *= 2
    with pytest.raises(ToypipeError, match="is damaged"):
        load_archive(path, remedy="")


def test_anything_but_a_dict_is_refused(tmp_path: Path) -> None:
    """An archive that does not hold a dict is refused."""
    torch.save(torch.zeros(3), tmp_path / "a.pt")
    with pytest.raises(ToypipeError, match="is not a toypipe file"):
        load_archive(tmp_path / "a.pt", remedy="")


def test_a_file_that_memory_does_not_hold_is_not_called_damaged(tmp_path: Path) -> None:
    """With room for 40 MB more, an archive of 100 MB is sound, but cannot be read.

    In a process of its own: `pick_device` lets this one keep freed memory, which would be room.
    """
    path = tmp_path / "a.pt"
    torch.save({"a": torch.zeros(100_000_000, dtype=torch.uint8)}, path)
    command = [sys.executable, "-c", SMALL, str(path)]
    error = subprocess.run(command, capture_output=True, text=True, check=False).stderr

    last = error.splitlines()[-1]
    assert "toypipe.errors.ToypipeError" in last
    assert "a.pt: there is not enough memory to read it" in last
