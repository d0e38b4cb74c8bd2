"""One training on two hosts, which are network namespaces of this machine. Needs root and `ip`."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_processes import OUTPUTS, outputs

from conftest import Project

TRAIN = (sys.executable, "-m", "stages", "train", "-S", "train.epochs=300")  # long enough to save
NAMES = ("toypipe-a", "toypipe-b")
ADDRESSES = ("10.77.0.1", "10.77.0.2")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        sys.platform != "linux" or shutil.which("ip") is None or os.geteuid() != 0,
        reason="needs network namespaces: root, and `ip` of iproute2",
    ),
]


def ip(*arguments: str) -> None:
    """Change the network."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts(recorded: Project, tmp_path: Path) -> Iterator[list[Project]]:
    """Return a copy of the project on each of two hosts that a cable joins."""
    for name in NAMES:
        ip("netns", "add", name)
    try:
        ip("link", "add", "cable", "netns", NAMES[0], "type", "veth", "peer", "cable",
           "netns", NAMES[1])  # fmt: skip
        for name, address in zip(NAMES, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", name, "link", "set", device, "up")
        for name in NAMES:
            shutil.copytree(recorded.path, tmp_path / name, symlinks=True)
        yield [Project(tmp_path / name) for name in NAMES]
    finally:
        for name in NAMES:
            ip("netns", "delete", name)


def start(hosts: list[Project]) -> list[subprocess.Popen[bytes]]:
    """Start torchrun on each host; the first one is where they meet."""
    processes = []
    for host, name, address in zip(hosts, NAMES, ADDRESSES, strict=True):
        command = [
            *("ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run"),
            *("--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=hosts"),
            *(f"--rdzv-endpoint={ADDRESSES[0]}:29400", f"--local-addr={address}"),
            f"--rdzv-conf=is_host={int(host is hosts[0])}",  # no name server would tell
            *TRAIN[1:],
        ]
        with (host.path / "said.txt").open("wb") as said:
            processes.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, "GLOO_SOCKET_IFNAME": "cable"},
                    cwd=host.path,
                    stderr=said,
                    stdout=said,
                )
            )
    return processes


def said(host: Project) -> str:
    """Return what torchrun and the training have printed on a host."""
    return (host.path / "said.txt").read_text()


def test_two_hosts_train_like_one_and_resume_after_one_was_cut_off(hosts: list[Project]) -> None:
    """All end by themselves when the cable is out; plugged in, they resume, to the same bytes."""
    first, second = hosts
    first.run(*TRAIN, "--processes", "2")
    expected = outputs(first)
    first.forget()
    for host in hosts:
        for name in OUTPUTS:
            (host.path / name).unlink()

    processes = start(hosts)
    limit = time.monotonic() + 120
    while not list(first.path.glob(".toypipe/runs/*/state.pt")):
        assert time.monotonic() < limit, said(first) + said(second)
        time.sleep(0.02)
    ip("-n", NAMES[1], "link", "set", "cable", "down")
    for host in hosts:
        while "another process of this training ended, or the network to it" not in said(host):
            assert time.monotonic() < limit + 180, said(host)
            time.sleep(0.1)
        assert not any((host.path / name).exists() for name in OUTPUTS)
    for process in processes:  # torchrun itself would wait for the other host, for minutes more
        process.kill()
        process.wait()

    ip("-n", NAMES[1], "link", "set", "cable", "up")
    codes = [process.wait(timeout=300) for process in start(hosts)]

    assert codes == [0, 0], said(first) + said(second)
    assert "resuming after epoch" in said(first)
    assert outputs(first) == expected
    assert not any((second.path / name).exists() for name in OUTPUTS)
    assert "train loss" not in said(second)
