"""AdamW by one kernel, as `magray.training.optimizer.adamw`."""

import torch

from magray.network.kernels.kernels import THREADS, Compile


class Update:
    """A kernel that updates values, exp_avg and exp_avg_sq in place, all vectors of one length.

    hyperparameters: a row of `magray.training.optimizer.hyperparameter_table`.
    """

    def __init__(self, compile: Compile, beta2: float, eps: float) -> None:  # noqa: A002
        self.beta2, self.eps = beta2, eps
        self.kernels = compile(("update.cu",), {})

    def __call__(
        self,
        values: torch.Tensor,
        gradient: torch.Tensor,
        exp_avg: torch.Tensor,
        exp_avg_sq: torch.Tensor,
        hyperparameters: torch.Tensor,
    ) -> None:
        count = len(values)
        arguments = (values, gradient, exp_avg, exp_avg_sq, hyperparameters, self.beta2, self.eps, count)
        self.kernels("adamw", (-(-count // THREADS),), *arguments)
