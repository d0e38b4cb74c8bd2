"""Make a folder of real photographs: crops of the wallpapers that three Debian packages bring.

    python benchmarks/photographs.py data/photographs

Each class is a few scenes. Training images show the left of a scene, test images the right, and no
pixel is in both. The largest class has four times as many
images as the smallest. The same versions of the packages give
the same files. Needs `apt-get` and `dpkg-deb`; nothing is installed.
"""

import argparse
import random
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageStat

PACKAGES = (
    "lomiri-wallpapers-16.04",
    "mate-backgrounds",
    "plasma-workspace-wallpapers",
)
SCENES = {
    "flower": ("Garden.jpg", "YellowFlower.jpg", "TwoWings.jpg", "LadyBird.jpg", "seeding*"),
    "forest": ("Path/*/*/2560x1600.jpg", "Dragonfly*", "life*", "FallenLeaf/*/*/2560x1600.jpg"),
    "leaf": ("Blinds.jpg", "GreenMeadow.jpg", "RainDrops.jpg", "OneStandsOut/*/*/2560x1600.jpg"),
    "mountain": ("aitzgorri*", "picosdeeuropa*", "sunset*"),
    "sky": ("Kite/*/*/2560x1600.jpg", "Bridge*", "summer_1am/*/*/2560x1600.jpg", "Storm.jpg"),
    "things": ("ColorfulCups/*/*/2560x1600.jpg", "Picture_*", "Wine*", "greentock*"),
    "wood": ("BytheWater/*/*/2560x1600.jpg", "ColdRipple/*/*/2560x1600.jpg", "Wood.jpg"),
}
"""The files of each class, by patterns for their names."""
CROPS = {
    "flower": 30,
    "forest": 36,
    "leaf": 27,
    "mountain": 20,
    "sky": 24,
    "things": 26,
    "wood": 13,
}
"""Training images of each scene; for the test there are two for every five of them."""
HEIGHT = 900  # pixels, to which each scene is scaled
SIDE = (200, 400)  # pixels of such a scene, from which the side of a crop is drawn
WRITTEN = 256  # pixels of a side, as written
LEFT, RIGHT = (0.0, 0.68), (0.7, 1.0)  # the parts of a scene's width


def main() -> None:
    """Fetch the packages, and cut the photographs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for train/ and test/")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["/usr/bin/apt-get", "download", *PACKAGES], cwd=scratch, check=True)
        for package in Path(scratch).glob("*.deb"):
            subprocess.run(["/usr/bin/dpkg-deb", "-x", package, scratch], check=True)
        for name, patterns in SCENES.items():
            for pattern in patterns:
                for path in sorted(Path(scratch).rglob(f"*/{pattern}")):
                    _cut(path, folder, name)


def _cut(path: Path, folder: Path, name: str) -> None:
    """Write the crops of a scene."""
    with Image.open(path) as opened:
        width = round(opened.width * HEIGHT / opened.height)
        scene = opened.convert("RGB").resize((width, HEIGHT), Image.Resampling.LANCZOS)
    halves = (("train", LEFT, CROPS[name]), ("test", RIGHT, round(0.4 * CROPS[name])))
    for half, (start, end), count in halves:
        draw = random.Random(f"{half} {path.name} {name}")  # noqa: S311 - not for secrets
        part = scene.crop((round(start * width), 0, round(end * width), HEIGHT))
        # Of twice as many, the half that shows more: most of a sky is but blue.
        crops = sorted((_crop(part, draw) for _ in range(2 * count)), key=_contrast)[count:]
        target = folder / half / name
        target.mkdir(parents=True, exist_ok=True)
        scene_name = path.parents[2].name if path.stem == "2560x1600" else path.stem
        for i, crop in enumerate(crops):
            crop.save(target / f"{scene_name}_{i:02}.jpg", quality=92)


def _crop(part: Image.Image, draw: random.Random) -> Image.Image:
    side = min(draw.randint(*SIDE), part.width)
    left, top = draw.randint(0, part.width - side), draw.randint(0, part.height - side)
    square = part.crop((left, top, left + side, top + side))
    return square.resize((WRITTEN, WRITTEN), Image.Resampling.BICUBIC)


def _contrast(crop: Image.Image) -> float:
    return ImageStat.Stat(crop.convert("L")).stddev[0]


if __name__ == "__main__":
    main()
