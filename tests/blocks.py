"""The blocks of commands on the pages, and how what they show is compared."""

import re

BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{7,}\b|-?\d[\d.,]*(?:e-?\d+)?")


def words(line: str) -> str:
    """Return a line without its numbers and hashes, and without the width of its columns."""
    return " ".join(NUMBER.sub("#", line).split())
