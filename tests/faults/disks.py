"""Writes that fail: files that may not grow, and full disks."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from random import Random

from faults.arena import OUTPUTS, Arena, Case, direct
from faults.judge import is_temporary, judge
from faults.project import LIMIT, Subject
from faults.tally import Tally

LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execvp("python", ["python", "-m", "stages", sys.argv[2]])
"""


def limit_files(arena: Arena, random: Random, stage: str) -> Tally:
    """Run a stage that may write no file larger than a random part of one that it writes."""
    sizes = [len(arena.truth.files[name]) for name in OUTPUTS[stage]]
    if stage == "train":
        kept = arena.paused.path.glob(".toypipe/runs/*/*.*")
        sizes += [size for path in kept if (size := path.stat().st_size)]
    size = random.randrange(random.choice(sizes))
    subject = arena.copy(stage)
    before = subject.files()
    result = subprocess.run(  # into pipes: a file would be as limited as any other
        [sys.executable, "-c", LIMITED, str(size), stage],
        cwd=subject.path,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    subject.printed += result.stdout + result.stderr
    code = result.returncode
    what = f"{stage} within {size} bytes"
    return _judge_failed_write(arena, subject, stage=stage, before=before, code=code, what=what)


def _judge_failed_write(
    arena: Arena,
    subject: Subject,
    *,
    stage: str,
    before: Mapping[str, bytes],
    code: int,
    what: str,
) -> Tally:
    """Look for half-written files and litter, then judge as after any fault."""
    wanted = {**before, **(arena.truth.files if code == 0 else {})}
    now = subject.files()
    bad = [name for name in now.keys() | before.keys() if now.get(name) != wanted.get(name)]
    bad = bad if stage != "evaluate" or code else []
    bad = [name for name in bad if name in OUTPUTS[stage] or is_temporary(name)]
    litter = subject.litter()
    found = Tally(outputs=len(bad) + (code not in {0, 2}), litter=len(litter))
    if not found.good:
        place = f"{what}, exit code {code}: {', '.join([*bad, *litter])}"
        found.notes.append(f"{place}\n{subject.printed[-2000:]}")
    return found.add(judge(arena, subject, what))


def fill_disk(arena: Arena, random: Random, stage: str, folder: str) -> Tally:
    """Run a stage one of whose folders lies on a disk that is about to be full."""
    subject = arena.copy(stage)
    place = subject.path / folder
    place.mkdir(parents=True, exist_ok=True)
    aside = subject.path.with_name(f"{subject.path.name}-{stage}")
    shutil.copytree(place, aside)
    largest = 2_000_000 if stage == "train" else 80_000
    size = 4096 * random.randrange(1, largest // 4096)
    options = f"size={size + sum(f.stat().st_size + 4096 for f in aside.rglob('*'))}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "faults", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        shutil.rmtree(subject.path)
        shutil.rmtree(aside)
        return Tally(notes=["skipped: this user may mount no disk that is full"])
    try:
        shutil.copytree(aside, place, dirs_exist_ok=True)
        before = subject.files()
        code = subject.end(*direct(stage))
        shutil.rmtree(aside)
        shutil.copytree(place, aside)
    finally:
        subprocess.run(["umount", str(place)], check=True)
    shutil.copytree(aside, place, dirs_exist_ok=True)
    shutil.rmtree(aside)
    what = f"{stage} with {size} bytes left for {folder}"
    return _judge_failed_write(arena, subject, stage=stage, before=before, code=code, what=what)


def failing_writes(_: Arena) -> list[Case]:
    """Return limits and full disks for every stage."""
    cases: list[Case] = [
        partial(limit_files, stage=stage)
        for stage, times in (("check", 1), ("prepare", 4), ("train", 10), ("evaluate", 4))
        for _ in range(times)
    ]
    cases += [
        partial(fill_disk, stage=stage, folder=folder)
        for stage, folder, times in (
            ("prepare", "data/prepared", 2),
            ("train", "data/model", 2),
            ("train", ".toypipe", 4),
            ("evaluate", "data/reports", 2),
        )
        for _ in range(times)
    ]
    return cases
