"""Bytes from elsewhere become values, or a refusal that names the file."""

import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from ruamel.yaml import YAML

from toypipe.data.files import csv_bytes
from toypipe.errors import ToypipeError
from toypipe.params.documents import LARGEST, LARGEST_TREE, Document

PATH = Path("a.file")
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = NUMBERS | st.none() | st.booleans() | st.text(st.characters(categories=["L", "N", "P"]))
TREES = st.dictionaries(
    st.text("abc", min_size=1),
    st.recursive(
        PLAIN, lambda below: st.lists(below) | st.dictionaries(st.text("xyz"), below), max_leaves=8
    ),
)


class Row(NamedTuple):
    """A row of the tables here."""

    name: str
    share: float
    size: int | None


class Tree(BaseModel):
    """A tree of which one branch is known."""

    stages: dict[str, list[str]]


def document(content: bytes | str) -> Document:
    """Return a document with this content."""
    return Document(PATH, content if isinstance(content, bytes) else content.encode(), "Mend it")


def refused(read: Any) -> str:
    """Return the one line that says why."""
    with pytest.raises(ToypipeError) as caught:
        read()
    (line,) = str(caught.value).split("\n")
    assert line.startswith("a.file")
    assert line.endswith(". Mend it")
    return line


READERS: dict[str, Callable[[bytes | str], Any]] = {
    "json": lambda content: document(content).json(),
    "yaml": lambda content: document(content).yaml(Tree),
    "table": lambda content: document(content).table(Row._fields, Row),
}


@pytest.mark.parametrize("reader", READERS)
@given(st.binary() | st.text('{}[]",:\n-&*|<>#% \t01eE\\', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(reader: str, content: bytes) -> None:
    """Nothing but a ToypipeError about this file is raised."""
    try:
        READERS[reader](content)
    except ToypipeError as error:
        assert str(error).startswith("a.file")  # noqa: PT017 - it may also be read


@settings(max_examples=30)
@given(TREES)
def test_json_is_read_as_the_standard_library_reads_it(tree: dict[str, Any]) -> None:
    """With Decimals for numbers."""
    expected = json.loads(text := json.dumps(tree), parse_float=Decimal, parse_int=Decimal)
    assert document(text).json() == expected


@settings(max_examples=20)
@given(TREES)
def test_yaml_is_read_as_ruamel_reads_it(tree: dict[str, Any]) -> None:
    """Every JSON that is printed on one line is YAML, too."""
    text = json.dumps(tree)
    assert document(text).yaml(dict[str, Any]) == YAML(typ="safe", pure=True).load(text)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1),
            st.floats(allow_nan=False),
            st.integers() | st.none(),
        ),
        min_size=1,
    )
)
def test_tables_are_read_as_they_were_written(rows: list[tuple[Any, ...]]) -> None:
    """With line breaks and quotes in cells; an empty cell is None."""
    assert document(csv_bytes(Row._fields, rows)).table(Row._fields, Row) == rows


