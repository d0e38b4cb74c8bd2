"""Files are written whole or not at all, and the same content is the same bytes."""

import csv
import io
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toypipe.data.files import csv_bytes, json_bytes, whole


class Killed(BaseException):
    """Stands for an interruption that no `except Exception` sees."""


def write(path: Path, content: bytes) -> None:
    """Write a file the way stages do."""
    with whole(path) as file:
        file.write(content)


def write_half(path: Path, error: type[BaseException]) -> None:
    """Write a file, and fail before its end."""
    with whole(path) as file:
        file.write(b"half")
        raise error


def test_file_appears_with_its_folder(tmp_path: Path) -> None:
    """A file is written with the folders above it, and nothing else beside it."""
    path = tmp_path / "a" / "b" / "c.txt"
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_file_takes_its_name_when_it_is_complete(tmp_path: Path) -> None:
    """Until the last byte is written, the old file stands under the name."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Killed])
@pytest.mark.parametrize("old", [b"old", None], ids=["over another", "new"])
def test_error_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException], old: bytes | None
) -> None:
    """After any error the old file stands as it was, or none does, and there is no litter."""
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()}
    with pytest.raises(error):
        write_half(path, error)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()} == before


def test_failed_replacement_leaves_no_litter(tmp_path: Path) -> None:
    """Where the name cannot be taken, here because it is a folder's, nothing is left behind."""
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_hard_link_keeps_its_bytes(tmp_path: Path) -> None:
    """A file that is linked into a cache is replaced, not written into."""
    path, cached = tmp_path / "file", tmp_path / "cached"
    cached.write_bytes(b"old")
    os.link(cached, path)
    write(path, b"new")
    assert (path.read_bytes(), cached.read_bytes()) == (b"new", b"old")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit to set")
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("by_torch", [False, True])
def test_of_several_files_the_one_that_is_too_large_is_named(
    tmp_path: Path, at: int, by_torch: bool
) -> None:
    """Whichever of them it is, and whoever writes it, none of them appears."""
    import resource

    paths = [tmp_path / name for name in "abc"]

    def write_all() -> None:
        with ExitStack() as stack:
            files = [stack.enter_context(whole(path)) for path in paths]
            for i, file in enumerate(files):
                if by_torch and i == at:
                    torch.save(torch.zeros(10_000), file)
                file.write(bytes(20_000 if i == at else 10))
            for file in files:
                file.flush()

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_all()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(paths[at])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_symbolic_link_is_replaced(tmp_path: Path) -> None:
    """A link into a cache is replaced by a file; what it pointed at stays."""
    path, cached = tmp_path / "file", tmp_path / "cached"
    cached.write_bytes(b"old")
    path.symlink_to(cached)
    write(path, b"new")
    assert not path.is_symlink()
    assert (path.read_bytes(), cached.read_bytes()) == (b"new", b"old")


@pytest.mark.skipif(sys.platform == "win32", reason="there a read-only file cannot be replaced")
def test_read_only_file_is_replaced(tmp_path: Path) -> None:
    """A file that DVC has protected is replaced like any other."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o444)
    write(path, b"new")
    assert path.read_bytes() == b"new"


def test_csv_is_these_bytes() -> None:
    """A table is UTF-8 with LF; None is an empty cell, floats are as short as they are exact."""
    rows = [("a", 1, 0.1, None), ("größe", -2, 1e-05, 3.0), ("x,y", 0, 2 / 3, 'say "b"')]
    assert csv_bytes(("name", "n", "x", "y"), rows) == (
        b"name,n,x,y\n"
        b"a,1,0.1,\n"
        b"gr\xc3\xb6\xc3\x9fe,-2,1e-05,3.0\n"
        b'"x,y",0,0.6666666666666666,"say ""b"""\n'
    )


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=5)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(cells, cells), min_size=1))
def test_csv_is_read_back_as_it_was(rows: list[tuple[str, str]]) -> None:
    """Whatever the names of classes hold, commas, quotes or line feeds, they are read back."""
    text = io.StringIO(csv_bytes(("a", "b"), rows).decode(), newline="")
    assert [tuple(row) for row in csv.reader(text)] == [("a", "b"), *rows]


@given(finite)
def test_csv_keeps_every_bit_of_a_float(value: float) -> None:
    """A number is read back as the very same one."""
    _, row = csv_bytes(("x",), [(value,)]).splitlines()
    assert float(row) == value


def test_json_is_these_bytes() -> None:
    """Values are UTF-8 with LF, a line each, in the order given; None is null."""
    values = {"epoch": 1.5, "loss": 1e-05, "accuracy": None, "count": 3}
    assert json_bytes(values) == (
        b'{\n  "epoch": 1.5,\n  "loss": 1e-05,\n  "accuracy": null,\n  "count": 3\n}\n'
    )


@given(st.dictionaries(cells, st.none() | st.integers() | finite | cells))
def test_json_is_read_back_as_it_was(values: dict[str, object]) -> None:
    """Names and finite values are read back as they were."""
    assert json.loads(json_bytes(values)) == values


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_word_for_what_is_no_number(value: float) -> None:
    """Not a number and infinity are refused: JSON has neither, and DVC could not compare them."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes({"loss": value})
