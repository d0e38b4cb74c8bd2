"""`toypipe gate`: are the metrics good enough? The exit code tells CI."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError

from toypipe.commands.git import find_commit, git
from toypipe.commands.results import ACCURACY, REPORTS, accuracy_at, is_number, read_metrics
from toypipe.errors import ToypipeError, printable
from toypipe.pipeline.record import describe_changes


def run(
    least: Sequence[str], most: Sequence[str], max_drop: str | None, against: str | None
) -> bool:
    """Compare the metrics of data/reports with bounds, print what is found, return if all hold.

    A value that is not a number violates all bounds: `least` and `most` of the form METRIC=VALUE,
    and `max_drop`, how far the test accuracy may lie below that of the commit `against`. Raises
    ToypipeError for no bound at all, for one that makes no sense, and if the test metrics are not
    those of the network here.
    """
    if (max_drop is None) != (against is None):
        raise ToypipeError("--max-drop VALUE and --against REV go together: give both")
    if not (least or most or against):
        raise ToypipeError(
            "there is nothing to check: give --min METRIC=VALUE, --max METRIC=VALUE, or"
            " --max-drop VALUE --against REV"
        )
    _check_record()
    names = sorted(path.name for path in REPORTS.glob("*.json"))
    metrics = {key: value for name in names for key, value in read_metrics(name).items()}
    checks = list[tuple[str, Any, str, Decimal]]()  # what, its value, least or most, the bound
    for option, texts, word in (("--min", least, "least"), ("--max", most, "most")):
        for text in texts:
            metric, _, value = text.partition("=")
            bound = _number(f"{option} {metric}={value}", value, f"{ACCURACY}=0.65")
            checks.append((metric, _find(metrics, metric), word, bound))
    if max_drop is not None and against is not None:
        bound = _number("--max-drop", max_drop, "0.01")
        if bound < 0:
            raise ToypipeError(f"--max-drop {max_drop}: expected 0 or more, such as 0.01")
        now, then = _find(metrics, ACCURACY), _accuracy_at(against)
        what = f"the drop of {ACCURACY} from {then} at {against} to {_word(now)}"
        checks.append((what, then - now if is_number(now) else now, "most", bound))

    holding, violated = list[str](), list[str]()
    for what, value, word, bound in checks:
        if is_number(value) and (value >= bound if word == "least" else value <= bound):
            holding.append(f"{what} is {value}, at {word} {bound}")
        else:
            violated.append(f"violated: {what} is {_word(value)}, should be at {word} {bound}")
    for line in violated or [f"holds: {'; '.join(holding)}"]:
        print(printable(line))
    return not violated


def _check_record() -> None:
    """Warn of metrics that dvc.lock does not record; refuse those of another network."""
    changes, mixed = describe_changes()
    if mixed:
        raise ToypipeError(changes)
    if changes:
        print(printable(changes), file=sys.stderr)


def _number(option: str, text: str, example: str) -> Decimal:
    try:
        return TypeAdapter(Decimal).validate_python(text)  # refuses nan and infinities, too
    except ValidationError:
        raise ToypipeError(f"{option}: expected a number, such as {example}") from None


def _find(metrics: dict[str, Any], name: str) -> Any:
    if not metrics:
        raise ToypipeError(
            f"there are no metrics in {REPORTS}: `dvc repro` makes them, and `git checkout --"
            f" {REPORTS}` restores those of the last commit"
        )
    if name not in metrics:
        raise ToypipeError(f"there is no metric {name}; there are: {', '.join(metrics)}")
    return metrics[name]


def _accuracy_at(against: str) -> Decimal:
    unchanged = not git("status", "--porcelain", "--", str(REPORTS))
    if find_commit(against) == find_commit("HEAD") and unchanged:
        raise ToypipeError(
            f"--against {against} is the commit that you stand on, and {REPORTS} is as committed"
            " there: the results would be compared with themselves. Name an earlier commit, such"
            " as HEAD~1 or the branch that this one started from"
        )
    return accuracy_at(against)


def _word(value: Any) -> str:
    return "null" if value is None else str(value)  # as the file has it
