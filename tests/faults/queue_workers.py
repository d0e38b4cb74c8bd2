"""Workers of DVC's queue that are killed while they train."""

import contextlib
from functools import partial
from random import Random

import psutil

from faults.arena import Arena, Case
from faults.judge import judge, wait_a_part
from faults.project import Subject, await_
from faults.tally import GONE_AFTER, Tally


def kill_worker(arena: Arena, random: Random, *, whole: bool) -> Tally:
    """Kill a worker, or all that runs below it, at a random moment; the workspace goes on."""
    subject = arena.copy("train")
    subject.run("dvc", "exp", "run", "--queue")
    assert subject.end("dvc", "queue", "start") == 0  # whose worker keeps its output open
    stage = await_(lambda: _find(subject, "stages train"))
    assert stage is not None, subject.run("dvc", "queue", "status")
    wait_a_part(arena, random, "train", stage)
    worker = _find(subject, "queue-worker")
    victims = [worker, *worker.children(recursive=True)] if whole and worker else [worker]
    for victim in filter(None, victims):
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    await_(lambda: _find(subject, "stages train") is None, GONE_AFTER)
    orphan = _find(subject, "stages train")
    if orphan is not None:
        orphan.kill()
    what = f"kill of {'all of ' * whole}a queue worker in training"
    tally = judge(arena, subject, what)
    if orphan is not None:
        tally.orphans += 1
        tally.notes.append(f"{what}: its stage goes on")
    return tally


def _find(subject: Subject, words: str) -> psutil.Process | None:
    """Return a process in the project, or in a workspace below it, by words of its command."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            here = process.cwd() == str(subject.path) or process.cwd().startswith(
                f"{subject.path}/"
            )
            if here and words in " ".join(process.cmdline()):
                return process
    return None


def cases(_: Arena) -> list[Case]:
    """Return a dozen: each starts a queue, which takes a quarter of a minute."""
    return [partial(kill_worker, whole=whole) for whole in (False, True) for _ in range(6)]
