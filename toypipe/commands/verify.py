"""`toypipe verify`: run the pipeline again in a clean copy and compare its bytes with dvc.lock."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from toypipe.commands.dvc import COMMAND, environment, require_dvc
from toypipe.errors import ToypipeError
from toypipe.params.file import flatten
from toypipe.pipeline.run_store import find_record

CODE = ("stages", "toypipe")
RAW = Path("data/raw")
CHECKPOINT = "data/model/checkpoint.pt"

Entry = dict[str, Any]
"""A stage in dvc.lock."""


@dataclass(frozen=True)
class Verdict:
    """The comparison of one stage: as recorded, and now."""

    stage: str
    differing: list[str]
    """The outputs whose bytes differ."""
    metrics: dict[str, tuple[float, float]]
    """The metrics that differ."""
    machines: tuple[dict[str, str], dict[str, str]]
    """The machines that trained the checkpoint; empty where unknown."""


def verify(stage: str | None) -> list[Verdict]:
    """Run the pipeline, or one stage, in a clean copy and compare its outputs with dvc.lock.

    Nothing in the project is changed, and none of its results is used.

    Args:
        stage: The name of a stage, which takes the inputs that lie in the project; None for all.

    Raises:
        ToypipeError: There is no record, it describes another project, or the pipeline fails.
    """
    require_dvc("verify")
    if not Path("dvc.lock").exists():
        raise ToypipeError("dvc.lock is missing: there is nothing to compare with. Run `dvc repro`")
    record = _entries(Path())
    if stage is not None and stage not in record:
        raise ToypipeError(f"dvc.lock has no stage {stage}, but: {', '.join(record)}")
    chosen = {name: record[name] for name in ([stage] if stage else record)}
    _require_recorded(chosen)

    with TemporaryDirectory(prefix="toypipe-verify-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder)
        _copy(chosen, copy)
        single = ["--single-item", stage] if stage else []
        command = [*COMMAND, "repro", "--no-run-cache", "--no-commit", *single]
        if subprocess.run(command, cwd=copy, env=environment(), check=False).returncode != 0:
            raise ToypipeError("the pipeline fails in a clean copy; see above")
        again = _entries(copy)
        return [_compare(name, entry, again[name], copy) for name, entry in chosen.items()]


def _entries(root: Path) -> dict[str, Entry]:
    entries: dict[str, Entry] = YAML(typ="safe", pure=True).load(root / "dvc.lock")["stages"]
    return entries


def _sums(entry: Entry, kind: str) -> dict[str, str]:
    """Return the md5 of each dependency or output."""
    return {item["path"]: item["md5"] for item in entry.get(kind, [])}


def _inputs(entries: dict[str, Entry]) -> set[str]:
    """Return the dependencies that are not outputs of these stages."""
    made = {name for entry in entries.values() for name in _sums(entry, "outs")}
    return {name for entry in entries.values() for name in _sums(entry, "deps")} - made


def _require_recorded(entries: dict[str, Entry]) -> None:
    """Refuse a record that describes another state of the project."""
    command = [*COMMAND, "status", "--json", *entries]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ToypipeError(f"dvc status says: {result.stderr.strip()}")
    wanted, changed = _inputs(entries), list[str]()
    for name, causes in json.loads(result.stdout).items():
        for cause in causes:
            if cause == "changed command":
                changed.append(f"{name}: its command in dvc.yaml")
            elif "changed deps" in cause:
                for path, how in cause["changed deps"].items():
                    if not isinstance(how, str):  # parameters, by key
                        changed.append(f"{name}: {path} ({', '.join(how)})")
                    elif path in wanted:
                        changed.append(f"{name}: {path} ({how})")
    if changed:
        listed = "\n".join(changed)
        raise ToypipeError(
            f"dvc.lock describes another state of this project:\n{listed}\nRestore that state"
            " (git checkout, dvc checkout), or record this one first (dvc repro)"
        )


def _copy(entries: dict[str, Entry], target: Path) -> None:
    """Copy what the stages use, and none of their outputs."""
    for name in CODE:
        shutil.copytree(name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    files = {file for entry in entries.values() for file in entry.get("params", {})}
    for name in sorted({"dvc.yaml", *files, *_inputs(entries)}):
        source, place = Path(name), target / name
        if place.exists() or not source.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place)
        else:
            shutil.copy2(source, place)
    if RAW.is_dir():
        (target / RAW).parent.mkdir(parents=True, exist_ok=True)
        (target / RAW).symlink_to(RAW.resolve())
    shutil.copy(".dvcignore", target)
    (target / ".dvc").mkdir()
    # A cache of its own: a shared one holds the results.
    (target / ".dvc/config").write_text(
        "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
        "[cache]\n    dir = cache\n"
    )


def _compare(name: str, then: Entry, now: Entry, copy: Path) -> Verdict:
    recorded, made = _sums(then, "outs"), _sums(now, "outs")
    differing = [path for path in recorded if made.get(path) != recorded[path]]
    metrics = {
        key: values
        for path in differing
        if path.endswith(".json")
        for key, values in _metrics(Path(path), copy / path)
    }
    machines = _machine(Path(), recorded), _machine(copy, made)
    return Verdict(name, differing, metrics, machines)


def _machine(root: Path, outputs: dict[str, str]) -> dict[str, str]:
    record = find_record(root, outputs[CHECKPOINT]) if CHECKPOINT in outputs else None
    return record.machine if record else {}


def _metrics(then: Path, now: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield the numbers of a metrics file that differ, where the recorded file still exists."""
    if not then.exists():
        return
    old, new = (dict(flatten(json.loads(path.read_bytes()))) for path in (then, now))
    for key in old.keys() & new.keys():
        if isinstance(old[key], float) and isinstance(new[key], float) and old[key] != new[key]:
            yield key, (old[key], new[key])


def say(verdicts: list[Verdict]) -> bool:
    """Print the verdicts; return whether every output is identical."""
    for verdict in verdicts:
        differs = f"{', '.join(verdict.differing)} differs"
        print(f"{verdict.stage}: {differs if verdict.differing else 'identical'}")
    bad = [verdict for verdict in verdicts if verdict.differing]
    if not bad:
        print("every output has the bytes that dvc.lock records")
        return True
    print(f"the first stage that differs is {bad[0].stage}")
    changes = {key: values for verdict in bad for key, values in verdict.metrics.items()}
    for key, (then, now) in changes.items():
        print(f"  {key} was {then:.6g}, is {now:.6g}")
    if changes:
        most = max(abs(now - then) for then, now in changes.values())
        print(f"  all metrics agree to within {most:.2g}")
    for verdict in verdicts:
        if any(verdict.machines):
            then_on, now_on = map(_line, verdict.machines)
            print(f"trained on: {then_on}\nnow on:     {now_on}")
    return False


def _line(machine: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in machine.items()) or "unknown"
