"""The optimiser's rule by one kernel: what `magray.learning.optimizer.adamw` does."""

import torch

from magray.learning.gpu.kernels import THREADS, Compile
from magray.learning.optimizer import LEAST, SPREAD_MEMORY


class Update:
    """Changes values, mean and square in place, along the gradient: vectors. numbers: a row of `step_numbers`."""

    def __init__(self, compile: Compile) -> None:  # noqa: A002
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
        arguments = (values, gradient, mean, square, numbers, SPREAD_MEMORY, LEAST, count)
        self.kernels("adamw", (-(-count // THREADS),), *arguments)
