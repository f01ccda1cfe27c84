"""AdamW on one vector: all parameters of a network side by side, and their gradients beside them.

One vector is one update in place of one for each layer, one sum between workers, and one kernel on a GPU. What changes
from step to step comes in as a tensor, so that a recorded update can be played again with other numbers.
"""

from collections.abc import Callable

import torch
from torch import nn

from magray.training.schedule import Schedule, lr_and_beta1

Rule = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]
ALIGNMENT = 64  # numbers: each layer begins at a multiple of 256 bytes, as convolutions want it
BETA2 = 0.95  # a short memory of the gradients' size, as fits of few thousand steps want it
EPS = 1e-8  # added to the root mean square of a gradient


class FlatParameters:
    """The parameters of `network` and their gradients, moved into two vectors that the network goes on to use.

    values, gradient: (n,) float32. Each layer keeps its shape and its memory layout.
    """

    def __init__(self, network: nn.Module) -> None:
        parameters = list(network.parameters())
        ends = torch.tensor([-(-p.numel() // ALIGNMENT) * ALIGNMENT for p in parameters]).cumsum(0).tolist()
        self.values = torch.zeros(ends[-1], device=parameters[0].device)
        self.gradient = torch.zeros_like(self.values)
        for parameter, start in zip(parameters, [0, *ends], strict=False):
            place = (parameter.size(), parameter.stride(), start)
            parameter.data = self.values.as_strided(*place).copy_(parameter.data)
            parameter.grad = self.gradient.as_strided(*place)


class AdamW:
    """Loshchilov and Hutter's optimiser, as torch.optim.AdamW does it, bit for bit. rule: `adamw`, perhaps compiled."""

    def __init__(self, parameters: FlatParameters, rule: Rule) -> None:
        self.parameters, self.rule = parameters, rule
        self.mean = torch.zeros_like(parameters.values)
        self.square = torch.zeros_like(parameters.values)

    def update(self, numbers: torch.Tensor) -> None:
        """One step along the gradient; `numbers` is the step's row of `step_numbers`."""
        self.rule(self.parameters.values, self.parameters.gradient, self.mean, self.square, numbers)


def adamw(
    values: torch.Tensor, gradient: torch.Tensor, mean: torch.Tensor, square: torch.Tensor, numbers: torch.Tensor
) -> None:
    """Change `values`, `mean` and `square` in place: vectors, as the gradient is."""
    keep, news, size, step = numbers.unbind()
    values.mul_(keep)
    mean.lerp_(gradient, news)
    square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    values.add_(mean * step / (square.sqrt() / size).add_(EPS))


def hyperparameter_table(schedule: Schedule, peak: float, weight_decay: float, steps: int) -> torch.Tensor:
    """Return the hyperparameters of each of `steps`, (steps, 4) float32.

    The share of the weights that stays, the new gradient's share in the mean, the size that the squares have reached,
    and the length of the step.
    """
    rows = []
    for step in range(steps):
        rate, memory = lr_and_beta1(schedule, peak, step, steps)
        reached = 1 - memory ** (step + 1)
        size = (1 - BETA2 ** (step + 1)) ** 0.5
        rows.append((1 - rate * weight_decay, 1 - memory, size, -(rate / reached)))
    return torch.tensor(rows, dtype=torch.float64).float()
