"""Print what `predict` answers: as a table, as text or as JSON."""

import json
import os
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from toypipe.commands.predict import Answer

TOP = 5  # classes per image, in the table and in the text


def show(batches: Iterator[list[Answer]], *, as_json: bool) -> None:
    """Print each batch at once: JSON objects, one per line, a table on a terminal, or text."""
    plain = _print_table if sys.stdout.isatty() else _print_text
    try:
        for batch in batches:
            (_print_json if as_json else plain)(batch)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. Python must not fail again when it flushes at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        for i, (name, probability) in enumerate(list(probabilities.items())[:TOP]):
            table.add_row("" if i else _printable(path), name, f"{probability:.4f}")
        table.add_section()
    Console(highlight=False, markup=False).print(table)


def _print_text(batch: list[Answer]) -> None:
    """Print one line per image; the path comes last, because its length varies."""
    for path, probabilities in batch:
        width = max(map(len, probabilities))
        top = list(probabilities.items())[:TOP]
        cells = [f"{name:{width}} {probability:.4f}" for name, probability in top]
        print(*cells, _printable(path), sep="  ")


def _printable(path: str) -> str:
    """Quote a path that would break the line or is not valid text."""
    return path if path.isprintable() else repr(path)
