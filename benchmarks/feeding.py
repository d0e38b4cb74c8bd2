"""How fast images can be had, where they lie: the figures behind docs/scaling.md.

    python benchmarks/feeding.py [--images N] [--size PIXELS] [--batch N] [--folder PATH]

Writes images of the size asked for (CIFAR-10's, enlarged) as one packed file, as `prepare` does,
and as JPEG files; then takes batches in random order: from memory, from the packed file, which the
system keeps in memory, and by decoding the JPEG files with torch's DataLoader, a worker for each
core. Medians of five rounds, in turn. Last, what md5 does, with which DVC hashes.
It needs data/prepared, and room for the files.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from machine import describe_machine
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from toypipe.data.split import Split, load_split, open_split, save_split
from toypipe.data.stored import StoredImages

ROUNDS = 5


class Jpegs(Dataset[Tensor]):
    """Files, each decoded when it is asked for."""

    def __init__(self, files: list[Path]) -> None:
        """Name the files."""
        self._files = files

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._files)

    def __getitem__(self, place: int) -> Tensor:
        """Return an image, uint8 of shape (3, size, size)."""
        with Image.open(self._files[place]) as image:
            pixels: Tensor = pil_to_tensor(image)
        return pixels


def write(folder: Path, count: int, size: int) -> list[Path]:
    """Write enlarged images, packed and as files; return the files."""
    split = load_split(Path("data/prepared/train.pt"))
    few = split.images[torch.arange(count) % len(split)]
    large = [F.interpolate(part.float(), size, mode="bicubic") for part in few.split(100)]
    images = torch.cat([part.clamp(0, 255).to(torch.uint8) for part in large])
    images = images.contiguous(memory_format=torch.channels_last)
    with (folder / "packed.pt").open("wb") as file:
        save_split(file, Split(images, torch.zeros(count, dtype=torch.int64), ["one"]))
    files = [folder / f"{i}.jpg" for i in range(count)]
    for image, path in zip(images, files, strict=True):
        to_pil_image(image).save(path, quality=90)
    return files


def gather(images: Tensor, batch: int) -> int:
    """Take every image once, in random order; return how many."""
    pixels = images.permute(0, 2, 3, 1)
    for index in torch.randperm(len(images)).split(batch):
        pixels.index_select(0, index)
    return len(images)


def read(images: StoredImages, batch: int) -> int:
    """Read every image once, in random order; return how many."""
    return sum(len(images.read(index)) for index in torch.randperm(len(images)).split(batch))


def decode(loader: DataLoader[Tensor]) -> int:
    """Decode every file once, in random order; return how many."""
    return sum(len(batch) for batch in loader)


def digest(path: Path) -> int:
    """Hash a file; return its bytes."""
    with path.open("rb") as file:
        hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return path.stat().st_size


def main() -> None:
    """Measure and print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="where the files go; else a temporary one")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        files = write(folder, options.images, options.size)
        packed = folder / "packed.pt"
        stored = open_split(packed).images
        resident = load_split(packed).images
        workers = torch.get_num_threads()
        loader = DataLoader(
            Jpegs(files), options.batch, shuffle=True, num_workers=workers, persistent_workers=True
        )
        works: dict[str, Callable[[], int]] = {
            "packed, in memory: images/s": lambda: gather(resident, options.batch),
            "packed, read from the file: images/s": lambda: read(stored, options.batch),
            "JPEG files, decoded: images/s": lambda: decode(loader),
            "md5: MB/s": lambda: digest(packed) // 10**6,
        }
        rates: dict[str, list[float]] = {what: [] for what in works}
        for _ in range(ROUNDS + 1):
            for what, work in works.items():
                start = time.perf_counter()
                done = work()
                rates[what].append(done / (time.perf_counter() - start))
        sizes = packed.stat().st_size, sum(file.stat().st_size for file in files)
    print("| what | |\n|---|--:|")
    for what, found in rates.items():
        print(f"| {what} | {statistics.median(found[1:]):,.0f} |")  # the first warms up
    each = [f"{size / options.images / 1000:.0f} kB" for size in sizes]
    print(f"\n{options.size} pixels: {each[0]} an image packed, {each[1]} as JPEG of quality 90")
    print(", ".join(f"{key} {value}" for key, value in describe_machine("cpu").items()))


if __name__ == "__main__":
    main()
