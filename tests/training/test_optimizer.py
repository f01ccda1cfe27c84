"""The optimiser and its schedules are those of PyTorch."""

import copy

import pytest
import torch
from torch import nn

from magray.network.branches import paper_cnn
from magray.training.optimizer import AdamW, FlatParameters, adamw, hyperparameter_table
from magray.training.schedule import Schedule, lr_and_beta1


def test_adamw_on_one_vector_is_torchs_bit_for_bit() -> None:
    """With a one-cycle schedule of learning rate and β1, and with weight decay."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 5, 3), nn.Flatten(), nn.Linear(5 * 36, 3))
    twin, steps = copy.deepcopy(network), 12
    theirs = torch.optim.AdamW(network.parameters(), 3e-2, (0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(theirs, 3e-2, total_steps=steps)
    parameters = FlatParameters(twin)
    ours = AdamW(parameters, adamw)
    for numbers in hyperparameter_table("one-cycle", 3e-2, 0.05, steps):
        x = torch.randn(4, 1, 8, 8)
        theirs.zero_grad()
        parameters.gradient.zero_()
        for each in (network, twin):
            torch.autograd.backward(each(x).square().mean())
        theirs.step()
        schedule.step()
        ours.update(numbers)
    assert all(torch.equal(*pair) for pair in zip(network.parameters(), twin.parameters(), strict=True))


def test_one_cycle_is_torchs_to_the_last_step() -> None:
    optimizer = torch.optim.AdamW([torch.zeros(1)], 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=40)
    for step in range(40):
        group = optimizer.param_groups[0]
        assert lr_and_beta1("one-cycle", 3e-3, step, 40) == (group["lr"], group["betas"][0])
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("steps", [1, 2, 3, 1000])
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
def test_rates_stay_within_their_peak_and_end_low_unless_constant(schedule: Schedule, steps: int) -> None:
    rates = [lr_and_beta1(schedule, 1.0, step, steps)[0] for step in range(steps)]
    assert 0 < min(rates) <= max(rates) <= 1
    if steps == 1000:
        assert max(rates) > 0.99
        assert (rates[-1] < 1e-4) == (schedule != "constant")


def test_layers_keep_their_shape_and_layout_and_are_aligned() -> None:
    network = paper_cnn(1)
    before = [(p.shape, p.stride(), p.detach().clone()) for p in network.parameters()]
    parameters = FlatParameters(network)
    for parameter, (shape, stride, value) in zip(network.parameters(), before, strict=True):
        assert (parameter.shape, parameter.stride()) == (shape, stride)
        assert torch.equal(parameter, value)
        assert (parameter.data_ptr() - parameters.values.data_ptr()) % 256 == 0
