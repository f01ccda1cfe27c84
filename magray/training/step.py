"""One step of a fit, as fast as its device can: pictures of some cuts, their loss, its gradient, the parameters' move.

On a GPU our own kernels do what is neither a convolution nor small, and CUDA graphs play all of them without the
processor's help. Without CuPy torch.compile makes kernels, in most of a minute; without Triton or a C compiler too, the
graphs alone do it.
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

WARM_UP_STEPS = 3  # before a recording: what is compiled, measured or set up on first use
Function = TypeVar("Function", bound=Callable[..., Any])


class Step:
    """A network's steps through films.

    films: on the network's device. cells: what `gather` needs to know; None renders with `render`; with kernels neither
    does. share: of this process in each batch. reduce: adds the gradients of all processes that share the batches, in
    place. microscope: that the films are seen through; its draws are torch's own.
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
            made: Callable[[Function], Function] = _compiled if execution.compiled else _uncompiled
            self.render = render if cells is None else partial(made(gather), cells=cells)
            self.estimate = partial(forward, network, bfloat16=execution.bfloat16)
            self.loss = partial(made(_loss), self.estimate)
            self.optimizer = AdamW(self.parameters, made(adamw))
        self.graphed = execution.graphed
        self.graph: CudaGraphStep | None = None

    def __call__(self, crops: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Train on `crops` (b, 5), always as many; return their mean loss, which the next step may overwrite.

        numbers: the step's row of `optimizer.step_numbers`.
        """
        if not self.graphed:
            return self._run(crops, numbers)
        if self.graph is None:
            self.graph = CudaGraphStep(self, crops, numbers)
        return self.graph.replay(crops, numbers)

    def backward(self, crops: torch.Tensor) -> torch.Tensor:
        """Put the gradient of the mean loss of `cuts`, times their share of the batch, beside the parameters."""
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
        """The network's, standardised (b, t), for what it is shown of `cuts`."""
        return self.estimate(self.pictures(crops), crops[:, 0] * self.films.pixel_um)

    def sum(self) -> None:
        """Add up the gradients of all processes."""
        if self.reduce is not None:
            self.reduce(self.parameters.gradient)

    def optimizer_step(self, numbers: torch.Tensor) -> None:
        """Move the parameters along the gradient."""
        self.optimizer.update(numbers)

    def _run(self, crops: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        loss = self.backward(crops)
        self.sum()
        self.optimizer_step(numbers)
        return loss


class CudaGraphStep:
    """A step's two halves as CUDA graphs; what the processes do between them is not part of either."""

    def __init__(self, step: Step, crops: torch.Tensor, numbers: torch.Tensor) -> None:
        torch.backends.cudnn.benchmark = True  # shapes never change: worth looking for the fastest
        self.step, self.crops, self.numbers = step, crops.clone(), numbers.clone()
        kept, draws = _kept(step), torch.cuda.get_rng_state()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                step.backward(self.crops)
                step.optimizer_step(self.numbers)
        torch.cuda.current_stream().wait_stream(stream)
        self.learning, self.moving = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        # thread_local: meanwhile another thread may put the next films on the device, or watch over other processes
        with torch.cuda.graph(self.learning, capture_error_mode="thread_local"):
            self.loss = step.backward(self.crops)
        with torch.cuda.graph(self.moving, capture_error_mode="thread_local"):
            step.optimizer_step(self.numbers)
        for tensor, value in kept:
            tensor.copy_(value)
        torch.cuda.set_rng_state(draws)

    def replay(self, crops: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """The step with other cuts and numbers; its loss stays until the next one."""
        self.crops.copy_(crops)
        self.numbers.copy_(numbers)
        self.learning.replay()
        self.step.sum()
        self.moving.replay()
        return self.loss


def _loss(estimate: Estimate, views: torch.Tensor, targets: torch.Tensor, scales_um: torch.Tensor) -> torch.Tensor:
    """The mean squared error of the estimates, in variances of the targets."""
    return nn.functional.mse_loss(estimate(views, scales_um), targets)


def _kept(step: Step) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """All that a step changes, with copies of what it is now."""
    optimizer, buffers = step.optimizer, list(step.network.buffers())
    return [(tensor, tensor.clone()) for tensor in (step.parameters.values, optimizer.mean, optimizer.square, *buffers)]


def _compiled(function: Function) -> Function:
    return cast(Function, torch.compile(function, dynamic=False))


def _uncompiled(function: Function) -> Function:
    return function
