"""Train on more images than memory holds: the figures behind docs/scaling.md.

    python benchmarks/no_room.py [--images N] [--size PIXELS] [--limit GB] [--folder PATH]

Makes a folder of photographs (CIFAR-10's, enlarged, as JPEG files; the same few under many names)
and prepares it: how much memory of its own the process holds. Then trains on the packed images,
three times in turn with room for them and under a limit for the process's own memory, as by
`ulimit -d`: how many images a second. Last, under the limit, a training is killed and resumed, and
its checkpoint compared with that of one that was not, and of one with room. It needs data/prepared,
and disk for twice the packed images.
"""

import argparse
import hashlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch.nn.functional as F
from machine import describe_machine
from resume import kill_in_mid_run
from torchvision.transforms.functional import to_pil_image

from toypipe.data.split import load_split

ROOT = Path(__file__).parents[1]
ROUNDS = 3
BATCH = 8
PHOTOGRAPHS = 200  # different ones, of which the folder has copies
NETWORKS = {"toy": ("{name: toy}", 1500), "resnet18": ("{name: torchvision, arch: resnet18}", 300)}
"""A cheap network, which asks for many images a second, and a usual one; how many each takes."""


def main() -> None:
    """Prepare, measure and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=53_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--limit", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, help="where the files go; else a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        project = Path(name)
        make_project(project, options.images, options.size)
        prepare(project)
        for network in NETWORKS:
            compare(project, network, options.images, options.limit)
    print(", ".join(f"{key} {value}" for key, value in describe_machine("cpu").items()))


def make_project(project: Path, images: int, size: int) -> None:
    """Write a folder of photographs, and the parameters to prepare it."""
    few = load_split(Path("data/prepared/train.pt")).images[:PHOTOGRAPHS].float()
    large = F.interpolate(few, size, mode="bicubic").clamp(0, 255).byte()
    for number in range(images):
        path = project / f"data/mine/train/{number % 2}/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        first = project / f"data/mine/train/{number % 2}/{number % PHOTOGRAPHS}.jpg"
        if number < PHOTOGRAPHS:
            to_pil_image(large[number]).save(path, quality=90)
        else:
            path.hardlink_to(first)
    for label in "01":
        (project / f"data/mine/test/{label}").mkdir(parents=True)
        some = project / f"data/mine/train/{label}/{label}.jpg"
        shutil.copy(some, project / f"data/mine/test/{label}")
    for package in ("stages", "toypipe"):
        (project / package).symlink_to(ROOT / package)
    listed = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    before = "      - stages/prepare.py\n"
    listed = listed.replace(before, f"      - data/mine\n{before}")
    (project / "dvc.yaml").write_text(listed, encoding="utf-8")
    text = (ROOT / "recipes/toy.yaml").read_text(encoding="utf-8")
    text = text.replace("name: cifar10 ", f"name: folder\n    path: data/mine\n    size: {size} ")
    text = text.replace("validation: 5000 ", "validation: 0 ")
    (project / "params.yaml").write_text(text, encoding="utf-8")


def prepare(project: Path) -> None:
    """Pack the images; print the most memory of its own that the process held."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "stages", "prepare"], cwd=project)
    most = 0
    while process.poll() is None:
        most = max(most, own_memory(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(process.returncode)
    size = (project / "data/prepared/train.pt").stat().st_size
    seconds = time.monotonic() - start
    print(f"prepare: {size / 1e9:.2f} GB in {seconds:.0f} s, {most / 1e9:.2f} GB of its own")


def own_memory(pid: int) -> int:
    """Return the bytes in memory that are the process's alone, not pages of files."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def compare(project: Path, network: str, images: int, limit: float) -> None:
    """Train with room and without, in turn; then kill and resume; print what was found."""
    model, count = NETWORKS[network]
    changes = ["~train.model", f"+train.model={model}", f"train.epochs={count / images}"]
    changes += [f"train.batch_size={BATCH}"]  # larger ones need more than the limit themselves
    room = [sys.executable, "-m", "stages", "train", "--device", "cpu"]
    room += [argument for change in changes for argument in ("-S", change)]
    commands = {"with room": room, "without": ["prlimit", f"--data={int(limit * 1e9)}", *room]}
    rates: dict[str, list[float]] = {name: [] for name in commands}
    sums = {}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            said = trained(project, command)
            if ("no room" in said) != (name == "without"):
                raise SystemExit(f"{name}, but it said: {said}")
            found = re.search(r" ([\d.]+) s, [\d,]+ images/s", said)
            rates[name].append(count / float(found[1] if found else "nan"))
            sums[name] = checkpoint(project)
    shutil.rmtree(project / ".toypipe")
    kill_in_mid_run(commands["without"], project)
    subprocess.run(commands["without"], cwd=project, check=True)
    sums["without, killed and resumed"] = checkpoint(project)
    ratios = [less / more for more, less in zip(*rates.values(), strict=True)]
    for name, values in rates.items():
        print(f"{network}, {name}: {statistics.median(values):.1f} images/s")
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(f"{network}, ratio: {statistics.median(ratios):.3f} ({spread})")
    print(f"{network}, checkpoints: {sums}")


def trained(project: Path, command: list[str]) -> str:
    """Train from the beginning; return what was said."""
    shutil.rmtree(project / ".toypipe", ignore_errors=True)
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stderr


def checkpoint(project: Path) -> str:
    """Return the first digits of the checkpoint's checksum."""
    content = (project / "data/model/checkpoint.pt").read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]


if __name__ == "__main__":
    main()
