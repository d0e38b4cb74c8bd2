"""Devices: the one that is asked for, or a plain refusal."""

import pytest
import torch

from toypipe.devices import DeviceName, pick_device
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
    with pytest.raises(ToypipeError, match=rf"no device {name} .*found: .*cpu.*--device"):
        pick_device(name)
