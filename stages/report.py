"""`toypipe report`: the results of a run as one page that needs no network."""

import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.charts import bundle, curves
from stages.files import whole
from stages.inputs import flatten
from stages.results import Results, committed, git, read_commit, read_results
from toypipe.comparison import compare
from toypipe.errors import ToypipeError
from toypipe.params import Params
from toypipe.params_file import read_params

PAGE = Path("data/reports/index.html")
PARAMS = Path("params.yaml")
CHECKPOINT, TEST_IMAGES = Path("data/model/checkpoint.pt"), Path("data/prepared/test.pt")
TRACKED = ("params.yaml", "dvc.yaml", "dvc.lock", "data/reports", "stages", "toypipe")
LARGEST_MATRIX = 40  # classes; more are told in words only
SIGNIFICANT = 0.05


def run(against: str | None) -> Path:
    """Write the page.

    Args:
        against: A commit to compare with, by any name that Git knows it by.

    Returns:
        Where it is.

    Raises:
        ToypipeError: There are no results here, or none in that commit.
    """
    now, params = read_results(), read_params(PARAMS)
    then = read_commit(against) if against is not None else None
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # class names come from folder names, and may be anything
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    content = {
        **_verdict(now, params),
        **_comparison(now, then, against, params),
        **_training(now, then, against, params),
        **_confusion(now),
        "classes": list(_classes(now, then)),
        **_mistakes(now, params),
        **_origin(params),
        "bundle": bundle(),
    }
    page = templates.get_template("report.html").render(content)
    with whole(PAGE) as file:
        file.write(page.encode())
    return PAGE


def _verdict(now: Results, params: Params) -> dict[str, Any]:
    frequent = Counter(now.actual).most_common(1)[0][1] / len(now.pairs)
    last, test = now.epochs[-1], now.test
    facts = [("test loss", f"{test['loss']:.4f} nats"), ("train loss", f"{last['train_loss']:.4f}")]
    if last["validation_accuracy"] is not None:
        facts.append(("validation accuracy", _percent(last["validation_accuracy"])))
    weakest = min(now.figures, key=lambda name: now.figures[name]["f1"])
    facts.append(("weakest class", f"{weakest}, F1 {now.figures[weakest]['f1']:.3f}"))
    shares = {
        "low": test["accuracy_low"],
        "high": test["accuracy_high"],
        "accuracy": test["accuracy"],
        "chance": frequent,
    }
    dataset = params.prepare.dataset
    return {
        "subtitle": f"network {_network(params)}, trained on"
        f" {getattr(dataset, 'path', 'CIFAR-10')} for {params.train.epochs:g} epochs",
        "images": f"{len(now.pairs):,}",
        "scale": {name: round(100 * share, 3) for name, share in shares.items()},
        "facts": facts,
        **{name: _percent(share) for name, share in shares.items()},
    }


def _network(params: Params) -> str:
    model = params.train.model
    return getattr(model, "arch", model.name)


