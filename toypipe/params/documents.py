"""YAML, JSON and CSV from elsewhere: whatever the bytes are, they become values or a refusal."""

import csv
import io
import json
import math
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode
from ruamel.yaml.reader import ReaderError

from toypipe.errors import ToypipeError
from toypipe.params.regular import open_regular

LARGEST = 2**23  # bytes of a table; two million rows, the most, take 200 MB and seconds
LARGEST_TREE = 100_000  # bytes of YAML, which takes seconds to read, or of JSON
DEEPEST, WIDEST = 50, 100_000  # levels of a tree, and values on one of them
LONGEST = 400  # characters of a number; the largest float64 has 309 digits
EXPECTED = {"list_type": "a list", "string_type": "text"}  # by the error of Pydantic
CONFLICT = re.compile(r"^<{7} ", re.MULTILINE)  # where Git could not merge
Model = TypeVar("Model")


@dataclass(frozen=True)
class Document:
    """The bytes of a file, here or of a commit, that may hold anything."""

    path: Path
    content: bytes
    remedy: str = ""  # a sentence: what to do if they are not what they should be
    commit: str = ""  # as the user named it

    @classmethod
    def read(cls, path: Path, remedy: str = "") -> "Document":
        """Read a file, but no more than is ever accepted; OSError if it cannot be read."""
        with open_regular(path) as file:
            return cls(path, file.read(LARGEST + 1), remedy)

    def refuse(self, problem: str, line: int | None = None) -> NoReturn:
        """Raise ToypipeError: where, what was found, what to do."""
        place = f"{self.path}:{line}" if line else str(self.path)
        place += f" of {self.commit}" if self.commit else ""
        raise ToypipeError(f"{place}: {problem}{f'. {self.remedy}' if self.remedy else ''}")

    def compose(self) -> Node | None:
        """Return the nodes of a YAML file, None for an empty one; aliases are not unfolded."""
        text = self.text()
        try:
            with warnings.catch_warnings(action="ignore", category=ReusedAnchorWarning):
                root: Node | None = YAML(typ="safe", pure=True).compose(text)
        except ReaderError as error:
            self.refuse(f"not YAML: {error.reason}", text[: error.position].count("\n") + 1)
        except MarkedYAMLError as error:
            self._refuse_yaml(error)
        except RecursionError:
            self.refuse("nested too deeply", 1)
        return root

    def yaml(self, kind: type[Model]) -> Model:
        """Read a YAML file as a type of Pydantic's."""
        root, values = self.compose(), None
        try:
            if root is not None:
                self._require_bounded(root, _below)
                values = YAML(typ="safe", pure=True).constructor.construct_document(root)
            return TypeAdapter(kind).validate_python(values)
        except ToypipeError:
            raise
        except MarkedYAMLError as error:
            self._refuse_yaml(error)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            what = ".".join(map(str, first["loc"])) or "it"
            if first["type"] == "missing":
                self.refuse(f"{what} is missing")
            found = "nothing" if first["input"] is None else f"a {type(first['input']).__name__}"
            expected = EXPECTED.get(first["type"], "names and their values")
            self.refuse(f"{what} should be {expected}, but found {found}")
        except (YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
            self.refuse(f"a value is not valid: {error}")

    def json(self) -> dict[str, Any]:
        """Read a JSON file that holds named values; its numbers are Decimals."""
        text = self.text()
        try:
            values = json.loads(
                text, parse_float=_number, parse_int=_number, parse_constant=Decimal
            )
        except json.JSONDecodeError as error:
            self.refuse(f"not JSON: {error.msg}", error.lineno)
        except RecursionError:
            self.refuse("nested too deeply")
        except ValueError as error:
            self.refuse(str(error))
        if not isinstance(values, dict):
            self.refuse(f"expected names and their values, but found a {type(values).__name__}")
        self._require_bounded(
            values, lambda value: value.values() if isinstance(value, dict) else _items(value)
        )
        return values

    def table(self, columns: Sequence[str], kind: type[Model]) -> list[Model]:
        """Read a CSV file with these columns and at least one row; an empty cell is None."""
        row_type = TypeAdapter(kind)
        rows = csv.reader(io.StringIO(self.text(LARGEST), newline=""), strict=True)
        try:
            if next(rows, None) != list(columns):
                self.refuse(f"expected the columns {','.join(columns)}", 1)
            found = [row_type.validate_python([cell or None for cell in row]) for row in rows]
        except csv.Error as error:
            self.refuse(f"not CSV: {error}", rows.line_num)
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            self.refuse(f"not a row of {','.join(columns)}: {message}", rows.line_num)
        if not found:
            self.refuse("has no rows")
        return found

    def text(self, largest: int = LARGEST_TREE) -> str:
        """Return the text of a file that is no larger than so many bytes."""
        if len(self.content) > largest:
            self.refuse(f"larger than {largest} bytes", 1)
        try:
            text = self.content.decode()
        except UnicodeDecodeError as error:
            line = self.content[: error.start].count(b"\n") + 1
            self.refuse(f"not UTF-8 (byte {error.start}): save it as UTF-8", line)
        if conflict := CONFLICT.search(text):
            line = text[: conflict.start()].count("\n") + 1
            self.refuse("found <<<<<<<, a conflict that Git could not merge: solve it", line)
        return text

    def _refuse_yaml(self, error: MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context).splitlines()[0]
        self.refuse(f"not YAML: {problem}", mark.line + 1 if mark else None)

    def _require_bounded(self, root: Any, children: Callable[[Any], Iterable[Any]]) -> None:
        """Refuse a tree that is too deep, or unfolds to too much through its aliases."""
        level = [root]
        for _ in range(DEEPEST):
            level = list(islice(chain.from_iterable(map(children, level)), WIDEST + 1))
            if not level:
                return
            if len(level) > WIDEST:
                break
        self.refuse(f"nested deeper than {DEEPEST} levels, or holds too much")


def _below(node: Node) -> Iterable[Node]:
    if isinstance(node, ScalarNode):
        return ()
    items = node.value
    return chain.from_iterable(items) if items and isinstance(items[0], tuple) else items


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def _number(text: str) -> Decimal:
    """Read a number of JSON; ValueError for one that no float64 and no reader can hold."""
    try:
        if len(text) <= LONGEST and math.isfinite(float(text)):
            return Decimal(text)
    except InvalidOperation:
        pass
    raise ValueError(f"the number {text[:20]}... is out of range")
