"""`toypipe verify`: run the pipeline again in a clean copy and compare its bytes with dvc.lock."""

import json
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from toypipe.commands.dvc import COMMAND, environment, require_dvc
from toypipe.commands.results import is_number
from toypipe.errors import ToypipeError, printable
from toypipe.params.documents import Document
from toypipe.params.file import flatten
from toypipe.pipeline.dvc_files import LOCK, Recorded, read_lock
from toypipe.pipeline.run_store import find_record

CODE = ("stages", "toypipe", "dvc.yaml", ".dvcignore")
RAW = Path("data/raw")
CHECKPOINT = "data/model/checkpoint.pt"
# A cache of its own: a shared one holds the results.
CONFIG = "[core]\nno_scm=true\nanalytics=false\ncheck_update=false\n[cache]\ndir=cache\n"

Stages = dict[str, Recorded]  # as in dvc.lock, by name


def run(stage: str | None) -> bool:
    """Run the pipeline, or one stage, in a clean copy and print how its outputs compare.

    Nothing in the project is changed, and none of its results is used. A single stage takes the
    inputs that lie in the project. Returns whether every output is identical. Raises ToypipeError
    if there is no record, it describes another project, or a stage fails.
    """
    require_dvc("verify")
    if not LOCK.exists():
        raise ToypipeError("dvc.lock is missing: there is nothing to compare with. Run `dvc repro`")
    stages = read_lock()
    if stage is not None:
        if stage not in stages:
            raise ToypipeError(f"dvc.lock has no stage {stage}, but: {', '.join(stages)}")
        stages = {stage: stages[stage]}
    inputs = _sums(stages, "deps").keys() - _sums(stages, "outs").keys()
    _require_unchanged(stages, inputs)
    with TemporaryDirectory(prefix="toypipe-verify-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder)
        params = {file for entry in stages.values() for file in entry.params}
        _copy([*CODE, *sorted(params | inputs)], copy)
        single = ["--single-item", stage] if stage else []
        command = [*COMMAND, "repro", "--no-run-cache", "--no-commit", *single]
        if subprocess.run(command, cwd=copy, env=environment(), check=False).returncode != 0:
            raise ToypipeError("the pipeline fails in a clean copy; see above")
        return _compare(stages, copy)


def _sums(stages: Stages, kind: Literal["deps", "outs"]) -> dict[str, str]:
    """Return the md5 of every dependency or output."""
    return {item.path: item.md5 for entry in stages.values() for item in getattr(entry, kind)}


def _require_unchanged(stages: Stages, inputs: set[str]) -> None:
    """Refuse a record that describes another state of the project."""
    command = [*COMMAND, "status", "--json", *stages]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ToypipeError(*f"dvc status says: {result.stderr.strip()}".splitlines())
    changed = list[str]()
    for name, causes in json.loads(result.stdout).items():
        for cause in causes:
            if cause == "changed command":
                changed.append(f"{name}: its command in dvc.yaml")
            elif "changed deps" in cause:
                for path, how in cause["changed deps"].items():
                    if not isinstance(how, str):  # parameters, by key
                        changed.append(f"{name}: {path} ({', '.join(how)})")
                    elif path in inputs:
                        changed.append(f"{name}: {path} ({how})")
            else:
                outs = cause.get("changed outs", {}).items()
                changed += [f"{name}: {path} ({how})" for path, how in outs if how == "modified"]
    if changed:
        raise ToypipeError(
            "dvc.lock describes another state of this project:",
            *changed,
            "Restore that state (git checkout, dvc checkout), or record this one first (dvc repro)",
        )


def _copy(names: list[str], target: Path) -> None:
    """Copy files and folders of the project; link the raw data; add DVC's configuration."""
    for name in names:
        source, place = Path(name), target / name
        if ".." in source.parts:
            raise ToypipeError(
                f"dvc.lock names {name}, outside this project, and verify runs a copy of the"
                " project: move it inside, or name it by its absolute path in dvc.yaml"
            )
        if place.exists() or not source.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, place)
    if RAW.is_dir():
        (target / RAW).parent.mkdir(parents=True, exist_ok=True)
        (target / RAW).symlink_to(RAW.resolve())
    (target / ".dvc").mkdir()
    (target / ".dvc/config").write_text(CONFIG)


def _compare(stages: Stages, copy: Path) -> bool:
    """Print which outputs differ, by how much, and on which machines they were made."""
    then, now = _sums(stages, "outs"), _sums(read_lock(copy), "outs")
    differing = [path for path, md5 in then.items() if now.get(path) != md5]
    bad = []
    for name, entry in stages.items():
        wrong = [path for path in _sums({name: entry}, "outs") if path in differing]
        print(printable(f"{name}: {', '.join(wrong)} differs" if wrong else f"{name}: identical"))
        bad += [name] if wrong else []
    if not bad:
        print("every output has the bytes that dvc.lock records")
        return True
    print(printable(f"the first stage that differs is {bad[0]}"))
    _print_metrics(differing, copy)
    if CHECKPOINT in then:
        for label, root, sums in (("trained on:", Path(), then), ("now on:    ", copy, now)):
            record = find_record(root, sums.get(CHECKPOINT, ""))
            machine = ", ".join(" ".join(item) for item in record.machine.items()) if record else ""
            print(printable(f"{label} {machine or 'unknown'}"))
    return False


def _print_metrics(outputs: list[str], copy: Path) -> None:
    gaps = list[Decimal]()
    for path in map(Path, outputs):
        if path.suffix == ".json" and path.exists() and (copy / path).exists():
            try:
                now, then = Document.read(copy / path).json(), Document.read(path).json()
            except ToypipeError as error:
                print(f"  {error}")
                continue
            new = dict(flatten(now))
            for key, old in flatten(then):
                if is_number(old) and is_number(new.get(key)) and old != new[key]:
                    print(printable(f"  {key} was {old:.6g}, is {new[key]:.6g}"))
                    gaps.append(abs(new[key] - old))
    if gaps:
        print(f"  all metrics agree to within {max(gaps):.2g}")
