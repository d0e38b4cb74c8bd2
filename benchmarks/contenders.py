"""The contenders, each as its own documentation would have it: as it comes, and at its best.

`best` is: whole batches from memory, channels_last, torch's fused optimizer, no progress bar, no
logger, no checkpoint, and whatever else the manual of the peer recommends for speed. At its best,
toypipe trains in bfloat16, a parameter of its recipes; all others stay in float32, so that it is
toypipe in float32 that they are to be compared with.
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from task import LEARNING_RATE, Task
from torch import nn

from toypipe.compute.cuda_graph import captured
from toypipe.params.file import read_params
from toypipe.training.loop import Step, begin, train, train_step
from toypipe.training.losses import LOSSES, one_hot

RECIPE = read_params(Path("recipes/toy.yaml"), []).train


def toypipe(task: Task, *, best: bool) -> None:
    """Train as `toypipe train` does."""
    precision = "bfloat16" if best else "float32"
    changes = {"epochs": 1, "batch_size": task.batch_size, "precision": precision}
    params = RECIPE.model_copy(update=changes)
    run = begin(task.model, params)
    task.mark()
    for event in train(run, task.split, None, params):
        if isinstance(event, Step) and event.done < event.images:
            task.mark()


def bare_step(task: Task, *, best: bool) -> None:
    """Take toypipe's step again and again on one batch that lies ready: forward, backward, update.

    At its best in bfloat16, and on CUDA captured, as toypipe is.
    """
    run = begin(task.model, RECIPE)
    images, labels = task.split.images[: task.batch_size], task.split.labels[: task.batch_size]
    targets = one_hot(labels, len(task.split.classes))
    loss = LOSSES[RECIPE.loss]

    def step(_: int, __: int) -> None:
        train_step(task.model, loss, run.optimizers, images, targets, bfloat16=best)

    whole_step = captured(step, task.device)
    for _ in range(task.steps):
        task.mark()
        whole_step(task.batch_size, task.split.size)


def tutorial(task: Task, *, best: bool) -> None:
    """Train with the loop of the lesson that toypipe grew out of; torch's DataLoader feeds it."""
    network, loader = task.network(best=best), task.loader(best=best)
    optimizer = _sgd(network, best=best)
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images.to(task.device)), labels.to(task.device))
        loss.backward()
        optimizer.step()
        total += loss.item()


def lightning(task: Task, *, best: bool) -> None:
    """Train with PyTorch Lightning's Trainer."""
    import lightning as L

    class Module(L.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = task.network(best=best)

        def training_step(self, batch: Any, _: int) -> Any:
            images, labels = batch
            loss = F.cross_entropy(self.network(images), labels)
            if not best:
                self.log("train_loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return _sgd(self, best=best)

    trainer = L.Trainer(
        max_epochs=1,
        accelerator="gpu" if task.device.type == "cuda" else "cpu",
        devices=1,
        default_root_dir="build",
        barebones=best,
    )
    trainer.fit(Module(), task.loader(best=best))


def accelerate(task: Task, *, best: bool) -> None:
    """Train with Hugging Face accelerate around a plain loop."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=task.device.type == "cpu")
    network, optimizer, loader = accelerator.prepare(
        task.network(best=best),
        _sgd(task.model, best=best),
        task.loader(best=best),
    )
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        accelerator.backward(loss)
        optimizer.step()
        if not best:
            loss.item()


def ignite(task: Task, *, best: bool) -> None:
    """Train with PyTorch-Ignite's supervised trainer."""
    from ignite.engine import create_supervised_trainer
    from ignite.handlers import ProgressBar
    from ignite.metrics import RunningAverage

    network = task.network(best=best)
    options: dict[str, Any] = {"output_transform": lambda *out: out[-1]} if best else {}
    trainer = create_supervised_trainer(
        network, _sgd(network, best=best), nn.CrossEntropyLoss(), task.device, **options
    )
    if not best:
        RunningAverage(output_transform=lambda loss: loss).attach(trainer, "loss")
        ProgressBar().attach(trainer, ["loss"])
    trainer.run(task.loader(best=best), max_epochs=1)


def skorch(task: Task, *, best: bool) -> None:
    """Train with skorch's NeuralNetClassifier."""
    from skorch import NeuralNet

    loader = task.loader(best=best)

    def as_it_is(_: Any, **__: Any) -> Any:
        return loader

    options: dict[str, Any] = {"callbacks": "disable", "verbose": 0} if best else {}
    net = NeuralNet(
        task.network(best=best),
        nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__fused=best or None,
        lr=LEARNING_RATE,
        max_epochs=1,
        iterator_train=as_it_is,
        train_split=None,
        device=task.device.type,
        **options,
    )
    net.fit(loader.dataset, y=None)


def fastai(task: Task, *, best: bool) -> None:
    """Train with fastai's Learner."""
    if best:  # without the module that has the progress bar
        from fastai.basics import DataLoaders, Learner, OptimWrapper
    else:
        from fastai.vision.all import DataLoaders, Learner, OptimWrapper

    loader = task.loader(best=best)
    learner = Learner(
        DataLoaders(loader, [], device=task.device),
        task.network(best=best),
        loss_func=nn.CrossEntropyLoss(),
        opt_func=partial(OptimWrapper, opt=torch.optim.SGD, fused=best or None),
        lr=LEARNING_RATE,
    )
    with learner.no_logging() if best else nullcontext():
        learner.fit(1)


def keras(task: Task, *, best: bool) -> None:
    """Train with Keras 3 on its torch backend.

    Its `jit_compile` would be torch.compile, which gains nothing here: see levers.py.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    import keras as K
    from keras.layers import TorchModuleWrapper

    model = K.Sequential([K.Input((3, 32, 32)), TorchModuleWrapper(task.network(best=best))])
    model.compile(
        optimizer=K.optimizers.SGD(LEARNING_RATE),
        loss=K.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[] if best else ["accuracy"],
        jit_compile=False,
    )
    model.fit(task.loader(best=best), epochs=1, verbose=0 if best else "auto")


CONTENDERS: dict[str, Callable[..., None]] = {
    each.__name__: each
    for each in (
        *(toypipe, bare_step, tutorial),
        *(lightning, accelerate, ignite, skorch, fastai, keras),
    )
}


def _sgd(module: nn.Module, *, best: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=LEARNING_RATE, fused=best or None)
