"""Where images lie: what is free decides, and the limits of process and container count."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from synthetic import make_split
from toypipe.compute import memory
from toypipe.compute.memory import free_memory, load_or_open
from toypipe.data.split import save_split
from toypipe.data.stored import StoredImages

CPU = torch.device("cpu")
LEFT = """
import resource, torch
from toypipe.compute.memory import free_memory
kind = resource.RLIMIT_{name}
used = {{line.split()[0]: int(line.split()[1]) * 1024 for line in open("/proc/self/status")
        if line.startswith(("VmData", "VmStk", "VmSize"))}}
taken = used["VmData:"] + used["VmStk:"] if "{name}" == "DATA" else used["VmSize:"]
resource.setrlimit(kind, (taken + 500_000_000, resource.RLIM_INFINITY))
print(free_memory(torch.device("cpu")))
"""


def test_what_is_free_is_what_the_system_says() -> None:
    """Without a limit, up to what other processes take meanwhile."""
    assert free_memory(CPU) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


@pytest.mark.parametrize("name", ["DATA", "AS"])
def test_a_limit_of_the_process_counts(name: str) -> None:
    """With room for 500 MB more, half a gigabyte is free, up to what asking takes."""
    command = [sys.executable, "-c", LEFT.format(name=name)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert 400_000_000 < int(found) <= 500_000_000


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("where", ["own", "parent"])
def test_a_limit_of_the_container_counts(
    version: int, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the group itself or of one above it; what the group holds of files is free."""
    controllers, limit, stat = {
        1: ("memory", "memory.limit_in_bytes", "cache 9000\ntotal_rss 300\n"),
        2: ("", "memory.max", "anon 300\nfile 9000\n"),
    }[version]
    groups = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    (name,) = (path for _, each, path in groups if each == controllers)
    above = tmp_path / controllers
    group = above / name.lstrip("/") if where == "own" else above
    group.mkdir(parents=True, exist_ok=True)
    (group / limit).write_text("1300\n")
    (group / "memory.stat").write_text(stat)
    monkeypatch.setattr(memory, "GROUPS", tmp_path)

    assert free_memory(CPU) == 1000


def test_processes_share_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that train together on a host have half of it each."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")

    assert free_memory(CPU) == pytest.approx(psutil.virtual_memory().available / 2, rel=0.2)


@pytest.mark.parametrize(("share", "stays"), [(0.4, False), (1e-9, True)])
def test_images_stay_in_their_file_where_there_is_no_room(
    share: float, stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share of what is free decides."""
    with (tmp_path / "train.pt").open("wb") as file:
        save_split(file, make_split(20))
    monkeypatch.setattr(memory, "SHARE", share)

    assert isinstance(load_or_open(tmp_path / "train.pt").images, StoredImages) is stays
