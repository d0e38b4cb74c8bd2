"""Read the results in data/reports: those of this folder, or those of a commit."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toypipe.commands.git import file_at, find_commit
from toypipe.errors import ToypipeError
from toypipe.params.documents import LARGEST, Document
from toypipe.params.file import flatten

if TYPE_CHECKING:  # they import torch, which reading metrics does not need
    from toypipe.evaluation.metrics import ClassMetrics, Metrics
    from toypipe.training.state import Epoch

REPORTS = Path("data/reports")
ACCURACY = "test.accuracy"


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

    metrics, columns = _document("test.json", revision), ("class", *ClassMetrics._fields[1:])
    table = _document("per_class.csv", revision)
    classes = table.table(columns, ClassMetrics)
    if not any(each.support > 0 for each in classes):
        table.refuse("no class has images")
    # Commits from before it was written have no balanced accuracy.
    values = {"balanced_accuracy": Decimal(balanced_accuracy(classes))} | metrics.json()
    fields = Metrics._fields
    if lacking := [field for field in fields if not is_number(values.get(field))]:
        metrics.refuse(f"expected a number for {' and '.join(lacking)}")
    test = Metrics(*(float(values[field]) for field in fields))
    epochs = _document("loss.csv", revision).table(Epoch._fields, Epoch)
    pairs = _document("confusion.csv", revision).table(("actual", "predicted"), tuple[str, str])
    return Results(revision or "this run", test, epochs, pairs, classes)


def read_metrics(name: str, revision: str | None = None) -> dict[str, Any]:
    """Read a JSON file of a commit or of this folder: `accuracy` in test.json is `test.accuracy`.

    Numbers are Decimals: in binary, 0.6714 - 0.6614 is more than 0.01. A file may also hold other
    values, see `is_number`. Raises ToypipeError for a missing or damaged file.
    """
    return dict(flatten(_document(name, revision).json(), f"{name.removesuffix('.json')}."))


def accuracy_at(revision: str) -> Decimal:
    """Return the test accuracy of a commit; ToypipeError if it has none."""
    accuracy = read_metrics("test.json", revision).get(ACCURACY)
    if not isinstance(accuracy, Decimal) or not is_number(accuracy):
        word = "null" if accuracy is None else str(accuracy)  # as the file has it
        raise ToypipeError(
            f"{ACCURACY} of {revision} is {word}, which is not a number, so there is nothing to"
            " compare with: name another commit"
        )
    return accuracy


def is_number(value: Any) -> bool:
    """Tell numbers from null, NaN, infinities and words."""
    return isinstance(value, Decimal) and value.is_finite()


def percent(share: float) -> str:
    """Format a share in percent, without a line break before the sign."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _document(name: str, revision: str | None) -> Document:
    """Return a file in data/reports, of a commit or of this folder."""
    path = REPORTS / name
    if revision is None:
        if not path.exists():
            raise ToypipeError(f"{path} does not exist: `dvc repro` makes it")
        return Document.read(path, f"`dvc repro` or `git checkout -- {REPORTS}` restores it")
    content = file_at(find_commit(revision), path, LARGEST + 1)
    if content is None:
        raise ToypipeError(
            f"the commit {revision} has no {path}, so there is nothing to compare with:"
            " name one in which a finished `dvc repro` was committed"
        )
    return Document(path, content, "Name another commit", revision)
