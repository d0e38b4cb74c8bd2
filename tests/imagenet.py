"""Weights in torchvision's own file layout, made here and named as torchvision names its files."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
import torchvision
from torchvision.models import get_model_weights

from toypipe.params.architectures import Arch


def publish(folder: Path, arch: Arch, patch: pytest.MonkeyPatch, *, zipped: bool = True) -> Path:
    """Write the weights of a seeded network of torchvision, and let its catalogue name them.

    Until `serve` names a server, the catalogue's address is one that nothing answers.

    Args:
        folder: Where the file goes; it is made.
        arch: The network.
        patch: Undoes the change to the catalogue.
        zipped: As torch saves since 1.6; most of torchvision's files are older.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = torchvision.models.get_model(arch)
        model(torch.rand(2, 3, 64, 64))  # so that batch norm has seen images
    state = model.state_dict()
    if arch.startswith("densenet"):  # its files are of 2017: other names, no counters of batches
        new = re.compile(r"(denselayer\d+\.(?:norm|conv))([12]\.)")
        kept = {name: value for name, value in state.items() if "num_batches" not in name}
        state = {new.sub(r"\1.\2", name): value for name, value in kept.items()}
    made = folder / "made.pth"
    torch.save(state, made, _use_new_zipfile_serialization=zipped)
    path = made.rename(folder / f"{arch}-{hashlib.sha256(made.read_bytes()).hexdigest()[:8]}.pth")
    entry = get_model_weights(arch)["IMAGENET1K_V1"].value
    patch.setattr(entry, "url", f"http://127.0.0.1:9/{path.name}")
    return path


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def serve(file: Path, arch: Arch, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve a file where torchvision's catalogue says that the weights are."""
    patch.setenv("no_proxy", "*")
    handler = partial(_Handler, directory=str(file.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/{file.name}"
        patch.setattr(get_model_weights(arch)["IMAGENET1K_V1"].value, "url", url)
        try:
            yield
        finally:
            server.shutdown()
