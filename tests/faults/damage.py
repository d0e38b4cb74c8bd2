"""Bad files: damaged inputs of a stage, and a damaged state of a training."""

import re
from functools import partial
from pathlib import Path
from random import Random

from faults.arena import Arena, Case, direct
from faults.corruptions import ANY_FILE, CHECKPOINT, RECORD, SPLIT, STATE, TORCH_FILE
from faults.judge import differing, judge
from faults.tally import Tally


def put(path: Path, content: bytes | None) -> None:
    """Write a file, or a folder in its place for None."""
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


def bad_input(arena: Arena, random: Random, stage: str, file: str, corruption: str) -> Tally:
    """Give a stage a bad file: it refuses it in a paragraph, and touches nothing."""
    all_kinds = {**ANY_FILE, **TORCH_FILE, **(SPLIT if "prepared" in file else CHECKPOINT)}
    subject = arena.copy_of(arena.finished)
    subject.forget()
    good = (subject.path / file).read_bytes()
    put(subject.path / file, all_kinds[corruption](good, random))
    code = subject.end(*direct(stage))
    what = f"{file}: {corruption} (exit code {code})"
    tally = Tally(1, tracebacks=subject.printed.count("Traceback"), litter=len(subject.litter()))
    wanted = dict(arena.truth.files)
    if (subject.path / file).is_dir():
        (subject.path / file).rmdir()
    (subject.path / file).write_bytes(good)
    tally.outputs = len(differing(subject.files(), wanted)) + (subject.path / "pwned").exists()
    # A flipped bit may be one that means nothing, a date in the archive: then all is as it was.
    tally.outputs += code != 2 and not (code == 0 and corruption.startswith("one bit"))
    tally.outputs += code == 2 and not re.fullmatch(
        r"(?s).*^error: (?!.*\n\n).{20,600}", subject.printed, re.MULTILINE
    )
    return tally.close(subject.path, f"{what}\n{subject.printed[-2000:]}")


def bad_state(arena: Arena, random: Random, file: str, corruption: str) -> Tally:
    """Damage what is kept of a training that was stopped, or of one that has finished."""
    kinds = {**ANY_FILE, **TORCH_FILE, **STATE, **RECORD}
    finished = random.random() < 0.3
    subject = arena.copy_of(arena.before["evaluate"] if finished else arena.paused)
    (kept,) = subject.path.glob(f".toypipe/runs/*/{file}")
    put(kept, kinds[corruption](kept.read_bytes(), random))
    what = f"{'finished' if finished else 'stopped'} training's {file}: {corruption}"
    (subject.path / "data/model/checkpoint.pt").unlink(missing_ok=True)
    code = subject.end(*direct("train"))
    wanted = 0
    if kept.is_dir() and code == 2:  # nothing can be written where a folder lies: that is said
        wanted = 2
        subject.run("python", "-m", "stages", "runs", "--clear")
    tally = judge(arena, subject, what)
    if code != wanted:
        tally.outputs += 1
        tally.notes.append(f"{what}: exit code {code}\n{subject.printed[-2000:]}")
    if (arena.root / "pwned").exists() or (subject.path / "pwned").exists():
        tally.outputs += 1
        tally.notes.append(f"{what}: its code was run")
    return tally


def bad_files(_: Arena) -> list[Case]:
    """Return every corruption of every file that a stage reads or keeps."""
    torn = ["empty", "truncated", "one bit"]
    cases: list[Case] = [
        partial(bad_input, stage=stage, file=file, corruption=corruption)
        for stage, file, corruptions in (
            ("train", "data/prepared/train.pt", [*ANY_FILE, *TORCH_FILE, *SPLIT]),
            ("evaluate", "data/prepared/test.pt", [*torn, "code", *SPLIT]),
            ("evaluate", "data/model/checkpoint.pt", [*ANY_FILE, *TORCH_FILE, *CHECKPOINT]),
        )
        for corruption in corruptions
    ]
    cases += [
        partial(bad_state, file=file, corruption=corruption)
        for file, corruptions in (
            ("state.pt", [*ANY_FILE, *TORCH_FILE, *STATE]),
            ("run.json", [*ANY_FILE, *RECORD]),
        )
        for corruption in corruptions
    ]
    return cases
