"""The optimiser's rule by one kernel: what `magray.training.optimizer.adamw` does."""

import torch

from magray.network.kernels.kernels import THREADS, Compile


class Update:
    """Changes values, mean and square in place, along the gradient: vectors. numbers: a row of `step_numbers`."""

    def __init__(self, compile: Compile, beta2: float, eps: float) -> None:  # noqa: A002
        self.beta2, self.eps = beta2, eps
        self.kernels = compile(("update.cu",), {})

    def __call__(
        self,
        values: torch.Tensor,
        gradient: torch.Tensor,
        mean: torch.Tensor,
        square: torch.Tensor,
        numbers: torch.Tensor,
    ) -> None:
        count = len(values)
        arguments = (values, gradient, mean, square, numbers, self.beta2, self.eps, count)
        self.kernels("adamw", (-(-count // THREADS),), *arguments)
