"""Print what `predict` answers: as a table, as text or as JSON."""

import json
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from toypipe.commands.predict import Answer
from toypipe.commands.streams import is_read
from toypipe.errors import printable

TOP = 5  # classes per image, in the table and in the text


def show(batches: Iterator[list[Answer]], *, as_json: bool) -> None:
    """Print each batch at once: JSON objects, one per line, a table on a terminal, or text."""
    plain = _print_table if sys.stdout.isatty() else _print_text
    for batch in batches:
        (_print_json if as_json else plain)(batch)
        if not is_read():
            break


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
            table.add_row("" if i else printable(path), name, f"{probability:.4f}")
        table.add_section()
    Console(highlight=False, markup=False, emoji=False).print(table)


def _print_text(batch: list[Answer]) -> None:
    """Print one line per image; the path comes last, because its length varies."""
    for path, probabilities in batch:
        width = max(map(len, probabilities))
        top = list(probabilities.items())[:TOP]
        cells = [f"{name:{width}} {probability:.4f}" for name, probability in top]
        print(*cells, printable(path), sep="  ")
