"""Everything that only a GPU can show, in one call of at most nine minutes.

    make gpu
    python benchmarks/gpu.py [--minutes 9]

Runs in turn, each in a process of its own with a share of the time: the tests that need a GPU; an
epoch of the default recipe, captured and eager (cuda_epoch.py); a training that is killed and
resumed (resume.py); with several GPUs, the same in two processes; the time to 94 % over 40 trials,
in turn with airbench where that is installed (speedrun.py); the frameworks that are installed
(compare.py). A part that fails or takes too long is named, and the others run. Writes all that they
print, with card, driver and versions, to benchmarks/results/gpu.json and gpu.md.

It needs data/prepared (`toypipe prepare` with the default recipe), and neither make, DVC nor a
network. Ends with 2 where there is no GPU, and with 1 if a part failed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from machine import describe_machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"


class Part(NamedTuple):
    """One of the things to measure."""

    name: str
    command: list[str]
    minutes: float  # at most, if all other parts take as long as they may


def parts() -> list[Part]:
    """Return what this machine can do, the most important first."""
    speedrun = ["speedrun.py", "recipes/speedrun94.yaml", "--trials", "40", "--device", "cuda"]
    speedrun += ["-S", "evaluate.precision=bfloat16"]  # float32 without TF32 is slow there
    if find_spec("airbench"):
        speedrun.append("--airbench")
    found = [
        Part("tests", ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"], 2),
        Part("an epoch of the default recipe", ["cuda_epoch.py", "5"], 1.5),
        Part("killed and resumed", ["resume.py", "--device", "cuda"], 0.75),
        Part("time to 94 %", speedrun, 2.5),
        Part("frameworks", ["compare.py", "--device", "cuda", "--repeats", "3"], 1.5),
    ]
    if torch.cuda.device_count() > 1:
        two = ["resume.py", "--device", "cuda", "--processes", "2"]
        found.insert(3, Part("two processes, killed and resumed", two, 0.75))
    return found


def run(part: Part, seconds: float) -> dict[str, object]:
    """Run a part; return what it printed, how long it took, and what went wrong, if anything."""
    first, *others = part.command
    command = [sys.executable, *([first] if first == "-m" else [str(HERE / first)]), *others]
    start = time.monotonic()
    problem = ""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=HERE.parent, stdout=output, stderr=output, start_new_session=True
        )
        try:
            if process.wait(seconds) != 0:
                problem = f"ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            problem = f"took longer than {seconds:.0f} s"
            os.killpg(process.pid, signal.SIGKILL)  # with all that it has started
            process.wait()
        output.seek(0)
        printed = output.read().decode(errors="replace")
    return {"seconds": round(time.monotonic() - start, 1), "problem": problem, "printed": printed}


def main(minutes: float) -> int:
    """Run everything, write it, and return the exit code."""
    if not torch.cuda.is_available():
        print("make gpu needs a CUDA device, and torch finds none here", file=sys.stderr)
        return 2
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    machine = describe_machine("cuda")
    with suppress(OSError):
        driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout
        machine["driver"] = driver.partition("\n")[0]
    end = time.monotonic() + 60 * minutes
    found: dict[str, dict[str, object]] = {}
    left = parts()
    RESULTS.mkdir(exist_ok=True)
    while left:
        part, *left = left
        # What earlier parts did not need is shared out.
        share = part.minutes / sum(each.minutes for each in [part, *left])
        found[part.name] = run(part, share * (end - time.monotonic()))
        print(f"{part.name}: {found[part.name]['problem'] or 'done'}", flush=True)
        result = {"machine": machine, "parts": found}
        (RESULTS / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / "gpu.md").write_text(page(machine, found))
    return int(any(each["problem"] for each in found.values()))


def page(machine: dict[str, str], found: dict[str, dict[str, object]]) -> str:
    """Return everything as Markdown, for docs/speed.md."""
    lines = [", ".join(f"{key} {value}" for key, value in machine.items())]
    for name, each in found.items():
        problem = f" ({each['problem']})" if each["problem"] else ""
        lines += ["", f"## {name}{problem}", "", "```text", str(each["printed"]).strip(), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9)
    sys.exit(main(parser.parse_args().minutes))
