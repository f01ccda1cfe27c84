"""One fit, epoch by epoch: AdamW under a one-cycle learning rate, mean squared error of the standardised targets.

Knows nothing of Ray. On a CPU with a fixed number of threads the same seed gives the same network.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from magray.config import FitConfig
from magray.learning.batches import Cuts, TrainingFilms, batch_count, batches, epoch_cuts
from magray.learning.network import forward, paper_cnn

State = dict[str, Any]
BETAS = (0.9, 0.95)  # a short memory of the gradients' size, as fits of few thousand steps want it


class Training:
    """A network and all that its fit needs to go on after any epoch.

    prepare: puts the network on its device, and between the workers where there are several.
    rank, workers: this process among those that share every batch.
    """

    def __init__(
        self,
        films: TrainingFilms,
        config: FitConfig,
        prepare: Callable[[nn.Module], nn.Module] = lambda network: network,
        rank: int = 0,
        workers: int = 1,
    ) -> None:
        torch.manual_seed(config.seed)
        self.films, self.config, self.rank, self.workers = films, config, rank, workers
        self.plain = paper_cnn(films.targets.shape[1])
        self.network = prepare(self.plain)
        self.views = len(self._cuts(0))  # in every epoch
        steps = config.epochs * batch_count(self.views, config.batch)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, BETAS, weight_decay=config.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, config.learning_rate, total_steps=steps)
        self.epoch = 0  # the next one

    def run_epoch(self) -> float:
        """Learns from every batch of the next epoch; returns its mean loss, in variances of the targets."""
        self.network.train()
        cuts, count = self._cuts(self.epoch), batch_count(self.views, self.config.batch)
        losses = [self._step(*batch) for batch in batches(self.films, cuts, count, self.rank, self.workers)]
        self.epoch += 1
        return float(torch.stack(losses).mean())

    def state(self) -> State:
        """All that `load` needs to go on from here."""
        return {
            "epoch": self.epoch,
            "network": self.plain.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load(self, state: State) -> None:
        """Goes on from what `state` returned."""
        self.epoch = state["epoch"]
        self.plain.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])

    def _step(self, views: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.mse_loss(forward(self.network, views), targets)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()

    def _cuts(self, epoch: int) -> Cuts:
        return epoch_cuts(self.films, self.config.views_per_epoch, self.config.seed, epoch)
