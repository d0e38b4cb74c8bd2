"""`toypipe report`: the results of a run as one page that needs no network."""

import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from toypipe.commands.report.comparison import describe_change
from toypipe.commands.report.charts import bundle, curves
from toypipe.commands.report.provenance import PARAMS, describe_origin
from toypipe.commands.results import Results, percent, read_commit, read_results
from toypipe.data.files import whole
from toypipe.errors import ToypipeError
from toypipe.params.file import read_params
from toypipe.params.schema import Params

PAGE = Path("data/reports/index.html")
CHECKPOINT, TEST_IMAGES = Path("data/model/checkpoint.pt"), Path("data/prepared/test.pt")
LARGEST_MATRIX = 40  # classes; more are told in words only


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
        **describe_change(now, then, against, params),
        **_training(now, then, against, params),
        **_confusion(now),
        "classes": list(_classes(now, then)),
        **_mistakes(now, params),
        **describe_origin(params),
        "bundle": bundle(),
    }
    page = templates.get_template("page.html").render(content)
    with whole(PAGE) as file:
        file.write(page.encode())
    return PAGE


def _verdict(now: Results, params: Params) -> dict[str, Any]:
    frequent = Counter(now.actual).most_common(1)[0][1] / len(now.pairs)
    last, test = now.epochs[-1], now.test
    facts = [("test loss", f"{test['loss']:.4f} nats"), ("train loss", f"{last['train_loss']:.4f}")]
    if last["validation_accuracy"] is not None:
        facts.append(("validation accuracy", percent(last["validation_accuracy"])))
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
        **{name: percent(share) for name, share in shares.items()},
    }


def _network(params: Params) -> str:
    model = params.train.model
    return getattr(model, "arch", model.name)


def _training(
    now: Results, then: Results | None, against: str | None, params: Params
) -> dict[str, Any]:
    runs = {"this run": now} | ({against: then} if then is not None and against is not None else {})
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
    trained = f"{params.train.epochs:g} epochs; the network of the last is kept."
    if last["validation_accuracy"] is None:
        trained += " Without validation images there is no accuracy to follow."
    else:
        best = max(now.epochs, key=lambda row: row["validation_accuracy"] or 0.0)
        if params.train.keep == "best":
            trained = (
                f"{params.train.epochs:g} epochs; the network of epoch {best['epoch']:g} is kept."
            )
        accuracy = percent(best["validation_accuracy"])
        caption = f"At its best in epoch {best['epoch']:g}, with {accuracy}."
        columns = {"validation_accuracy": "validation accuracy"}
        spec = curves(columns, ".0%", f"Validation accuracy over the epochs. {caption}", runs)
        charts.append({"title": "Validation accuracy", "caption": caption, "spec": spec})
    return {"trained": trained, "charts": charts}


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
        "title": f"{count:,} of {support:,} {actual} called {predicted}, {percent(share)}",
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
    from toypipe.evaluation.drawing import picture_of, png, probability
    from toypipe.evaluation.metrics import confident_mistakes

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
                "probability": probability(mistake.probability),
                "alt": f"Test image {mistake.image}: {actual}, taken for {predicted}",
            }
        )
    return {"left_out": None, "mistakes": shown}
