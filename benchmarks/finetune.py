"""Our training beside fastai's `Learner.fine_tune`: same photographs, starting weights and epochs.

    python benchmarks/finetune.py FOLDER CHECKPOINT [TURNS] [--rate RATE]

In turn, each in a process of its own, from the files to the accuracy on FOLDER/test: the commands
of toypipe with params.yaml, whose data set is a `folder`, but for the folder and the start; and
fastai, as its documentation has it, with the same network, size, batch size and number of epochs,
one of them for the last layer alone, at its own learning rate or the one that --rate gives. Prints
every turn, then the medians and their ratio. FOLDER has train/ and test/. fastai is one of
benchmarks/requirements.in.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from ruamel.yaml import YAML
from torch import nn

from toypipe.params.data_sets import Folder
from toypipe.params.file import read_params
from toypipe.params.schema import Params

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("turns", type=int, nargs="?", default=3)
    parser.add_argument("--rate", type=float, default=2e-3, help="of fastai; by default its own")
    parser.add_argument("--fastai", type=int, help="used by this script: the seed of a turn")
    options = parser.parse_args()
    folder, checkpoint = options.folder.resolve(), options.checkpoint.resolve()
    params = read_params(Path("params.yaml"))
    if options.fastai is not None:
        accuracy = fine_tune(folder, checkpoint, params, options.rate, options.fastai)
        print(json.dumps(accuracy))
        return
    found: dict[str, list[tuple[float, float]]] = {"toypipe": [], "fastai": []}
    for seed in range(options.turns):
        for name, measured in found.items():
            start = time.perf_counter()
            if name == "toypipe":
                accuracy = toypipe(folder, checkpoint, seed)
            else:
                command = [sys.executable, __file__, str(folder), str(checkpoint)]
                command += ["--rate", str(options.rate), "--fastai", str(seed)]
                accuracy = float(output(command, Path.cwd()))
            measured.append((accuracy, time.perf_counter() - start))
            print(f"seed {seed}: {name} {accuracy:.4f}, {measured[-1][1]:.1f} s", flush=True)
    medians = {
        name: [median(column) for column in zip(*found[name], strict=True)] for name in found
    }
    for name, (accuracy, seconds) in medians.items():
        print(f"{name}, median of {options.turns}: accuracy {accuracy:.4f}, {seconds:.1f} s")
    print(f"fastai takes {medians['fastai'][1] / medians['toypipe'][1]:.2f} times as long")


def toypipe(folder: Path, checkpoint: Path, seed: int) -> float:
    """Prepare, train and evaluate by the commands, in a folder of their own."""
    params = YAML(pure=True).load(Path("params.yaml"))
    params["prepare"]["dataset"]["path"] = str(folder)
    params["train"] |= {"start": str(checkpoint), "seed": seed}
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        for name in ("stages", "toypipe"):
            (here / name).symlink_to(ROOT / name)
        YAML(pure=True).dump(params, here / "params.yaml")
        (here / "dvc.yaml").write_bytes(Path("dvc.yaml").read_bytes())
        for stage in ("prepare", "train", "evaluate"):
            output([sys.executable, "-m", "stages", stage], here)
        accuracy: float = json.loads((here / "data/reports/test.json").read_text())["accuracy"]
    return accuracy


def fine_tune(folder: Path, checkpoint: Path, params: Params, rate: float, seed: int) -> float:
    """Train with fastai, in float32, and return the accuracy on the test images."""
    import torch
    from fastai.vision import all as fast

    from toypipe.networks.build import Shape, build_model
    from toypipe.networks.normalize import Normalize
    from toypipe.networks.start import last_layer, learned_in, start_from

    train, dataset = params.train, params.prepare.dataset
    size = dataset.size if isinstance(dataset, Folder) else 32
    classes = sorted(each.name for each in (folder / "train").iterdir())
    unit = Normalize(torch.zeros(3), torch.ones(3))
    model = build_model(train.model, Shape(size, len(classes)), unit, seed)
    start_from(model, learned_in(checkpoint), classes)
    network, first = model.get_submodule("network"), model.get_submodule("normalize")
    deviation = 1 / (255 * first.get_buffer("scale").flatten())
    mean = -first.get_buffer("shift").flatten() * deviation

    fast.set_seed(seed)
    normalize = fast.Normalize.from_stats(mean, deviation, cuda=False)
    loaders = fast.ImageDataLoaders.from_folder(
        folder,
        train="train",
        valid="test",
        bs=train.batch_size,
        item_tfms=fast.Resize(size),
        batch_tfms=[*fast.aug_transforms(size=size), normalize],
        device=torch.device("cpu"),
    )
    head = list(network.get_submodule(last_layer(network)).parameters())

    def in_two(whole: nn.Module) -> list[list[nn.Parameter]]:
        of_head = {id(weight) for weight in head}
        return [[weight for weight in whole.parameters() if id(weight) not in of_head], head]

    learner = fast.Learner(loaders, network, metrics=fast.accuracy, splitter=in_two)
    with learner.no_bar(), contextlib.redirect_stdout(sys.stderr):
        learner.fine_tune(int(train.epochs) - 1, rate)  # and one epoch of the head alone
        return float(learner.validate()[1])


def output(command: list[str], folder: Path) -> str:
    """Return what a program prints; end if it fails."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SystemExit(result.stderr)
    return result.stdout


if __name__ == "__main__":
    main()
