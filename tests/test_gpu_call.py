"""`make gpu` survives parts that fail or hang, and says so where there is no GPU."""

import sys

import pytest
import torch

from synthetic import ROOT

sys.path.append(str(ROOT / "benchmarks"))

from gpu import Part, main, run

HANGS = "import subprocess; print('begun', flush=True); subprocess.run(['sleep', '60'])"


def test_a_part_that_hangs_ends_with_all_that_it_started() -> None:
    """What it printed is kept, and the next part has its time."""
    found = run(Part("hangs", ["-m", "timeit", "-n", "1", HANGS], 1), seconds=2)

    assert found["problem"] == "took longer than 2 s"
    assert found["printed"] == "begun\n"
    assert 2 <= float(str(found["seconds"])) < 30


def test_a_part_that_fails_is_named() -> None:
    """With its exit code, and what it printed."""
    found = run(Part("fails", ["-m", "no_such_module"], 1), seconds=60)

    assert found["problem"] == "ended with 1"
    assert "No module named no_such_module" in str(found["printed"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """It is no failed part: the exit code is 2."""
    assert main(9) == 2
    assert "needs a CUDA device" in capsys.readouterr().err