def _comparison(
    now: Results, then: Results | None, against: str | None, params: Params
) -> dict[str, Any]:
    if then is None or against is None:
        return {"change": None, "changes": []}
    difference = now.test["accuracy"] - then.test["accuracy"]
    certain, reason = _judge(now, then, against)
    points = f"{abs(100 * difference):.1f} points {'more' if difference > 0 else 'less'}"
    headline = f"{points} than {against}" if difference else f"As accurate as {against}"
    change = {
        "direction": ("better" if difference > 0 else "worse") if certain else "unclear",
        "headline": f"{headline}: {'more than noise.' if certain else 'no more than noise.'}",
        "reason": reason,
        "accuracy": _percent(then.test["accuracy"]),
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
    low, high = _percent(then.test["accuracy_low"]), _percent(then.test["accuracy_high"])
    return apart, (
        "They were measured on different images, so only the 95 % intervals can be compared:"
        f" that of {against} is {low} to {high}, and the two"
        f" {'do not overlap' if apart else 'overlap, which decides nothing'}."
    )


def _changes(against: str, params: Params) -> Iterator[tuple[str, str, str]]:
    """Yield the parameters that differ from a commit's: key, value then, value now."""
    try:
        values = YAML(typ="safe", pure=True).load(committed(against, PARAMS) or b"")
    except YAMLError:
        values = None
    if isinstance(values, dict):
        yield from _differing(dict(flatten(values)), dict(flatten(params.model_dump())))


def _differing(then: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key in dict.fromkeys([*then, *now]):
        if then.get(key) != now.get(key):
            yield key, _value(then.get(key)), _value(now.get(key))


def _value(value: Any) -> str:
    """Write a parameter as params.yaml has it."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _training(
    now: Results, then: Results | None, against: str | None, params: Params
) -> dict[str, Any]:
    runs = {"now": now} | ({against: then} if then is not None and against is not None else {})
    first, last = now.epochs[0], now.epochs[-1]
    columns = {"train_loss": "training", "validation_loss": "validation"}
    if last["validation_loss"] is None:
        del columns["validation_loss"]
    losses = f"The mean train loss went from {first['train_loss']:.4f} to {last['train_loss']:.4f}"
    caption = f"{losses} nats." if params.train.loss == "cross_entropy" else f"{losses}."
    charts = [
        {
            "title": f"Loss ({params.train.loss.replace('_', ' ')})",
            "caption": caption,
            "spec": curves(columns, ".2f", f"Loss over the epochs. {caption}", runs),
        }
    ]
    known = [(row["validation_accuracy"] or 0.0, row["epoch"]) for row in now.epochs]
    trained = f"{params.train.epochs:g} epochs; the network is that of the last."
    if last["validation_accuracy"] is None:
        trained += " Without validation images there is no accuracy to follow."
    else:
        best, epoch = max(known)
        if params.train.keep == "best":
            trained = f"{params.train.epochs:g} epochs; the network is that of epoch {epoch:g}."
        caption = f"At its best in epoch {epoch:g}, with {_percent(best)}."
        columns = {"validation_accuracy": "validation accuracy"}
        spec = curves(columns, ".0%", f"Validation accuracy over the epochs. {caption}", runs)
        charts.append({"title": "Validation accuracy", "caption": caption, "spec": spec})
    return {"trained": f"{trained} Hover over a curve for its values.", "charts": charts}


def _confusion(now: Results) -> dict[str, Any]:
    counts, names = Counter(now.pairs), list(now.figures)
    support = Counter(now.actual)
    wrong = Counter({pair: count for pair, count in counts.items() if pair[0] != pair[1]})
    told = [
        f"{actual} for {predicted} ({count:,} of {support[actual]:,})"
        for (actual, predicted), count in wrong.most_common(3)
    ]
    confused = f"Most often: {', '.join(told)}." if told else "Nothing is taken for anything else."
    matrix = [
        {"name": row, "cells": [_cell(row, name, counts, support[row]) for name in names]}
        for row in names
    ]
    return {
        "confused": confused,
        "names": names,
        "matrix": matrix if len(names) <= LARGEST_MATRIX else [],
    }


def _cell(
    actual: str, predicted: str, counts: Counter[tuple[str, str]], support: int
) -> dict[str, Any]:
    count = counts[actual, predicted]
    share = count / support if support else 0.0
    right = actual == predicted
    depth = share if right else 0.8 * share**0.5  # mistakes are few each: the root sets them apart
    kind = ("hit" if right else "miss") if count else "none"
    return {
        "count": f"{count}",
        "depth": f"{depth:.3f}",
        "kind": f"{kind} deep" if depth > 0.65 else kind,
        "title": f"{count:,} of {support:,} {actual} called {predicted}, {_percent(share)}",
    }


def _classes(now: Results, then: Results | None) -> Iterator[dict[str, Any]]:
    before = then.figures if then else {}
    for name, row in sorted(now.figures.items(), key=lambda item: -item[1]["f1"]):
        change = f"{row['f1'] - before[name]['f1']:+.3f}" if name in before else ""
        yield {
            "name": name,
            "width": round(100 * row["f1"], 1),
            "change": change.replace("-", "\N{MINUS SIGN}"),
            "support": f"{row['support']:,.0f}",
            **{key: f"{row[key]:.3f}" for key in ("f1", "precision", "recall")},
        }


def _mistakes(now: Results, params: Params) -> dict[str, Any]:
    from stages.evaluate import MISTAKES, classify
    from toypipe.drawing import percent, picture_of, png
    from toypipe.evaluation import confident_mistakes

    try:
        split, logits = classify(
            params.evaluate, device="auto", checkpoint=CHECKPOINT, test_images=TEST_IMAGES
        )
    except ToypipeError as error:
        return {"left_out": f"{error}.", "mistakes": []}
    names = split.classes
    pairs = [
        (names[actual], names[called])
        for actual, called in zip(split.labels.tolist(), logits.argmax(1).tolist(), strict=True)
    ]
    # Another device rounds otherwise and may tip an image or two.
    same = sum(ours == theirs for ours, theirs in zip(pairs, now.pairs, strict=False))
    if len(pairs) != len(now.pairs) or same < 0.99 * len(pairs):
        reason = "the checkpoint is not the one whose results lie here; `dvc repro` makes both."
        return {"left_out": reason, "mistakes": []}
    shown = []
    for mistake in confident_mistakes(logits, split, MISTAKES):
        image = base64.b64encode(png(picture_of(split.images[mistake.image], largest=128))).decode()
        actual, predicted = names[mistake.actual], names[mistake.predicted]
        shown.append(
            {
                "source": f"data:image/png;base64,{image}",
                "actual": actual,
                "predicted": predicted,
                "probability": percent(mistake.probability),
                "alt": f"Test image {mistake.image}: {actual}, taken for {predicted}",
            }
        )
    return {"left_out": None, "mistakes": shown}


def _origin(params: Params) -> dict[str, Any]:
    """Say what the results were made of and how to make them again."""
    commit = (git("rev-parse", "--short", "HEAD") or b"").decode().strip()
    commands = ["make setup", ". .venv/bin/activate", "dvc repro"]
    if not commit:
        origin = "The project is not in Git, so nothing names its state but the parameters above."
    elif git("status", "--porcelain", "--", *TRACKED):
        origin = (
            f"The project has changed since commit {commit}, so that commit alone does not name"
            " what this is: commit first, then make the report again. To run what lies here:"
        )
    else:
        origin = f"This is commit {commit}."
        commands.insert(0, f"git checkout {commit}")
    values = dict(flatten(params.model_dump()))
    differing = _differing(_recorded() or values, values)
    return {
        "origin": origin,
        "commands": "\n".join(commands),
        "params": [(key, _value(value)) for key, value in values.items()],
        "unrecorded": ", ".join(f"{key}: {then}, now {value}" for key, then, value in differing),
    }


def _recorded() -> dict[str, Any]:
    """Return the parameters that dvc.lock records, if it does."""
    try:
        stages = YAML(typ="safe", pure=True).load(Path("dvc.lock"))["stages"]
        sections = [stages[name]["params"]["params.yaml"] for name in Params.model_fields]
    except (OSError, YAMLError, KeyError, TypeError):
        return {}
    return {key: value for section in sections for key, value in flatten(section)}


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
