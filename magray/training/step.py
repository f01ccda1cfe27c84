"""One training step: pictures of some crops, their loss, its gradient, and the update of the parameters.

On a GPU our own kernels do all large operations but the convolutions, and CUDA graphs replay the whole step, so that it
does not wait for the CPU. Without CuPy torch.compile makes kernels, which takes most of a minute. Without Triton or a C
compiler there are PyTorch's own kernels, in CUDA graphs.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import nn

from magray.imaging.microscope import Microscope
from magray.network.branches import forward
from magray.network.execution import Estimate, ExecutionConfig, kernel_forward
from magray.network.kernels.kernels import compile_for
from magray.network.kernels.pictures import Pictures
from magray.network.kernels.update import Update
from magray.training.crops import FilmBatch
from magray.training.optimizer import BETA2, EPS, AdamW, FlatParameters, adamw
from magray.training.rendering import gather, render

WARM_UP_STEPS = 3  # before CUDA graphs are recorded, for all that is compiled, benchmarked or set up on first use
Function = TypeVar("Function", bound=Callable[..., Any])


class Step:
    """A training step of a network, on films on its device.

    cells: an argument of `gather`; None: `render` makes the pictures. Kernels use neither. share: of this process in
    each batch. reduce: adds the gradients of all processes that share the batches, in place. microscope: through which
    the films are seen; its random numbers are torch's.
    """

    def __init__(
        self,
        network: nn.Module,
        films: FilmBatch,
        execution: ExecutionConfig,
        cells: int | None = None,
        share: float = 1.0,
        reduce: Callable[[torch.Tensor], object] | None = None,
        microscope: Microscope | None = None,
    ) -> None:
        self.network, self.share, self.reduce, self.microscope = network, share, reduce, microscope
        self.films = replace(films, images=films.images.contiguous())
        self.parameters = FlatParameters(network)
        self.render: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
        self.loss: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
        if execution.kernels:
            compile_kernels = compile_for(films.images.device)
            self.render = Pictures(compile_kernels, execution.bfloat16)
            self.estimate: Estimate = kernel_forward(network, compile_kernels, execution.bfloat16)
            self.loss = partial(_loss, self.estimate)
            self.optimizer = AdamW(self.parameters, Update(compile_kernels, BETA2, EPS))
        else:
            wrap: Callable[[Function], Function] = _compiled if execution.compiled else _uncompiled
            self.render = render if cells is None else partial(wrap(gather), cells=cells)
            self.estimate = partial(forward, network, bfloat16=execution.bfloat16)
            self.loss = partial(wrap(_loss), self.estimate)
            self.optimizer = AdamW(self.parameters, wrap(adamw))
        self.graphed = execution.graphed
        self.graph: _CudaGraphStep | None = None

    def __call__(self, crops: torch.Tensor, hyperparameters: torch.Tensor) -> torch.Tensor:
        """Train on `crops` (b, 5), b of which never changes; return their mean loss, which the next step may overwrite.

        hyperparameters: the step's row of `optimizer.hyperparameter_table`.
        """
        if not self.graphed:
            return self._run(crops, hyperparameters)
        if self.graph is None:
            self.graph = _CudaGraphStep(self, crops, hyperparameters)
        return self.graph.replay(crops, hyperparameters)

    def backward(self, crops: torch.Tensor) -> torch.Tensor:
        """Compute the gradient of the mean loss of `crops`, times their share of the batch; return the loss."""
        self.parameters.gradient.zero_()
        views = self.pictures(crops)
        loss = self.loss(views, self.films.targets[crops[:, 1]], crops[:, 0] * self.films.pixel_um)
        torch.autograd.backward(loss * self.share)
        return loss.detach()

    def pictures(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the pictures (b, 128, 128) of `crops` (b, 5)."""
        views = self.render(self.films.images, crops)
        if self.microscope is None:
            return views
        return self.microscope.pictures(views, crops[:, 0] * self.films.pixel_um).to(views.dtype)

    def estimates(self, crops: torch.Tensor) -> torch.Tensor:
        """Return the network's standardised estimates (b, t) for the pictures of `crops` (b, 5)."""
        return self.estimate(self.pictures(crops), crops[:, 0] * self.films.pixel_um)

    def all_reduce(self) -> None:
        """Sum the gradients over all processes."""
        if self.reduce is not None:
            self.reduce(self.parameters.gradient)

    def optimizer_step(self, hyperparameters: torch.Tensor) -> None:
        """Update the parameters along the gradient."""
        self.optimizer.update(hyperparameters)

    def _run(self, crops: torch.Tensor, hyperparameters: torch.Tensor) -> torch.Tensor:
        loss = self.backward(crops)
        self.all_reduce()
        self.optimizer_step(hyperparameters)
        return loss


class _CudaGraphStep:
    """A step as two CUDA graphs, for the gradient and for the update; the all-reduce between them is in neither."""

    def __init__(self, step: Step, crops: torch.Tensor, hyperparameters: torch.Tensor) -> None:
        torch.backends.cudnn.benchmark = True  # shapes never change, so the fastest algorithms are worth a search
        self.step, self.crops, self.hyperparameters = step, crops.clone(), hyperparameters.clone()
        before, rng_state = _snapshot(step), torch.cuda.get_rng_state()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                step.backward(self.crops)
                step.optimizer_step(self.hyperparameters)
        torch.cuda.current_stream().wait_stream(stream)
        self.backward_graph, self.optimizer_graph = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        # thread_local: other threads may copy the next films to the device, or watch over processes, at the same time
        with torch.cuda.graph(self.backward_graph, capture_error_mode="thread_local"):
            self.loss = step.backward(self.crops)
        with torch.cuda.graph(self.optimizer_graph, capture_error_mode="thread_local"):
            step.optimizer_step(self.hyperparameters)
        for tensor, value in before:
            tensor.copy_(value)
        torch.cuda.set_rng_state(rng_state)

    def replay(self, crops: torch.Tensor, hyperparameters: torch.Tensor) -> torch.Tensor:
        """Train on other crops; return their mean loss, which the next step overwrites."""
        self.crops.copy_(crops)
        self.hyperparameters.copy_(hyperparameters)
        self.backward_graph.replay()
        self.step.all_reduce()
        self.optimizer_graph.replay()
        return self.loss


def _loss(estimate: Estimate, views: torch.Tensor, targets: torch.Tensor, scales_um: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of the estimates, in variances of the targets."""
    return nn.functional.mse_loss(estimate(views, scales_um), targets)


def _snapshot(step: Step) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return all tensors that a step changes, each with a copy of its present value."""
    optimizer, buffers = step.optimizer, step.network.buffers()
    changed = (step.parameters.values, optimizer.exp_avg, optimizer.exp_avg_sq, *buffers)
    return [(tensor, tensor.clone()) for tensor in changed]


def _compiled(function: Function) -> Function:
    return cast(Function, torch.compile(function, dynamic=False))


def _uncompiled(function: Function) -> Function:
    return function
