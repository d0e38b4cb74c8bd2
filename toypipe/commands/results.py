"""Read the results in data/reports: those of this folder, or those of a commit."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import TypeAdapter

from toypipe.commands.git import file_at, find_commit
from toypipe.errors import ToypipeError
from toypipe.params.file import flatten

if TYPE_CHECKING:  # they import torch, which reading metrics does not need
    from toypipe.evaluation.metrics import ClassMetrics, Metrics
    from toypipe.training.state import Epoch

REPORTS = Path("data/reports")
ACCURACY = "test.accuracy"
Row = TypeVar("Row", bound=tuple[Any, ...])


class Results(NamedTuple):
    """The results of one run."""

    name: str  # the commit, as the user named it, or `this run`
    test: "Metrics"  # test.json
    epochs: list["Epoch"]  # loss.csv
    pairs: list[tuple[str, str]]  # confusion.csv: actual and predicted class of each image
    classes: list["ClassMetrics"]  # per_class.csv


def read_results(revision: str | None = None) -> Results:
    """Read all results of a commit, by any name that Git accepts, or of this folder.

    Raises ToypipeError for an unknown commit and for missing or damaged files.
    """
    from toypipe.evaluation.metrics import ClassMetrics, Metrics, balanced_accuracy
    from toypipe.training.state import Epoch

    metrics = read_metrics("test.json", revision)
    columns = ("class", *ClassMetrics._fields[1:])
    classes = _table("per_class.csv", revision, columns, ClassMetrics)
    # Commits from before it was written have no balanced accuracy.
    metrics = {"test.balanced_accuracy": balanced_accuracy(classes)} | metrics
    with _opened("test.json", revision):
        test = Metrics(*(float(metrics[f"test.{field}"]) for field in Metrics._fields))
    epochs = _table("loss.csv", revision, Epoch._fields, Epoch)
    pairs = _table("confusion.csv", revision, ("actual", "predicted"), tuple[str, str])
    return Results(revision or "this run", test, epochs, pairs, classes)


def read_metrics(name: str, revision: str | None = None) -> dict[str, Any]:
    """Read a JSON file of a commit or of this folder: `accuracy` in test.json is `test.accuracy`.

    Numbers are Decimals: in binary, 0.6714 - 0.6614 is more than 0.01. A file may also hold other
    values, see `is_number`. Raises ToypipeError for a missing or damaged file.
    """
    with _opened(name, revision) as text:
        values = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal)
        return dict(flatten(values, f"{name.removesuffix('.json')}."))


def is_number(value: Any) -> bool:
    """Tell numbers from null, NaN, infinities and words."""
    return isinstance(value, Decimal) and value.is_finite()


def percent(share: float) -> str:
    """Format a share in percent, without a line break before the sign."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


@contextmanager
def _opened(name: str, revision: str | None) -> Iterator[str]:
    """Return the text of a file in data/reports; refuse it if the block cannot parse it."""
    path, place = REPORTS / name, ""
    remedy = f"`dvc repro` or `git checkout -- {REPORTS}` restores it"
    if revision is not None:
        place, remedy, commit = f" of {revision}", "name another commit", find_commit(revision)
        try:
            text = file_at(commit, path)
        except ToypipeError:
            raise ToypipeError(
                f"the commit {revision} has no {path}, so there is nothing to compare with:"
                " name one in which a finished `dvc repro` was committed"
            ) from None
    elif path.exists():
        text = path.read_bytes().decode(errors="replace")
    else:
        raise ToypipeError(f"{path} does not exist: `dvc repro` makes it")
    try:
        yield text
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error):
        raise ToypipeError(f"{path}{place} is not what toypipe writes: {remedy}") from None


def _table(name: str, revision: str | None, columns: Sequence[str], kind: type[Row]) -> list[Row]:
    """Read a CSV file with these columns and at least one row; an empty cell is None."""
    row_type = TypeAdapter(kind)
    with _opened(name, revision) as text:
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        if tuple(header) != tuple(columns) or not rows:
            raise ValueError
        return [row_type.validate_python([cell or None for cell in row]) for row in rows]
