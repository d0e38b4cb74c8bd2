"""What a finished run has left in data/reports, now or in a commit."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toypipe.commands.git import file_at, find_commit
from toypipe.errors import ToypipeError

REPORTS = Path("data/reports")
EPOCH = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "learning_rate")
VALIDATION = {"validation_loss", "validation_accuracy"}
CLASS = ("class", "precision", "recall", "f1", "support")


@dataclass(frozen=True)
class Results:
    """The figures of one run."""

    test: dict[str, float]
    """test.json."""
    epochs: list[dict[str, float | None]]
    """loss.csv, a row for each epoch; None where there was no validation."""
    pairs: list[tuple[str, str]]
    """confusion.csv: actual and predicted class of each image."""
    figures: dict[str, dict[str, float]]
    """per_class.csv: precision, recall, F1 and number of images, by class."""

    @property
    def actual(self) -> list[str]:
        """The class of each image."""
        return [actual for actual, _ in self.pairs]

    @property
    def right(self) -> list[bool]:
        """Whether each image is classified right."""
        return [actual == predicted for actual, predicted in self.pairs]


def read_results() -> Results:
    """Read the results that lie here.

    Raises:
        ToypipeError: Some of them are missing or damaged.
    """

    def read(path: Path) -> bytes:
        if not path.exists():
            raise ToypipeError(f"{path} does not exist: `dvc repro` makes it")
        return path.read_bytes()

    return _parse(read, "`dvc repro` makes it anew")


def read_commit(revision: str) -> Results:
    """Read the results that a commit holds.

    Args:
        revision: Any name that Git knows it by.

    Raises:
        ToypipeError: There is no such commit, or no results in it.
    """
    commit = find_commit(revision)

    def read(path: Path) -> bytes:
        try:
            return file_at(commit, path).encode()
        except ToypipeError:
            raise ToypipeError(
                f"the commit {revision} has no {path}, so there is nothing to compare with:"
                " name one that a finished `dvc repro` was committed in"
            ) from None

    return _parse(read, f"name another commit than {revision}")


def _parse(read: Callable[[Path], bytes], remedy: str) -> Results:
    test, loss, confusion, classes = (
        (REPORTS / name, read(REPORTS / name))
        for name in ("test.json", "loss.csv", "confusion.csv", "per_class.csv")
    )
    try:
        name, content = test
        values = json.loads(content)
        metrics = {
            key: float(values[key]) for key in ("accuracy", "accuracy_low", "accuracy_high", "loss")
        }
        name, content = loss
        epochs = [
            {
                key: None if not cell and key in VALIDATION else float(cell)
                for key, cell in row.items()
            }
            for row in _rows(content, EPOCH)
        ]
        name, content = confusion
        pairs = [
            (row["actual"], row["predicted"]) for row in _rows(content, ("actual", "predicted"))
        ]
        name, content = classes
        figures = {
            row.pop("class"): {key: float(cell) for key, cell in row.items()}
            for row in _rows(content, CLASS)
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ToypipeError(f"{name} is not what toypipe writes: {remedy}") from None
    return Results(metrics, epochs, pairs, figures)


def _rows(content: bytes, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a table that has these columns and at least one row."""
    reader = csv.DictReader(io.StringIO(content.decode(), newline=""))
    rows = list(reader)
    if tuple(reader.fieldnames or ()) != tuple(columns) or not rows:
        raise ValueError
    return rows


def percent(share: float | None) -> str:
    """Write a share in percent, in one piece."""
    return "none" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
