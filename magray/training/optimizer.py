"""AdamW on one flat vector of all parameters of a network.

With one vector there is one update instead of one for each layer, one all-reduce between workers, and one kernel on a
GPU. Hyperparameters that change from step to step are a tensor, so that a CUDA graph of the update can be replayed.
"""

from collections.abc import Callable

import torch
from torch import nn

from magray.training.schedule import Schedule, lr_and_beta1

Rule = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]
ALIGNMENT = 64  # numbers: each layer begins at a multiple of 256 bytes, as convolutions need it
BETA2 = 0.95  # below the usual 0.999, because fits have only a few thousand steps
EPS = 1e-8  # added to the root mean square of a gradient


class FlatParameters:
    """The parameters that `network` learns and their gradients as two vectors; its tensors become views of these.

    values, gradient: (n,) float32. Each layer keeps its shape and memory layout.
    """

    def __init__(self, network: nn.Module) -> None:
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        ends = torch.tensor([-(-p.numel() // ALIGNMENT) * ALIGNMENT for p in parameters]).cumsum(0).tolist()
        self.values = torch.zeros(ends[-1], device=parameters[0].device)
        self.gradient = torch.zeros_like(self.values)
        for parameter, start in zip(parameters, [0, *ends], strict=False):
            layout = (parameter.size(), parameter.stride(), start)
            parameter.data = self.values.as_strided(*layout).copy_(parameter.data)
            parameter.grad = self.gradient.as_strided(*layout)


class AdamW:
    """Loshchilov and Hutter's optimiser, bit for bit as torch.optim.AdamW. rule: `adamw`, compiled, or by a kernel."""

    def __init__(self, parameters: FlatParameters, rule: Rule) -> None:
        self.parameters, self.rule = parameters, rule
        self.exp_avg = torch.zeros_like(parameters.values)
        self.exp_avg_sq = torch.zeros_like(parameters.values)

    def update(self, hyperparameters: torch.Tensor) -> None:
        """Take one step along the gradient, with a row of `hyperparameter_table`."""
        values, gradient = self.parameters.values, self.parameters.gradient
        self.rule(values, gradient, self.exp_avg, self.exp_avg_sq, hyperparameters)


def adamw(
    values: torch.Tensor,
    gradient: torch.Tensor,
    exp_avg: torch.Tensor,
    exp_avg_sq: torch.Tensor,
    hyperparameters: torch.Tensor,
) -> None:
    """Update `values`, `exp_avg` and `exp_avg_sq` in place; all are vectors of one length."""
    decay, one_minus_beta1, root_correction2, step_size = hyperparameters.unbind()
    values.mul_(decay)
    exp_avg.lerp_(gradient, one_minus_beta1)
    exp_avg_sq.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    values.add_(exp_avg * step_size / (exp_avg_sq.sqrt() / root_correction2).add_(EPS))


def hyperparameter_table(schedule: Schedule, peak: float, weight_decay: float, steps: int) -> torch.Tensor:
    """Return the hyperparameters of each of `steps`, (steps, 4) float32.

    Columns: 1 − lr · weight decay, 1 − β1, √(1 − β2ⁿ), and −lr / (1 − β1ⁿ), for the n-th step.
    """
    rows = []
    for step in range(steps):
        rate, beta1 = lr_and_beta1(schedule, peak, step, steps)
        correction1 = 1 - beta1 ** (step + 1)
        root_correction2 = (1 - BETA2 ** (step + 1)) ** 0.5
        rows.append((1 - rate * weight_decay, 1 - beta1, root_correction2, -(rate / correction1)))
    return torch.tensor(rows, dtype=torch.float64).float()
