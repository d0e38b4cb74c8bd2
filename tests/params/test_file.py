"""Which files are read as parameters, and what is said of others."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from parameter_files import FILE, TEXT, edit, lines_of, read, refused

from synthetic import PARAMS
from toypipe.errors import ToypipeError
from toypipe.params.file import flatten, read_params
from toypipe.params.schema import Params


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), ("1", 1.0), ("5E-1", 0.5)])
def test_number_is_read_as_yaml_1_2(text: str, value: float) -> None:
    """An exponent needs no dot to make a number, and an integer is one."""
    optimizer = read(edit(TEXT, "train.optimizer.lr", text)).train.optimizer
    assert isinstance(optimizer.lr, float)
    assert optimizer.lr == value


def test_byte_order_mark_and_crlf_do_no_harm() -> None:
    """A file that a Windows editor has saved says the same."""
    FILE.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert read_params(FILE) == read_params(PARAMS)


def test_duplicate_key_is_reported_at_its_line() -> None:
    """A duplicate key is refused at the second of its lines."""
    text = TEXT.replace("  seed: 0\n", "  seed: 0\n  seed: 1\n")
    (line,) = refused(text)
    assert line.startswith(f"params.yaml:{lines_of(text)['train.seed']}: ")
    assert "the key seed is a duplicate" in line


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
        ("train\n", "found a str"),
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


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_named_pipe_is_not_waited_for() -> None:
    """A named pipe into which nobody writes is refused at once."""
    os.mkfifo(FILE)
    with pytest.raises(ToypipeError, match=r"params\.yaml cannot be read: not a regular file"):
        read_params(FILE)


def test_huge_file_is_refused() -> None:
    """A file far too large to hold parameters is not even parsed."""
    assert "larger than" in refused(TEXT + "#" * 100_000)[0]


def _aliases(levels: int, nested: str) -> str:
    bomb = "z0: &z0 {x: 1}\n"
    for i in range(1, levels):
        bomb += f"z{i}: &z{i} {nested.format(', '.join([f'*z{i - 1}'] * 9))}\n"
    return bomb


def test_flatten_joins_keys_with_dots() -> None:
    """Nested values are yielded by their dotted keys, in their order; lists stay whole."""
    nested = {"b": {"x": 1, "c": {"y": [2, 3]}}, "a": None}
    assert list(flatten(nested)) == [("b.x", 1), ("b.c.y", [2, 3]), ("a", None)]


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
