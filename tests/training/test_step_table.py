"""What a step takes and leaves, on the CPU; on a GPU the whole step is compared (test_cuda.py)."""

import torch

from toypipe.training.step_table import StepTable

CPU = torch.device("cpu")


def test_each_step_has_its_factor_and_leaves_its_loss() -> None:
    """The losses of steps to come are zero."""
    table = StepTable(3, CPU)
    losses = table.start([1.0, 0.5, 0.25], torch.zeros(3), 0)
    found = []
    for loss in (7.0, 8.0):
        found.append(table.factor())
        table.put(torch.tensor(loss))

    assert found == [1.0, 0.5]
    assert losses.tolist() == [7, 8, 0]


def test_an_epoch_is_resumed_where_it_was_stopped() -> None:
    """Shorter than the longest, after a step whose loss is known."""
    table = StepTable(5, CPU)
    losses = table.start([1.0, 0.5, 0.25], torch.tensor([9.0, 0, 0]), 1)
    factor = table.factor()
    table.put(torch.tensor(8.0))

    assert factor == 0.5
    assert losses.tolist() == [9, 8, 0]


def test_the_memory_stays_where_it_is() -> None:
    """A captured step writes the losses of every epoch to the same place."""
    table = StepTable(2, CPU)
    first = table.start([1.0, 1.0], torch.ones(2), 2)
    second = table.start([1.0], torch.zeros(1), 0)

    assert first.data_ptr() == second.data_ptr()
