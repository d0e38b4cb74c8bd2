"""What a fresh last layer needs: nothing, a rate of its own, or the others frozen at first.

    python benchmarks/heads.py FOLDER CHECKPOINT [SEEDS]

Trains with params.yaml on FOLDER/train.pt, as `toypipe prepare` writes it, from the weights of
CHECKPOINT, and tests on FOLDER/test.pt: at several learning rates, with one rate for all layers,
with ten times the rate for the last one, and with the others frozen for the first tenth of the
epochs. Prints the accuracy of each seed, then the best mean of each way. The optimizer must be sgd,
adam or adamw.
"""

import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Literal, get_args

from torch import nn

from toypipe.compute.devices import pick_device
from toypipe.data.split import Split, load_split
from toypipe.evaluation.metrics import predict
from toypipe.networks.build import Shape, build_model
from toypipe.networks.normalize import build_normalize
from toypipe.networks.start import Learned, last_layer, learned_in, start_from
from toypipe.params.file import read_params
from toypipe.params.schema import Params, TrainParams
from toypipe.training.holdout import hold_out
from toypipe.training.loop import begin, train
from toypipe.training.optimizers import build_optimizers
from toypipe.training.state import Epoch

Way = Literal["one rate", "last layer ten times as fast", "others frozen at first"]
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the rate of params.yaml
FACTOR = 10  # of the last layer's rate
FROZEN = 0.1  # share of the epochs, rounded up


def main(folder: Path, checkpoint: Path, seeds: int) -> None:
    """Train every way, and print."""
    pick_device("cpu")
    params, learned = read_params(Path("params.yaml")), learned_in(checkpoint)
    training, test = load_split(folder / "train.pt"), load_split(folder / "test.pt")
    best: dict[Way, list[float]] = {}
    for way in get_args(Way):
        for factor in RATES:
            rate = params.train.optimizer.lr * factor
            found = list[float]()
            for seed in range(seeds):
                optimizer = params.train.optimizer.model_copy(update={"lr": rate})
                changed = params.train.model_copy(update={"seed": seed, "optimizer": optimizer})
                model = trained(way, changed, learned, training)
                found.append(accuracy(model, test, params))
            print(f"{way}, rate {rate:g}:", *(f"{each:.4f}" for each in found), flush=True)
            best[way] = max(best.get(way, found), found, key=mean)
    for way, found in best.items():
        print(f"{way}: mean {mean(found):.4f}, standard deviation {stdev(found):.4f}")


def trained(way: Way, params: TrainParams, learned: Learned, split: Split) -> nn.Module:
    """Return a network that starts from what was learned."""
    training, validation = hold_out(split, params.validation, params.seed)
    normalize = build_normalize(params.normalize, training.images)
    shape = Shape(training.size, len(training.classes))
    model = build_model(params.model, shape, normalize, params.seed)
    start_from(model, learned, training.classes)
    state = begin(model, params)
    if way != "one rate":
        head = model.get_submodule(last_layer(model))
        of_head = {id(weight) for weight in head.parameters()}
        others = nn.ParameterList(w for w in model.parameters() if id(w) not in of_head)
        factor = FACTOR if way == "last layer ten times as fast" else 1
        faster = params.optimizer.model_copy(update={"lr": factor * params.optimizer.lr})
        of_last = build_optimizers(head, faster)
        state.optimizers = [*build_optimizers(others, params.optimizer), *of_last]
    together = state.optimizers
    if way == "others frozen at first":
        state.optimizers = of_last
    for event in train(state, training, validation, params):
        if isinstance(event, Epoch) and event.epoch >= FROZEN * params.epochs:
            state.optimizers = together
    return model


def accuracy(model: nn.Module, test: Split, params: Params) -> float:
    """Return the share of the test images that are classified right."""
    evaluate = params.evaluate
    logits = predict(
        model.eval(), test.images, batch_size=evaluate.batch_size, views=evaluate.views
    )
    return float((logits.argmax(1) == test.labels).float().mean())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 3)
