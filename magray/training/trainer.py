"""Training, epoch by epoch: AdamW with a scheduled learning rate, mean squared error of the standardised targets.

On a CPU with a fixed number of threads the same seed gives the same network.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from magray.errors import UserError
from magray.network.branches import NETWORKS
from magray.network.execution import ExecutionConfig
from magray.training.config import TrainConfig
from magray.training.crops import FilmBatch, chunk_views, epoch_crops, possible_sides
from magray.training.optimizer import hyperparameter_table
from magray.training.rendering import max_cells
from magray.training.step import Step

State = dict[str, Any]
RECALIBRATION_BATCHES = 64


class Trainer:
    """A network in training, which can be saved and resumed after any epoch.

    rank, workers: this process among those that share every batch. reduce: adds a tensor of all of them, in place.
    execution: the best for the films' device by default. initialise: sets the weights of the new network, which are
    random otherwise.
    Raises UserError if there are more workers than pictures in a batch, or a chunk of films has fewer views than that.
    """

    def __init__(
        self,
        films: FilmBatch,
        config: TrainConfig,
        rank: int = 0,
        workers: int = 1,
        reduce: Callable[[torch.Tensor], object] | None = None,
        execution: ExecutionConfig | None = None,
        initialise: Callable[[nn.Module], object] | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.films, self.config, self.rank, self.workers = films, config, rank, workers
        self.device = films.images.device
        self.network = NETWORKS[config.network](films.targets.shape[1], config.width)
        if initialise is not None:
            initialise(self.network)
        self.network.to(self.device)
        chunk_sizes = chunk_views(films, config)
        self.views = sum(chunk_sizes)  # in an epoch
        self.batch = min(config.batch, self.views)
        if workers > self.batch:
            raise UserError(f"{workers} workers cannot share a batch of {self.batch} pictures; set fit.batch higher")
        self.chunk_steps = [views // self.batch for views in chunk_sizes]
        if not all(self.chunk_steps):
            raise UserError(
                f"a chunk of {min(films.chunks)} films has {min(chunk_sizes)} views in an epoch, fewer than a batch of "
                f"{self.batch}; set fit.films_at_once or fit.views_per_epoch higher, or fit.batch lower"
            )
        self.steps = sum(self.chunk_steps)  # in an epoch
        mine = len(range(rank, self.batch, workers))
        execution = execution or ExecutionConfig.of(self.device)
        # a GPU is fastest with one kernel; on a CPU a few large matrix products are as fast, and need no compiler
        cells = max_cells(possible_sides(films.sides, config)) if execution.graphed else None
        self.step = Step(self.network, films, execution, cells, mine / self.batch, reduce, config.microscope)
        self.hyperparameters = hyperparameter_table(
            config.schedule, config.learning_rate, config.weight_decay, config.epochs * self.steps
        ).to(self.device)
        self.epoch = 0  # the next one

    def run_epoch(self) -> float:
        """Train on every batch of the next epoch; return their mean loss, in variances of the targets.

        Views beyond the last whole batch of an epoch, or of a chunk of films, are left out. Raises UserError if the
        loss was not finite at any step; this is checked after the epoch, so that no step waits for the CPU.
        """
        torch.manual_seed(_seed_of(self.config.seed, self.epoch, self.rank))  # for the noise of a microscope
        self.network.train()
        losses = torch.empty(self.steps, device=self.device)
        for i, crops in enumerate(self.epoch_batches(self.epoch)):
            losses[i].copy_(self.step(crops, self.hyperparameters[self.epoch * self.steps + i]))
        self.epoch += 1
        bad = losses.isfinite().logical_not().nonzero()
        if len(bad):
            raise UserError(
                f"the fit diverged: its loss is not a finite number from step {int(bad[0]) + 1} of epoch {self.epoch} "
                f"on; set fit.learning_rate below {self.config.learning_rate:g}"
            )
        if self.epoch == self.config.epochs:
            self.recalibrate_batch_norm()
        return float(losses.mean())

    def recalibrate_batch_norm(self) -> None:
        """Replace the running averages of batch norm by means over many batches of the next epoch.

        The running averages cover the last few batches only; their chance content shifts all estimates of a network,
        by 0.01 mJ/m² of D where the error is 0.025.
        """
        norms = [layer for layer in self.network.modules() if isinstance(layer, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
        self.network.train()
        with torch.no_grad():
            for batch, crops in enumerate(islice(self.epoch_batches(self.epoch), RECALIBRATION_BATCHES)):
                for norm in norms:
                    norm.momentum = 1 / (batch + 1)  # makes the running average a mean over all batches
                self.step.estimates(crops)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    def epoch_batches(self, epoch: int) -> Iterator[torch.Tensor]:
        """Yield this worker's share of each batch of an epoch (b, 5); the next request may replace its films."""
        for chunk, first in enumerate(self.films.load_chunks(epoch)):
            crops = self.batches(epoch, chunk)
            crops[..., 1] += first
            yield from crops

    def batches(self, epoch: int, chunk: int = 0) -> torch.Tensor:
        """Return the crops (steps, b, 5) of this worker in each batch of one chunk of an epoch."""
        steps = self.chunk_steps[chunk]
        shuffled = torch.from_numpy(epoch_crops(self.films, self.config, epoch, chunk).table[: steps * self.batch])
        return shuffled.view(steps, self.batch, -1)[:, self.rank :: self.workers].to(self.device)

    def state(self) -> State:
        """Return the state of the training, for `load`."""
        optimizer = self.step.optimizer
        return {
            "epoch": self.epoch,
            "network": {name: tensor.clone() for name, tensor in self.network.state_dict().items()},
            "mean": optimizer.exp_avg,
            "square": optimizer.exp_avg_sq,
        }

    def load(self, state: State) -> None:
        """Restore the state that `state` returned."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.step.optimizer.exp_avg.copy_(state["mean"])
        self.step.optimizer.exp_avg_sq.copy_(state["square"])


def _seed_of(*numbers: int) -> int:
    """Return a seed that differs for different numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
