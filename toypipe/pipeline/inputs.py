"""The inputs of a stage: noted when it starts, compared before it publishes.

DVC hashes parameters, code and data after a command has ended. Without the comparison, an edit
during the command would be recorded as what the command used.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import ignore_patterns

from toypipe.errors import InputsChangedError, ToypipeError
from toypipe.params.file import flatten, place_of, read_params
from toypipe.params.regular import open_regular
from toypipe.pipeline.dvc_files import PIPELINE, list_dependencies

CODE = Path(__file__).parents[2]  # of the code that runs; under DVC it is the current folder
CODE_FOLDERS = ("stages/", "toypipe/")
CONSTANT = "data/params.ok"  # its bytes never change, and a direct call works without it
# What Python and editors write while a stage runs; .dvcignore lists the same.
IGNORED = ignore_patterns(".*", "*~", "__pycache__")
SHOWN = 10  # changes to list; the others are counted


class Inputs:
    """The parameters and the files (code and data) that dvc.yaml lists for a stage."""

    def __init__(self, stage: str, params_file: Path, overrides: Sequence[str]) -> None:
        """Note everything, before the stage is imported. Invalid parameters are a ToypipeError."""
        self.stage = stage
        self._params_file, self._overrides = params_file, overrides
        self._dependencies = _list_dependencies(stage)
        self._paths = dict(_files(self._dependencies))
        self._stamps = {name: _stamp(path) for name, path in self._paths.items()}
        self.md5 = _sums(self._paths)
        self._params_md5 = file_md5(params_file)
        self.params = read_params(params_file, overrides)
        self._loaded = False
        self.kept = False  # whether the stage would deliver what it has made to unchanged inputs

    @contextmanager
    def blaming(self, key: str) -> Iterator[None]:
        """Begin the message of a ToypipeError in the block with the place of a parameter."""
        try:
            yield
        except ToypipeError as error:
            first, *others = error.args
            raise type(error)(f"{self.place(key)}: {first}", *others) from None

    def place(self, key: str) -> str:
        """Return where the value of a parameter was given, to begin a message about it."""
        return place_of(key, self._params_file, self._overrides)

    def require_listed(self, key: str, path: Path) -> None:
        """Take a file or folder that a parameter names as one more input of the parameter's stage.

        dvc.yaml must list it, or DVC would not notice when it changes. Without DVC the stage itself
        may run: it notes the path as it does its other inputs. Else this raises ToypipeError.
        """
        owner = key.partition(".")[0]
        listed = _list_dependencies(owner).values()
        if any(path.resolve().is_relative_to(each.resolve()) for each in listed):
            return
        if self.stage != owner or "DVC_STAGE" in os.environ:
            with self.blaming(key):
                raise ToypipeError(
                    f"DVC would not notice when {path} changes: add `- {path}` to the deps of the"
                    f" stage {owner} in dvc.yaml"
                )
        self._dependencies[str(path)] = path
        found = dict(_files({str(path): path}))
        self._paths |= found
        self._stamps |= {name: _stamp(file) for name, file in found.items()}
        self.md5 |= _sums(found)

    def require_unchanged(self) -> None:
        """Raise InputsChangedError, naming all inputs that differ from the noted ones, if any do.

        The first call is made when the stage has loaded everything. In that call a file that was
        written since counts as changed, even if its content is the same again: the stage may have
        loaded something else.
        """
        if changes := [*self._changed_files(), *self._changed_params()]:
            if len(changes) > SHOWN:
                changes[SHOWN:] = [f"and {len(changes) - SHOWN} more"]
            kept = " The finished training is kept: restore the inputs, and it is delivered."
            raise InputsChangedError(
                f"the inputs of {self.stage} changed while it ran:",
                *changes,
                "Nothing was written, because DVC would record the new inputs with results of the"
                f" old ones. Run it again.{kept if self.kept else ''}",
            )
        self._loaded = True

    def _changed_files(self) -> Iterator[str]:
        for name, path in _files(self._dependencies):
            if name not in self._paths and path.is_file():
                yield f"{name} was added"
        for name, path in self._paths.items():
            # An unchanged stamp means unchanged content: no need to read the file again.
            touched = _stamp(path) != self._stamps[name]
            if touched and (not self._loaded or file_md5(path) != self.md5.get(name)):
                yield f"{name} was {'edited' if path.exists() else 'removed'}"

    def _changed_params(self) -> Iterator[str]:
        if file_md5(self._params_file) == self._params_md5:
            return
        try:
            params = read_params(self._params_file, self._overrides)
        except ToypipeError as error:
            yield str(error).splitlines()[0]
            return
        then, now = (dict(flatten(each.model_dump())) for each in (self.params, params))
        own = "" if self.stage == "check" else f"{self.stage}."  # the section that DVC tracks
        for key in dict.fromkeys([*then, *now]):
            if key.startswith(own) and then.get(key) != now.get(key):
                yield f"{self._params_file}: {key} was {then.get(key)}, is {now.get(key)}"


def find_raw(raw: Path, *names: str) -> Path:
    """Return the folder for downloads: `raw` where it has one of these files.

    Else the main checkout's: the workspace of an experiment lacks the files that Git ignores.
    """
    here = any((raw / name).exists() for name in names)
    return raw if here else Path(os.environ.get("DVC_ROOT", "."), raw)


def file_md5(path: Path) -> str | None:
    """Return the md5 of a file in hexadecimal digits; None if it cannot be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return None


def _list_dependencies(stage: str) -> dict[str, Path]:
    """Return the files and folders that dvc.yaml lists for a stage, by their names there."""
    names = list_dependencies(stage, PIPELINE if PIPELINE.exists() else CODE / PIPELINE)
    return {n: CODE / n if n.startswith(CODE_FOLDERS) else Path(n) for n in names if n != CONSTANT}


def _files(dependencies: dict[str, Path]) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each dependency: folders as the files in them.

    Of data, also the folders: renaming one does not change the stamps of its files.
    """
    for name, path in dependencies.items():
        if not path.is_dir():
            yield name, path
            continue
        is_data = not name.startswith(CODE_FOLDERS)
        if is_data:
            yield name, path
        for file in sorted(path.rglob("*")):
            below = file.relative_to(path)
            if (file.is_file() or (is_data and file.is_dir())) and not IGNORED(
                path, list(below.parts)
            ):
                yield f"{name}/{below.as_posix()}", file


def _sums(paths: dict[str, Path]) -> dict[str, str | None]:
    """Return the md5 of each path that is not a folder, by name."""
    return {name: file_md5(path) for name, path in paths.items() if not path.is_dir()}


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return values that differ after every write; None for a missing file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
