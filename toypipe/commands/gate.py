"""`toypipe gate`: are the metrics good enough? For CI, which goes by the exit code."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from toypipe.commands.git import find_commit
from toypipe.commands.recorded_metrics import ACCURACY, REPORTS, accuracy_at, is_number, read_here
from toypipe.errors import ToypipeError


@dataclass(frozen=True)
class Check:
    """One bound on one number."""

    fact: str
    """What was found, in words."""
    bound: str
    """What was asked for."""
    holds: bool


def gate(
    minima: Sequence[str], maxima: Sequence[str], max_drop: str | None, against: str | None
) -> list[Check]:
    """Compare the metrics of data/reports with bounds. What is no number is within none.

    Args:
        minima: METRIC=VALUE: the smallest value that will do.
        maxima: METRIC=VALUE: the largest.
        max_drop: How far the test accuracy may lie below that of `against`.
        against: A commit.

    Returns:
        A check for each bound.

    Raises:
        ToypipeError: There is nothing to check, or what is asked for makes no sense.
    """
    if (max_drop is None) != (against is None):
        raise ToypipeError(
            "--max-drop VALUE and --against REV go together: by how much, and from what"
        )
    if not (minima or maxima or against):
        raise ToypipeError(
            "there is nothing to check: say --min METRIC=VALUE, --max METRIC=VALUE, or"
            " --max-drop VALUE --against REV"
        )
    metrics = read_here()
    checks = []
    for text in minima:
        name, least = _assignment("--min", text)
        checks.append(_check(name, _find(metrics, name), least=least))
    for text in maxima:
        name, most = _assignment("--max", text)
        checks.append(_check(name, _find(metrics, name), most=most))
    if max_drop is not None and against is not None:
        most = _number("--max-drop", max_drop, "0.01")
        if most < 0:
            raise ToypipeError(f"--max-drop {max_drop}: expected 0 or more, such as 0.01")
        now, then = _find(metrics, ACCURACY), accuracy_at(find_commit(against), against)
        subject = f"the drop of {ACCURACY} from {then} at {against} to {_word(now)}"
        checks.append(_check(subject, then - now if is_number(now) else now, most=most))
    return checks


def _check(
    subject: str, value: Any, *, least: Decimal | None = None, most: Decimal | None = None
) -> Check:
    holds = (
        is_number(value) and (least is None or value >= least) and (most is None or value <= most)
    )
    bound = f"at least {least}" if least is not None else f"at most {most}"
    return Check(f"{subject} is {_word(value)}", bound, holds)


def _assignment(option: str, text: str) -> tuple[str, Decimal]:
    name, _, value = text.partition("=")
    return name, _number(f"{option} {name}={value}", value, f"{ACCURACY}=0.65")


def _number(option: str, text: str, example: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise ToypipeError(f"{option}: expected a number, such as {example}")
    return number


def _find(metrics: dict[str, Any], name: str) -> Any:
    if not metrics:
        raise ToypipeError(
            f"there are no metrics in {REPORTS.as_posix()}: `dvc repro` makes them, and"
            f" `git checkout -- {REPORTS.as_posix()}` brings back those of the last commit"
        )
    if name not in metrics:
        raise ToypipeError(f"there is no metric {name}, but: {', '.join(metrics)}")
    return metrics[name]


def _word(value: Any) -> str:
    return "null" if value is None else str(value)  # as it stands in the file


def say(checks: Sequence[Check]) -> bool:
    """Print each bound that is violated, or what holds; return whether all hold."""
    violated = [check for check in checks if not check.holds]
    for check in violated:
        print(f"violated: {check.fact}, should be {check.bound}")
    if not violated:
        print("holds: " + "; ".join(f"{check.fact}, {check.bound}" for check in checks))
    return not violated
