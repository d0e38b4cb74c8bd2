"""Data sets are read as they were published, or the message says how to get them."""

import hashlib
import io
import pickle
import socket
import sys
import tarfile
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from stages import prepare
from stages.cli import app
from synthetic import PARAMS
from toypipe.data import download, published
from toypipe.data.published import Watch, read_published
from toypipe.data.split import Split, load_split
from toypipe.errors import ToypipeError
from toypipe.params.data_sets import Cifar10
from toypipe.params.schema import PrepareParams
from toypipe.pipeline.stage import Stage

((ARCHIVE, _, ARCHIVE_MD5, MIRRORS),) = published.CIFAR10.files
EXTRACTED = published.CIFAR10.extracted
EACH = 4  # images in every file
PIXELS = np.random.default_rng(0).integers(0, 256, (6 * EACH, 3 * 32 * 32), dtype=np.uint8)
LABELS = [7, 0, 9, 3, 3, 1] * EACH
CLASSES = [f"thing{i}" for i in range(10)]


def md5(path: Path) -> str:
    """Return a file's checksum."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small CIFAR-10 in the official format, and tell torchvision its checksums."""
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
    return folder.parent


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a URL that refuses connections."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSE", 0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}/{ARCHIVE}"


def publish(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the checksum and length of the official archive by those of this one."""
    entry = published.CIFAR10
    file = entry.files[0]._replace(size=archive.stat().st_size, md5=md5(archive))
    monkeypatch.setattr(published, "CIFAR10", entry._replace(files=(file,)))


def read_cifar10(
    raw: Path, urls: Sequence[str] = MIRRORS, watch: Watch = lambda arrived, _, __: arrived
) -> tuple[Split, Split]:
    """Read CIFAR-10 from these sources."""
    entry = published.CIFAR10
    file = entry.files[0]._replace(urls=tuple(urls))
    return read_published(entry._replace(files=(file,)), raw, watch)


@pytest.fixture
def archive(raw: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move the data set into an archive elsewhere."""
    path = raw.parent / "served" / ARCHIVE
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        tar.add(raw / EXTRACTED, arcname=EXTRACTED)
    publish(path, monkeypatch)
    (raw / EXTRACTED).rename(raw.parent / "elsewhere")
    return path


class Silent(SimpleHTTPRequestHandler):
    """A file server without a log."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def url(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the archive."""
    monkeypatch.setenv("no_proxy", "*")
    handler = partial(Silent, directory=str(archive.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{ARCHIVE}"
        server.shutdown()


def names(folder: Path) -> set[str]:
    """Return the names of what is in a folder."""
    return {path.name for path in folder.iterdir()}


def refused(raw: Path, url: str) -> str:
    """Return the error message if CIFAR-10 cannot be read."""
    with pytest.raises(ToypipeError) as caught:
        read_cifar10(raw, [url])
    return str(caught.value)


# on the disk --------------------------------------------------------------------------------------


def test_images_and_labels_arrive_unchanged(raw: Path) -> None:
    """Pixels, labels, their order and the class names are those of the files."""
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


def test_archive_on_the_disk_needs_no_network(raw: Path, archive: Path, nowhere: str) -> None:
    """An archive that the user put there is unpacked and read."""
    archive.rename(raw / ARCHIVE)
    training, test = read_cifar10(raw, [nowhere])
    assert len(training) + len(test) == len(PIXELS)
    assert names(raw) == {ARCHIVE, EXTRACTED}


def test_damaged_data_are_mended_from_the_archive(raw: Path, archive: Path, nowhere: str) -> None:
    """If a file is damaged and another missing, the archive beside them restores both."""
    archive.rename(raw / ARCHIVE)
    before, _ = read_cifar10(raw, [nowhere])
    (raw / EXTRACTED / "data_batch_3").write_bytes(b"damaged")
    (raw / EXTRACTED / "batches.meta").unlink()
    after, _ = read_cifar10(raw, [nowhere])
    assert torch.equal(before.images, after.images)


def test_damaged_data_are_not_taken(raw: Path, nowhere: str) -> None:
    """A file with one flipped bit is not read, and the data set is reported as incomplete."""
    batch = raw / EXTRACTED / "data_batch_3"
    content = bytearray(batch.read_bytes())
    content[100] ^= 1
    batch.write_bytes(content)
    assert f"incomplete in {raw}" in refused(raw, nowhere)


# from the network -----------------------------------------------------------------------------


def test_archive_is_downloaded_and_kept(raw: Path, archive: Path, url: str) -> None:
    """If the data set is missing, the archive is downloaded, with progress, and unpacked."""
    seen: list[int] = []

    def watch(events: Iterator[int], size: int, name: str) -> Iterator[int]:
        assert (size, name) == (archive.stat().st_size, "CIFAR-10")
        for arrived in events:
            seen.append(arrived)
            yield arrived

    empty = raw.parent / "empty"
    training, test = read_cifar10(empty, [url], watch)
    assert len(training) + len(test) == len(PIXELS)
    assert seen[-1] == archive.stat().st_size
    assert names(empty) == {ARCHIVE, EXTRACTED}
    assert (empty / ARCHIVE).read_bytes() == archive.read_bytes()
    wanted = {CIFAR10.meta["filename"], "test_batch", *(name for name, _ in CIFAR10.train_list)}
    assert names(empty / EXTRACTED) == wanted


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_half_an_archive_is_replaced(raw: Path, archive: Path, url: str, keep: int) -> None:
    """An archive that was not copied to its end is downloaded again."""
    (raw / ARCHIVE).write_bytes(archive.read_bytes()[:keep])
    training, _ = read_cifar10(raw, [url])
    assert len(training) == 5 * EACH
    assert (raw / ARCHIVE).read_bytes() == archive.read_bytes()


@pytest.mark.usefixtures("archive")
def test_half_an_archive_stays_where_it_cannot_be_replaced(raw: Path, nowhere: str) -> None:
    """An archive that the user put there is not removed if it cannot be replaced."""
    (raw / ARCHIVE).write_bytes(b"half")
    assert "incomplete" in refused(raw, nowhere)
    assert (raw / ARCHIVE).read_bytes() == b"half"


def test_without_data_and_network_the_message_says_what_to_put_where(
    raw: Path, nowhere: str
) -> None:
    """If data and network are missing, the message names file, checksum and folder."""
    empty = raw.parent / "empty"
    message = refused(empty, nowhere)
    for part in (ARCHIVE, ARCHIVE_MD5, EXTRACTED, str(empty), nowhere, "refused"):
        assert part in message


def test_advice_is_what_torchvision_looks_for() -> None:
    """The names, the checksum and the last source are torchvision's own."""
    assert CIFAR10.filename == ARCHIVE
    assert CIFAR10.tgz_md5 == ARCHIVE_MD5
    assert CIFAR10.base_folder == EXTRACTED
    assert CIFAR10.url == MIRRORS[-1]


@pytest.mark.parametrize("how", ["option", "variable"])
def test_the_users_source_replaces_the_mirrors(
    raw: Path,
    url: str,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`--url` or TOYPIPE_CIFAR10_URL replaces the mirrors, and progress is shown."""
    monkeypatch.chdir(raw.parent.parent)
    command = ["prepare", "--params", str(PARAMS)]
    if how == "option":
        command += ["--url", url]
    else:
        monkeypatch.setenv("TOYPIPE_CIFAR10_URL", url)
    app(command, standalone_mode=False)
    assert len(load_split(Path("data/prepared/train.pt"))) == 5 * EACH
    assert "downloading CIFAR-10: 0 of " in capsys.readouterr().err


# malicious archives -------------------------------------------------------------------

OUTSIDE = ["../evil", "{root}/evil", f"{EXTRACTED}/../../evil", f"{EXTRACTED}/evil", "data_batch_1"]


def member(name: str, **fields: object) -> tarfile.TarInfo:
    """Return a member of an archive."""
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize("name", OUTSIDE)
def test_unknown_members_are_left_in_the_archive(
    raw: Path, nowhere: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Files with other names or outside the folder are not written; the known ones are read."""
    root = raw.parent
    with tarfile.open(raw / ARCHIVE, "w:gz") as tar:
        tar.addfile(member(name.format(root=root), size=4), io.BytesIO(b"evil"))
        tar.add(raw / EXTRACTED, arcname=EXTRACTED)
    publish(raw / ARCHIVE, monkeypatch)
    (raw / EXTRACTED).rename(root / "elsewhere")
    before = {*root.parent.rglob("*")}
    training, _ = read_cifar10(raw, [nowhere])
    assert len(training) == 5 * EACH
    written = {*root.parent.rglob("*")} - before
    known = names(root / "elsewhere")
    assert written == {raw / EXTRACTED, *(raw / EXTRACTED / name for name in known)}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("name", [EXTRACTED, f"{EXTRACTED}/data_batch_1"])
def test_links_lead_nowhere(
    raw: Path, nowhere: str, monkeypatch: pytest.MonkeyPatch, kind: bytes, name: str
) -> None:
    """A link instead of a file or of the folder is not created, and not followed."""
    root = raw.parent
    aim = root / "aim"
    aim.mkdir()
    with tarfile.open(raw / ARCHIVE, "w:gz") as tar:
        tar.addfile(member(name, type=kind, linkname=str(aim)))
        if name == EXTRACTED:
            tar.add(raw / EXTRACTED, arcname=EXTRACTED)
    publish(raw / ARCHIVE, monkeypatch)
    (raw / EXTRACTED).rename(root / "elsewhere")
    if name == EXTRACTED:
        read_cifar10(raw, [nowhere])
    else:
        assert "incomplete" in refused(raw, nowhere)
    assert list(aim.iterdir()) == []
    assert not any(path.is_symlink() or path.is_fifo() for path in root.rglob("*"))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit to set")
def test_full_disk_leaves_no_half_of_a_file(raw: Path, archive: Path, nowhere: str) -> None:
    """If a file cannot be unpacked to its end, the system's error names it, and it is removed."""
    import resource

    archive.rename(raw / ARCHIVE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            read_cifar10(raw, [nowhere])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Path(caught.value.filename).parent == raw / EXTRACTED
    assert names(raw / EXTRACTED) <= {CIFAR10.meta["filename"]}


# in the pipeline ------------------------------------------------------------------------------


def test_experiment_finds_the_data_of_the_main_checkout(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a temporary workspace of DVC, the data under DVC_ROOT are read."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert raw == tmp_path / "data" / "raw"
    params = PrepareParams(dataset=Cifar10(name="cifar10"))
    prepare.run(Stage("prepare", PARAMS, []), params, url=None)
    assert len(load_split(Path("data/prepared/train.pt"))) == 5 * EACH
    assert not Path("data/raw").exists()
