"""What is counted, and the table of it."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

GONE_AFTER = 5.0  # seconds in which a stage must have ended that nobody waits for


@dataclass
class Tally:
    """What some faults have done. But for `count`, all should be 0."""

    count: int = 0
    """Faults."""
    records: int = 0
    """Entries of dvc.lock that are none of an undisturbed run."""
    outputs: int = 0
    """Files that differ from an undisturbed run's when the next run has ended, or exit codes."""
    tracebacks: int = 0
    """Tracebacks in what any command printed."""
    orphans: int = 0
    """Processes that were still there seconds after the fault."""
    litter: int = 0
    """Temporary files that the next run has left."""
    seconds: int = 0
    """What all took."""
    notes: list[str] = field(default_factory=list)
    """What was wrong, and what could not be tried."""

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        return not any((self.records, self.outputs, self.tracebacks, self.orphans, self.litter))

    def add(self, other: "Tally") -> "Tally":
        """Add another's figures to one's own."""
        for name in (f.name for f in fields(self)):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def close(self, folder: Path, note: str) -> "Tally":
        """Delete the folder of a fault that did no damage; else keep it, and note what happened."""
        if self.good:
            shutil.rmtree(folder)
        else:
            self.notes.append(note)
        return self

    def row(self, kind: str) -> str:
        """Return a row of the table."""
        figures = [getattr(self, f.name) for f in fields(self) if f.name != "notes"]
        return f"| {kind} | {' | '.join(map(str, figures))} |"


HEAD = (
    "| kind | count | records that differ from the truth | outputs lost or mixed after the next run"
    f" | tracebacks | orphans after {GONE_AFTER:g} s | temporary files left | seconds |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|"
)


def renewed(page: str, rows: Mapping[str, str]) -> str:
    """Return a page whose table has these rows: new ones below, and the others as they were."""
    found = re.search(r"^\| kind \| count .*\n\|---.*\n((?:\| .*\n)+)", page, re.MULTILINE)
    assert found is not None
    old = {line.split(" | ")[0].removeprefix("| "): line for line in found[1].splitlines()}
    return page.replace(found[0], "\n".join([HEAD, *{**old, **rows}.values(), ""]))
