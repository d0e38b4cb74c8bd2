"""`toypipe verify`: run the pipeline again in a clean copy and compare its bytes with dvc.lock."""

import json
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from toypipe.commands.dvc import COMMAND, environment, require_dvc
from toypipe.errors import ToypipeError
from toypipe.params.file import flatten
from toypipe.pipeline.run_store import find_record

CODE = ("stages", "toypipe", "dvc.yaml", ".dvcignore")
RAW = Path("data/raw")
CHECKPOINT = "data/model/checkpoint.pt"
CONFIG = """[core]
    no_scm = true
    analytics = false
    check_update = false
[cache]
    dir = cache
"""  # a cache of its own: a shared one holds the results

Stages = dict[str, dict[str, Any]]
"""Stages of dvc.lock, by name."""


def run(stage: str | None) -> bool:
    """Run the pipeline, or one stage, in a clean copy and print how its outputs compare.

    Nothing in the project is changed, and none of its results is used. A single stage takes the
    inputs that lie in the project. Returns whether every output is identical.

    Raises:
        ToypipeError: There is no record, it describes another project, or the pipeline fails.
    """
    require_dvc("verify")
    if not Path("dvc.lock").exists():
        raise ToypipeError("dvc.lock is missing: there is nothing to compare with. Run `dvc repro`")
    stages = _recorded(Path())
    if stage is not None and stage not in stages:
        raise ToypipeError(f"dvc.lock has no stage {stage}, but: {', '.join(stages)}")
    if stage is not None:
        stages = {stage: stages[stage]}
    inputs = _sums(stages, "deps").keys() - _sums(stages, "outs").keys()
    _require_unchanged(stages, inputs)
    with TemporaryDirectory(prefix="toypipe-verify-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder)
        params = {file for entry in stages.values() for file in entry.get("params", {})}
        _copy([*CODE, *sorted(params | inputs)], copy)
        single = ["--single-item", stage] if stage else []
        command = [*COMMAND, "repro", "--no-run-cache", "--no-commit", *single]
        if subprocess.run(command, cwd=copy, env=environment(), check=False).returncode != 0:
            raise ToypipeError("the pipeline fails in a clean copy; see above")
        return _compare(stages, copy)


def _recorded(root: Path) -> Stages:
    stages: Stages = YAML(typ="safe", pure=True).load(root / "dvc.lock")["stages"]
    return stages


def _sums(stages: Stages, kind: str) -> dict[str, str]:
    """Return the md5 of every dependency (`deps`) or output (`outs`)."""
    return {item["path"]: item["md5"] for entry in stages.values() for item in entry.get(kind, [])}


def _require_unchanged(stages: Stages, inputs: set[str]) -> None:
    """Refuse a record that describes another state of the project."""
    command = [*COMMAND, "status", "--json", *stages]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ToypipeError(f"dvc status says: {result.stderr.strip()}")
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
    if changed:
        listed = "\n".join(changed)
        raise ToypipeError(
            f"dvc.lock describes another state of this project:\n{listed}\nRestore that state"
            " (git checkout, dvc checkout), or record this one first (dvc repro)"
        )


def _copy(names: list[str], target: Path) -> None:
    """Copy files and folders of the project; link the raw data; add DVC's configuration."""
    for name in names:
        source, place = Path(name), target / name
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
    then, now = _sums(stages, "outs"), _sums(_recorded(copy), "outs")
    differing = dict[str, list[str]]()
    for name, entry in stages.items():
        wrong = [path for path in _sums({name: entry}, "outs") if now.get(path) != then[path]]
        print(f"{name}: {', '.join(wrong)} differs" if wrong else f"{name}: identical")
        if wrong:
            differing[name] = wrong
    if not differing:
        print("every output has the bytes that dvc.lock records")
        return True
    print(f"the first stage that differs is {next(iter(differing))}")
    _print_metrics([*map(Path, chain(*differing.values()))], copy)
    if CHECKPOINT in then:
        for label, root, sums in (("trained on:", Path(), then), ("now on:    ", copy, now)):
            record = find_record(root, sums[CHECKPOINT])
            machine = ", ".join(" ".join(item) for item in record.machine.items()) if record else ""
            print(f"{label} {machine or 'unknown'}")
    return False


def _print_metrics(outputs: list[Path], copy: Path) -> None:
    """Print the numbers that differ in the metrics among some outputs."""
    gaps = list[float]()
    for path in outputs:
        if path.suffix == ".json" and path.exists():
            files = (path, copy / path)
            old, new = (dict(flatten(json.loads(file.read_bytes()))) for file in files)
            for key, value in old.items():
                other = new.get(key)
                if isinstance(value, float) and isinstance(other, float) and value != other:
                    print(f"  {key} was {value:.6g}, is {other:.6g}")
                    gaps.append(abs(other - value))
    if gaps:
        print(f"  all metrics agree to within {max(gaps):.2g}")
