"""Devices: the one that is asked for, or a plain refusal."""

from pathlib import Path

import pytest
import torch

from toypipe.compute import DeviceName, devices
from toypipe.compute.devices import describe, explained, pick_device
from toypipe.errors import ToypipeError


def test_the_cpu_is_always_there() -> None:
    """Every machine computes on its CPU."""
    assert pick_device("cpu") == torch.device("cpu")


def test_auto_takes_a_device_that_works() -> None:
    """What `auto` picks can add two numbers, and is a CPU only where there is nothing faster."""
    device = pick_device("auto")

    assert (torch.ones(1, device=device) + 1).item() == 2
    faster = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert (device.type == "cpu") is not faster


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(name: DeviceName) -> None:
    """The message names what was asked for, what was found and how to go on."""
    if {"cuda": torch.cuda, "mps": torch.backends.mps}[name].is_available():
        pytest.skip(f"{name} is there")
    with pytest.raises(ToypipeError, match=rf"the device {name} .*found: .*cpu.*--device"):
        pick_device(name)


def test_too_little_memory_is_explained() -> None:
    """What asks for more than there is hears which batch size it tried."""
    with (
        pytest.raises(ToypipeError, match=r"out of memory with train\.batch_size 512 .*lower it"),
        explained("train.batch_size", 512),
    ):
        torch.empty(1 << 60, dtype=torch.uint8)


def test_what_cannot_be_repeated_is_explained() -> None:
    """Where two runs could differ, torch refuses, and the user hears what to do."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    try:
        with (
            pytest.raises(
                ToypipeError, match=r"no deterministic implementation .*\(put_ .*--device cpu"
            ),
            explained("train.batch_size", 512),
        ):
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))
    finally:
        torch.set_deterministic_debug_mode(before)


def test_other_errors_are_not_about_memory() -> None:
    """A defect stays a defect."""
    with pytest.raises(RuntimeError, match="shape"), explained("train.batch_size", 512):
        torch.zeros(3).view(2)


def test_what_decides_the_bits_is_described() -> None:
    """Device, processor, threads and versions, all in words."""
    described = describe(torch.device("cpu"))

    assert described["device"] == "cpu"
    assert described["threads"] == str(torch.get_num_threads())
    assert described["torch"] == torch.__version__
    assert torch.backends.cpu.get_cpu_capability() in described["cpu"]


def test_a_gpu_that_torch_cannot_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that is too old is no reason to train on the CPU in silence."""
    driver = tmp_path / "nvidiactl"
    driver.touch()
    monkeypatch.setattr(devices, "NVIDIA", driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")

    with pytest.raises(ToypipeError, match=r"CUDA 13\.0, finds no GPU: the driver"):
        pick_device("auto")
    assert pick_device("cpu").type == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pick_device("auto").type in {"cpu", "mps"}


def test_what_decides_the_bits_of_a_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model, cuDNN, the workspace of cuBLAS, and whether TF32 is forced; not the host."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    found = describe(torch.device("cuda"))

    assert found["device"] == "NVIDIA H100"
    assert found["tf32"] == "1"
    assert {"cudnn", "workspace"} <= found.keys()
    assert "threads" not in found
    assert found["cpu"] == torch.backends.cpu.get_cpu_capability()
