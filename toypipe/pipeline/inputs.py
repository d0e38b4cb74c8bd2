"""What a stage is given when it starts, compared with what lies there when it would publish.

DVC hashes parameters, code and data after a command has ended: what was edited while it ran would
be recorded as what it used.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from toypipe.errors import InputsChangedError, ToypipeError
from toypipe.params.file import read_params

CODE = Path(__file__).parents[2]
"""Where the code that runs lies; under DVC that is the current folder."""
CONSTANT = "data/params.ok"
"""A dependency whose bytes never change; a direct call can do without it."""


class Inputs:
    """The parameters, modules and data that dvc.yaml lists for a stage, noted at once."""

    def __init__(self, stage: str, params_file: Path, overrides: Sequence[str]) -> None:
        """Note everything. No module of the stage may have been imported before.

        Args:
            stage: Its name in dvc.yaml.
            params_file: The parameter file.
            overrides: Changes for this call, with the grammar of `dvc exp run -S`.

        Raises:
            ToypipeError: There is no such stage, or the parameters are not fit.
        """
        self.stage = stage
        self._params_file, self._overrides = params_file, overrides
        self._paths = _dependencies(stage)
        self._stamps = {name: _stamp(path) for name, path in self._paths.items()}
        self.files = {name: _digest(path) for name, path in self._paths.items()}
        """The md5 of each dependency; of a folder, that of its listing; None of a missing one."""
        self.params = read_params(params_file, overrides)
        """All sections of the parameter file."""
        self.values = self._own(self.params.model_dump())
        """Those that DVC tracks for this stage, by their keys: `train.optimizer.lr`."""
        self._loaded = False

    def _own(self, sections: dict[str, Any]) -> dict[str, Any]:
        names = sections if self.stage == "check" else [self.stage]
        return dict(flatten({name: sections[name] for name in names}))

    def require_unchanged(self) -> None:
        """Compare what was noted with what is there now.

        The first time, when everything has just been loaded, a file that was written meanwhile
        counts as changed, whatever it holds now: what was loaded may have been something else.

        Raises:
            InputsChangedError: Something differs; the message names all of it.
        """
        changes = list[str]()
        for name, path in self._paths.items():
            # What has the same times and size has the same content, and need not be read again.
            touched = _stamp(path) != self._stamps[name]
            if touched and (not self._loaded or _digest(path) != self.files[name]):
                changes.append(f"{name} {'was edited' if path.exists() else 'is gone'}")
        try:
            now = self._own(read_params(self._params_file, self._overrides).model_dump())
        except ToypipeError as error:
            changes.append(str(error).splitlines()[0])
        else:
            changes += [
                f"{self._params_file}: {key} was {self.values.get(key)}, is {now.get(key)}"
                for key in dict.fromkeys([*self.values, *now])
                if self.values.get(key) != now.get(key)
            ]
        if changes:
            finished = "The finished training is kept: put this back, and it is delivered at once."
            found = "\n".join(changes)
            raise InputsChangedError(
                f"while {self.stage} ran, what it uses changed, so nothing was written, for DVC"
                f" would record it as made of what lies there now:\n{found}\n"
                f"Run it again. {finished if self.stage == 'train' else ''}"
            )
        self._loaded = True


def flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested values with their keys joined by dots, as DVC shows them."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _dependencies(stage: str) -> dict[str, Path]:
    """Return where the files and folders are that dvc.yaml lists for a stage."""
    here = Path("dvc.yaml")
    pipeline = YAML(typ="safe", pure=True).load(here if here.exists() else CODE / here)
    names = map(str, pipeline.get("stages", {}).get(stage, {}).get("deps", []))
    return {
        name: CODE / name if name.startswith(("stages/", "toypipe/")) else Path(name)
        for name in names
        if name != CONSTANT
    }


def _stamp(path: Path) -> tuple[float, ...] | str | None:
    """Return what differs after every write."""
    if path.is_dir():
        return _digest(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _digest(path: Path) -> str | None:
    """Return the md5 of a file, as DVC does, or of what a folder holds, by name, size and time."""
    if path.is_dir():
        found = ((file, file.stat()) for file in sorted(path.rglob("*")) if file.is_file())
        listing = "".join(f"{file} {s.st_size} {s.st_mtime_ns}\n" for file, s in found)
        return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        return None
