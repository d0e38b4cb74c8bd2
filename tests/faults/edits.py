"""Edits in mid-run: parameters, code and data change while a stage uses them."""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random

import psutil
import torch
from PIL import Image, ImageOps
from ruamel.yaml import YAML

from faults.arena import LEARNED, MADE, OUTPUTS, Arena, Case
from faults.judge import judge, wrong_entries
from faults.project import Subject, Truth, await_, await_catching
from faults.tally import Tally


@dataclass(frozen=True)
class Edit:
    """A change to a file that a stage uses."""

    stage: str
    """In which it happens."""
    file: str
    change: Callable[[Path], None]
    harmless: bool = False
    """It changes no result, so the truth is that of B but for this file's md5."""
    runs: bool = True
    """Something can be run with it."""

    @property
    def name(self) -> str:
        """Return what it is, in words."""
        return f"{getattr(self.change, '__name__', 'edit')} {self.file} in {self.stage}"


def comment(path: Path) -> None:
    """Add a line that does nothing."""
    with path.open("a") as file:
        file.write("\n# edited\n")


def remove(path: Path) -> None:
    """Remove it."""
    path.unlink()


def cut(path: Path) -> None:
    """Leave half of it."""
    os.truncate(path, path.stat().st_size // 2)


def spoil(path: Path) -> None:
    """Make parameters invalid."""
    path.write_text(path.read_text().replace("lr: 0.02", "lr: fast"))


def replace(old: str, new: str) -> Callable[[Path], None]:
    """Replace a text."""

    def change(path: Path) -> None:
        text = path.read_text()
        assert text.count(old) == 1, (path, old)
        path.write_text(text.replace(old, new))

    change.__name__ = f"{old.strip()} -> {new.strip()}:"
    return change


def invert(path: Path) -> None:
    """Invert the images of a split, or a picture."""
    if path.suffix == ".pt":
        content = torch.load(path, weights_only=True)
        for name in ("images", "weights"):
            if isinstance(value := content.get(name), torch.Tensor):
                content[name] = 255 - value
        content.get("weights", {}).update(
            {name: -value for name, value in content.get("weights", {}).items()}
        )
        buffer = BytesIO()  # by a path, torch would write the file's name into it
        torch.save(content, buffer)
        path.write_bytes(buffer.getvalue())
        return
    with Image.open(path) as picture:
        inverted = ImageOps.invert(picture)
    inverted.save(path)


PARAMS_EDITS = {
    "prepare": replace("size: 24 ", "size: 32 "),
    "train": replace("lr: 0.02\n", "lr: 0.03\n"),
    "evaluate": replace("views: 2 ", "views: 6 "),
}


def edits(arena: Arena) -> list[Edit]:
    """Return every edit there is to try."""
    root = arena.before["check"].path
    pipeline = YAML(typ="safe", pure=True).load(root / "dvc.yaml")
    modules = [
        next(path.relative_to(root).as_posix() for path in sorted(below) if path.read_bytes())
        for name in pipeline["stages"]["train"]["deps"]
        if name.startswith(("stages", "toypipe"))
        and (below := [root / name] if name.endswith(".py") else [*(root / name).glob("*.py")])
    ]
    found = [
        # The checkpoint to start from fits no other size.
        Edit(stage, "params.yaml", change, runs=section != "prepare")
        for stage in ("prepare", "train", "evaluate")
        for section, change in PARAMS_EDITS.items()
    ]
    found += [Edit("train", name, comment, harmless=True) for name in modules]
    found += [
        Edit("prepare", "toypipe/data/pictures.py", comment, harmless=True),
        Edit("prepare", "stages/prepare.py", comment, harmless=True),
        Edit("evaluate", "toypipe/evaluation/metrics.py", comment, harmless=True),
        Edit("evaluate", "toypipe/networks/build.py", comment, harmless=True),
        Edit("prepare", "data/mine/train/cat/3.png", invert),
        Edit("train", "data/prepared/train.pt", invert),
        Edit("train", LEARNED, invert),
        Edit("evaluate", "data/model/checkpoint.pt", invert),
        Edit("evaluate", "data/prepared/test.pt", invert),
        Edit("train", "params.yaml", spoil, runs=False),
        Edit("prepare", "params.yaml", spoil, runs=False),
        Edit("train", "params.yaml", remove, runs=False),
        Edit("train", "data/prepared/train.pt", remove),
        Edit("train", "data/prepared/train.pt", cut),
        Edit("evaluate", "data/prepared/test.pt", cut),
        Edit("prepare", "data/mine/test/dog/0.png", remove),
        Edit("train", "toypipe/training/losses.py", remove, runs=False),
    ]
    return found


def edit_in_mid_run(arena: Arena, random: Random, edit: Edit) -> Tally:
    """Change a file while a stage runs; then go on with it as it is now, and with it put back."""
    changed = arena.copy(edit.stage)
    edit.change(changed.path / edit.file)
    truth, known = _truth_of(arena, edit, changed)
    content = (changed.path / edit.file).read_bytes() if edit.change is not remove else None
    shutil.rmtree(changed.path)

    tried = (_edit_once(arena, random, edit, content) for _ in range(10))
    subject, before, results, code, late = next(filter(None, tried))
    path = subject.path / edit.file

    what = f"{edit.name} (DVC ended with {code})"
    tally = Tally(tracebacks=subject.printed.count("Traceback"), orphans=subject.orphans())
    wrong = wrong_entries(subject, *known)
    if code != 0 and subject.entries()[edit.stage] == arena.recorded.entries[edit.stage]:
        # The stage has published nothing: what is there was there before, if DVC has left it.
        files = subject.files()
        wrong += [
            name for name in OUTPUTS[edit.stage] if files.get(name) not in (None, results.get(name))
        ]
    tally.records = len(wrong)
    tally.notes += [f"{what}: {', '.join(wrong)}\n{subject.printed[-3000:]}"] if wrong else []
    subject.printed = ""

    if truth is not None:
        copy = arena.copy_of(subject)
        tally.add(judge(arena, copy, f"{what}, as it is", truth=truth, known=known))
    path.write_bytes(before)
    if late and code != 0:
        subject.end("dvc", "repro")
        # Images that are read while it trains end it at once; else it is finished before.
        if "delivering it" not in subject.printed and "resuming after" not in subject.printed:
            tally.outputs += 1
            tally.notes.append(f"{what}: put back, it was not gone on with\n{subject.printed}")
    tally.add(judge(arena, subject, f"{what}, put back", known=known))
    tally.count = 1
    return tally


def _edit_once(
    arena: Arena, random: Random, edit: Edit, content: bytes | None
) -> tuple[Subject, bytes, Mapping[str, bytes], int, bool] | None:
    """Change a file while a stage runs; None if the stage had ended by then.

    Returns:
        The project, the file as it was, all results as they were, the exit code of DVC, and
        whether the edit came so late that the training was finished, and kept.
    """
    subject = arena.copy(edit.stage)
    path = subject.path / edit.file
    before, results = path.read_bytes(), subject.files()
    with subject.started("dvc", "repro") as process:
        victim = subject.await_stage(edit.stage, process)
        assert victim is not None
        late = edit.stage == "train" and (edit.change is remove or random.random() < 0.5)
        if late:
            await_(lambda: list(subject.path.glob(".toypipe/runs/*/state.pt")) or process.poll())
        else:
            await_catching(victim)
            time.sleep(random.random() * 0.7 * arena.seconds[edit.stage])
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        hit = victim.is_running() and victim.status() != psutil.STATUS_ZOMBIE
    if hit:
        return subject, before, results, process.returncode, late
    shutil.rmtree(subject.path)
    return None


def _truth_of(arena: Arena, edit: Edit, changed: Subject) -> tuple[Truth | None, list[Truth]]:
    """Return what an edited project comes to, if anything, and all that may be recorded."""
    known = [arena.recorded, arena.truth]
    if edit.harmless or edit.runs:
        truth = arena.truth_of(changed)
        assert not edit.harmless or truth.files == arena.truth.files
        if edit.file in MADE and edit.change not in {remove, cut}:
            # The whole pipeline makes this file again; the stage alone takes it as it is.
            known.append(arena.truth_of(changed, "--single-item", edit.stage))
    else:
        return None, known
    return truth, [*known, truth]


def cases(arena: Arena) -> list[Case]:
    """Return every edit as a fault."""
    return [partial(edit_in_mid_run, edit=edit) for edit in edits(arena)]
