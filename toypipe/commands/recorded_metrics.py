"""The metrics that the stages have written: those that lie here, and those of any commit.

Numbers are read as decimals: 0.6714 is not 0.01 above 0.6614 in binary.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from toypipe.commands.git import file_at
from toypipe.errors import ToypipeError
from toypipe.params.file import flatten

REPORTS = Path("data/reports")
TEST_JSON = REPORTS / "test.json"
ACCURACY = "test.accuracy"


def read_here() -> dict[str, Any]:
    """Return every metric in data/reports: `test.accuracy` is the key `accuracy` of test.json.

    Raises:
        ToypipeError: A file is damaged.
    """
    files = sorted(REPORTS.glob("*.json"))
    return {
        key: value
        for path in files
        for key, value in _parse(path.read_text(encoding="utf-8"), path, str(path)).items()
    }


def accuracy_at(commit: str, name: str) -> Decimal:
    """Return the test accuracy that a commit records.

    Args:
        commit: The commit's hash.
        name: What the user calls it.

    Raises:
        ToypipeError: It records none.
    """
    try:
        text = file_at(commit, TEST_JSON)
    except ToypipeError as error:
        raise ToypipeError(
            f"{error}\nSo {name} records no test accuracy to compare with: take a commit that has"
            f" {TEST_JSON.as_posix()}"
        ) from None
    value: Any = _parse(text, TEST_JSON, f"{TEST_JSON.as_posix()} of {name}").get(ACCURACY)
    if not is_number(value):
        raise ToypipeError(
            f"{TEST_JSON.as_posix()} of {name} has no number for its accuracy, but {value}:"
            " there is nothing to compare with"
        )
    number: Decimal = value
    return number


def is_number(value: Any) -> bool:
    """Tell numbers from null, NaN, infinities and words."""
    return isinstance(value, Decimal) and value.is_finite()


def _parse(text: str, path: Path, name: str) -> dict[str, Any]:
    try:
        values = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal)
    except json.JSONDecodeError as error:
        values = str(error)
    if not isinstance(values, dict):
        raise ToypipeError(
            f"{name} holds no metrics ({values}): `dvc repro` writes it anew, or"
            f" `git checkout -- {path.as_posix()}` brings it back"
        )
    return dict(flatten(values, f"{path.stem}."))