@pytest.mark.parametrize(
    ("reader", "content", "found"),
    [
        ("json", b'{"a": "caf\xe9"}', "a.file:1: not UTF-8 (byte 10)"),
        ("yaml", b"a: 1\nb: \xff\n", "a.file:2: not UTF-8"),
        ("table", b"name,share,size\n\xff,1,1\n", "a.file:2: not UTF-8"),
        ("json", "[" * 90_000, "nested too deeply"),
        ("json", '{"a":' * 60 + "1" + "}" * 60, "nested deeper than 50 levels"),
        ("yaml", "[" * 3_000, "nested too deeply"),
        ("json", "{}" + " " * LARGEST_TREE, "larger than 100000 bytes"),
        ("yaml", "#" * (LARGEST_TREE + 1), "larger than 100000 bytes"),
        ("table", b"x" * (LARGEST + 1), f"larger than {LARGEST} bytes"),
        ("json", "", "not JSON: Expecting value"),
        ("json", "null", "expected names and their values, but found a NoneType"),
        ("json", '{"a": 1e99999999999999999999999}', "the number 1e999999999999999999... is out"),
        ("json", '{"a": -1e400}', "out of range"),
        ("json", '{"a": 1e-99999999999999999999999}', "out of range"),
        ("json", '{"a": %s}' % ("9" * 5000), "the number 99999999999999999999... is out of range"),
        ("json", '{\n<<<<<<< HEAD\n"a": 1\n', "a.file:2: found <<<<<<<, a conflict"),
        ("yaml", "a: 1\n<<<<<<< HEAD\nb: 2\n=======\n", "a.file:2: found <<<<<<<, a conflict"),
        ("table", "name,share,size\n<<<<<<< HEAD\n", "a.file:2: found <<<<<<<, a conflict"),
        ("yaml", "stages:\n\ta: 1\n", "a.file:2: not YAML: found character '\\t'"),
        ("yaml", "", "it should be names and their values, but found nothing"),
        ("yaml", "- 1\n", "it should be names and their values, but found a list"),
        ("yaml", "a: 1\n", "stages is missing"),
        ("yaml", "stages:\n", "stages should be names and their values, but found nothing"),
        ("yaml", "stages: {a: }\n", "stages.a should be a list, but found nothing"),
        ("yaml", "stages: {a: [1]}\n", "stages.a.0 should be text, but found a int"),
        ("yaml", "a: 1\na: 2\n", "a.file:2: not YAML: found duplicate key"),
        ("yaml", "a: &a [*a]\n", "nested deeper than 50 levels"),
        ("yaml", "a: !!int x\n", "a value is not valid"),
        ("yaml", "a: !!python/object:os.system x\n", "a.file:1: not YAML: could not determine"),
        ("table", "", "a.file:1: expected the columns name,share,size"),
        ("table", "a,b\n", "a.file:1: expected the columns name,share,size"),
        ("table", "name,share,size\n", "has no rows"),
        ("table", "name,share,size\nx,1,1\nx,1\n", "a.file:3: not a row of name,share,size"),
        ("table", "name,share,size\nx,1,1.5\n", "a.file:2: not a row of name,share,size"),
        ("table", f"name,share,size\n{'x' * 200_000},1,1\n", "a.file:2: not CSV: field larger"),
        ("table", f"name,share,size\nx,1,{'9' * 5000}\n", "a.file:2: not a row"),
    ],
)
def test_what_is_wrong_is_said(reader: str, content: bytes | str, found: str) -> None:
    """The message has the line, where there is one, what was found, and what to do."""
    assert found in refused(lambda: READERS[reader](content))


def _bomb(levels: int, form: str) -> str:
    lines = ["a0: &a0 {x: 1}"]
    for i in range(1, levels):
        keys = ", ".join(form.format(j=j, i=i - 1) for j in range(9))
        lines.append(f"a{i}: &a{i} {{{keys}}}")
    return "\n".join(lines)


@pytest.mark.parametrize("form", ["k{j}: *a{i}", "<<: [*a{i}, *a{i}], k{j}: *a{i}"])
def test_aliases_that_unfold_without_end_are_refused(form: str) -> None:
    """Nine levels of nine are four hundred million values in some hundred bytes."""
    assert "holds too much" in refused(lambda: document(_bomb(10, form)).yaml(dict[str, Any]))


def test_a_commit_is_named() -> None:
    """The line stands beside the file, the commit after it."""
    broken = Document(PATH, b"\n[", commit="HEAD~1")
    with pytest.raises(ToypipeError, match=r"^a\.file:2 of HEAD~1: not JSON"):
        broken.json()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_json_holds_is_read_exactly(number: float) -> None:
    """Its Decimal is the number as it was printed, and is the same float64."""
    (found,) = document(json.dumps({"a": number})).json().values()

    assert str(found) == str(Decimal(repr(number)))
    assert math.copysign(1, found) == math.copysign(1, number)
    assert float(found) == number
