"""Show what `predict` answers: to people, to programs that read lines, to programs that parse."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from itertools import islice

from rich.console import Console
from rich.table import Table

from toypipe.commands.predict import Answer

TOP = 5  # classes, where not all of them are shown


def show(batches: Iterator[list[Answer]], *, as_json: bool) -> None:
    """Print answers on standard output, each batch as soon as it is there.

    Args:
        batches: The answers.
        as_json: As JSON, an object a line; else as a table on a terminal, as text elsewhere.
    """
    try:
        for batch in batches:
            _printer(as_json)(batch)
            sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has seen enough. What is left in the buffer has nowhere to go, at the exit too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _printer(as_json: bool) -> Callable[[list[Answer]], None]:
    if as_json:
        return _print_json
    return _print_table if sys.stdout.isatty() else _print_text


def _print_json(batch: list[Answer]) -> None:
    for path, probabilities in batch:
        name, probability = next(iter(probabilities.items()))
        answer = {"path": path, "class": name, "probability": probability}
        print(json.dumps({**answer, "probabilities": probabilities}))


def _print_table(batch: list[Answer]) -> None:
    table = Table("image", "class", "probability")
    table.columns[0].overflow = "fold"
    table.columns[2].justify = "right"
    for path, probabilities in batch:
        title = _printable(path)
        for name, probability in islice(probabilities.items(), TOP):
            table.add_row(title, name, f"{probability:.4f}")
            title = ""
        table.add_section()
    Console(highlight=False, markup=False).print(table)


def _print_text(batch: list[Answer]) -> None:
    """Print a line for each image; its name is the last, for it may be of any length."""
    for path, probabilities in batch:
        width = max(len(name) for name in probabilities)
        top = islice(probabilities.items(), TOP)
        cells = [f"{name:{width}} {probability:.4f}" for name, probability in top]
        print(*cells, _printable(path), sep="  ")


def _printable(path: str) -> str:
    """Quote a name that would break the line, or is no text at all."""
    return path if path.isprintable() else repr(path)
