"""A training that is killed and resumed ends with the bytes of one that was not.

    python benchmarks/resume.py [RECIPE] [--device NAME] [--processes N] [--epochs 2]

Trains the recipe in a folder of its own, then again in another one, in which it is killed without a
warning as soon as it has saved a state, and called once more. Prints both sums, and ends with 1 if
they differ. It needs data/prepared.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTPUTS = ("data/model/checkpoint.pt", "data/reports/loss.csv")
PATIENCE = 120.0  # seconds to wait for the first saved state


def main() -> int:
    """Train twice, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", type=Path, default=ROOT / "recipes/quick.yaml")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--processes", default="1")
    parser.add_argument("--epochs", type=float, default=2)
    options = parser.parse_args()
    where = ["--device", options.device, "--processes", options.processes]
    command = [sys.executable, "-m", "stages", "train", *where]
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch, name) for name in ("whole", "killed")]
        for folder in folders:
            arrange(folder, options.recipe, options.epochs)
        start = time.monotonic()
        subprocess.run(command, cwd=folders[0], check=True)
        print(f"never stopped: {time.monotonic() - start:.1f} s, {sums(folders[0])}")
        kill_in_mid_run(command, folders[1])
        subprocess.run(command, cwd=folders[1], check=True)
        print(f"killed and resumed: {sums(folders[1])}")
        return int(sums(folders[0]) != sums(folders[1]))


def arrange(folder: Path, recipe: Path, epochs: float) -> None:
    """Make a folder in which the recipe can train."""
    (folder / "data").mkdir(parents=True)
    for name in ("stages", "toypipe"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "data/prepared").symlink_to(Path("data/prepared").resolve())
    lines = recipe.read_text(encoding="utf-8").splitlines()
    changed = [f"  epochs: {epochs}" if line.startswith("  epochs:") else line for line in lines]
    (folder / "params.yaml").write_text("\n".join(changed) + "\n", encoding="utf-8")
    (folder / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())


def kill_in_mid_run(command: list[str], folder: Path) -> None:
    """Start a command, and kill all of it when a state has been saved."""
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    end = time.monotonic() + PATIENCE
    while not any(folder.glob(".toypipe/runs/*/state.pt")):
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit("the training ended before it had saved a state: give more --epochs")
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def sums(folder: Path) -> str:
    """Return the first digits of the checksums of the outputs."""
    return " ".join(
        hashlib.sha256((folder / name).read_bytes()).hexdigest()[:12] for name in OUTPUTS
    )


if __name__ == "__main__":
    sys.exit(main())
