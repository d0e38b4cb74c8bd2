"""CIFAR-10 arrives as it was published, or the message says how to bring it."""

import gc
import hashlib
import pickle
import socket
import tarfile
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from stages import prepare
from toypipe.cifar10 import ARCHIVE, ARCHIVE_MD5, EXTRACTED, read_cifar10
from toypipe.errors import ToypipeError
from toypipe.params import Cifar10, PrepareParams
from toypipe.split import load_split

EACH = 4  # images in every file
PIXELS = np.random.default_rng(0).integers(0, 256, (6 * EACH, 3 * 32 * 32), dtype=np.uint8)
LABELS = [7, 0, 9, 3, 3, 1] * EACH
CLASSES = [f"thing{i}" for i in range(10)]


def md5(path: Path) -> str:
    """Return a file's checksum."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small CIFAR-10 in the official format, tell torchvision, and cut the network off."""
    folder = tmp_path / "data" / "raw" / EXTRACTED
    folder.mkdir(parents=True)
    names = [*(name for name, _ in CIFAR10.train_list), *(name for name, _ in CIFAR10.test_list)]
    for i, name in enumerate(names):
        part = slice(i * EACH, (i + 1) * EACH)
        content = {"data": PIXELS[part], "labels": LABELS[part]}
        (folder / name).write_bytes(pickle.dumps(content))
    meta = folder / CIFAR10.meta["filename"]
    meta.write_bytes(pickle.dumps({CIFAR10.meta["key"]: CLASSES}))

    sums = [[name, md5(folder / name)] for name in names]
    monkeypatch.setattr(CIFAR10, "train_list", sums[:-1])
    monkeypatch.setattr(CIFAR10, "test_list", sums[-1:])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(meta)})
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{port}/{ARCHIVE}")
    monkeypatch.setenv("no_proxy", "*")
    return folder.parent


def test_images_and_labels_arrive_unchanged(raw: Path) -> None:
    """Every pixel and label is where the files have it, in their order, under its class's name."""
    training, test = read_cifar10(raw)
    images = torch.from_numpy(PIXELS).view(-1, 3, 32, 32)
    assert torch.equal(torch.cat([training.images, test.images]), images)
    assert [*training.labels.tolist(), *test.labels.tolist()] == LABELS
    assert len(test) == EACH
    assert training.classes == test.classes == CLASSES


def test_images_have_the_memory_that_training_wants(raw: Path) -> None:
    """Images are uint8 in channels_last memory, labels int64."""
    for split in read_cifar10(raw):
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
        assert split.images.is_contiguous(memory_format=torch.channels_last)


def test_archive_at_hand_needs_no_network(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive alone, put there by hand, is unpacked and read."""
    archive = raw / ARCHIVE
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(raw / EXTRACTED, arcname=EXTRACTED)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    (raw / EXTRACTED).rename(raw / "elsewhere")
    training, test = read_cifar10(raw)
    assert len(training) + len(test) == len(PIXELS)


def test_advice_is_what_torchvision_looks_for() -> None:
    """The names and the checksum in our message are torchvision's own."""
    assert CIFAR10.filename == ARCHIVE
    assert CIFAR10.tgz_md5 == ARCHIVE_MD5
    assert CIFAR10.base_folder == EXTRACTED


def refused(raw: Path) -> str:
    """Return the message that says there is no CIFAR-10."""
    with pytest.raises(ToypipeError) as caught:
        read_cifar10(raw)
    return str(caught.value)


def test_without_data_and_network_the_message_says_what_to_put_where(raw: Path) -> None:
    """Where there is nothing, and nothing to be had, file, checksum and folder are named."""
    empty = raw.parent / "empty"
    message = refused(empty)
    assert all(part in message for part in (ARCHIVE, ARCHIVE_MD5, EXTRACTED, str(empty), "refused"))


def test_damaged_data_is_not_taken(raw: Path) -> None:
    """A file with one bit turned is not read, and the message says that the set is not whole."""
    batch = raw / EXTRACTED / "data_batch_3"
    content = bytearray(batch.read_bytes())
    content[100] ^= 1
    batch.write_bytes(content)
    assert f"not whole in {raw}" in refused(raw)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nlogin",
        b"HTTP/1.0 404 Not Found\r\n\r\n",
        b"220 this is no web server\r\n",
        b"",
    ],
    ids=["another page", "not found", "another protocol", "hung up"],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_server_that_has_not_got_it_is_survived(
    raw: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """Whatever answers in place of the real server, the message says what to put where."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            if answer:
                self.request.sendall(answer)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_address[1]}/x")
        try:
            message = refused(raw.parent / "empty")
        finally:
            server.shutdown()
    gc.collect()  # urllib leaves the socket of a bad answer to this
    assert ARCHIVE_MD5 in message


def test_experiment_finds_the_data_of_the_main_checkout(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a workspace that DVC has made for an experiment, the data under DVC_ROOT are read."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert raw == tmp_path / "data" / "raw"
    prepare.run(PrepareParams(dataset=Cifar10(name="cifar10")))
    assert len(load_split(Path("data/prepared/train.pt"))) == 5 * EACH
    assert not Path("data/raw").exists()
