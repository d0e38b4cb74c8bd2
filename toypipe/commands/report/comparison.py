"""A run against the one in a commit: is it better, and is that more than noise?"""

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from toypipe.commands.git import file_at, find_commit
from toypipe.commands.report.provenance import PARAMS, differences
from toypipe.commands.results import Results, percent
from toypipe.errors import ToypipeError
from toypipe.evaluation.mcnemar import compare
from toypipe.params.schema import Params
from toypipe.pipeline.inputs import flatten

SIGNIFICANT = 0.05


def describe_change(
    now: Results, then: Results | None, against: str | None, params: Params
) -> dict[str, Any]:
    """Say, for the page, how two runs differ.

    Args:
        now: The results that lie here.
        then: Those to compare with, if any.
        against: The commit that holds them.
        params: The parameters that lie here.
    """
    if then is None or against is None:
        return {"change": None, "changes": []}
    difference = now.test["accuracy"] - then.test["accuracy"]
    certain, reason = _judge(now, then, against)
    points = abs(100 * difference)
    headline = (
        f"{points:{'.1f' if points >= 0.1 else '.2g'}} points"
        f" {'more' if difference > 0 else 'less'} than {against}:"
        f" {'more than noise' if certain else 'may be noise'}."
        if difference
        else f"As accurate as {against}."
    )
    change = {
        "direction": ("better" if difference > 0 else "worse") if certain else "unclear",
        "headline": headline,
        "reason": reason,
        "accuracy": percent(then.test["accuracy"]),
        "at": round(100 * then.test["accuracy"], 3),
    }
    return {"against": against, "change": change, "changes": list(_changes(against, params))}


def _judge(now: Results, then: Results, against: str) -> tuple[bool, str]:
    """Return whether two runs differ by more than noise, and why one may say so."""
    if now.actual == then.actual:
        gained, lost, p_value = compare(then.right, now.right)
        chance = f"{p_value:.2g}" if p_value >= 1e-4 else "less than 0.0001"
        return p_value < SIGNIFICANT, (
            f"Both were measured on the same {len(now.pairs):,} images and are compared image by"
            f" image: {gained:,} are right only now, {lost:,} were right only in {against}. If both"
            " networks were equally good, chance alone would split these at least so unevenly with"
            f" probability {chance} (McNemar's exact test). This is about these two networks;"
            " another seed makes another one."
        )
    apart = (
        now.test["accuracy_low"] > then.test["accuracy_high"]
        or then.test["accuracy_low"] > now.test["accuracy_high"]
    )
    low, high = percent(then.test["accuracy_low"]), percent(then.test["accuracy_high"])
    return apart, (
        "They were measured on different images, so only the 95 % intervals can be compared:"
        f" that of {against} is {low} to {high}, and the two"
        f" {'do not overlap' if apart else 'overlap, which decides nothing'}."
    )


def _changes(against: str, params: Params) -> Iterator[tuple[str, str, str]]:
    """Yield the parameters that differ from a commit's: key, value then, value now."""
    try:
        values = YAML(typ="safe", pure=True).load(file_at(find_commit(against), PARAMS))
    except (ToypipeError, YAMLError):
        values = None
    if isinstance(values, dict):
        yield from differences(dict(flatten(values)), dict(flatten(params.model_dump())))
