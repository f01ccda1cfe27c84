"""Train the network of any film: each step draws new pictures on the device, so that nothing waits for a loader.

On a GPU the views, the body's blocks and the update are our own kernels, and one CUDA graph plays the whole step.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from magray.network.any_film import AnyFilmNetwork, Knowns, kernel_features
from magray.network.execution import ExecutionConfig
from magray.network.kernels.kernels import compile_for
from magray.network.kernels.update import Update
from magray.training.any_film.instruments import HALVES, InstrumentShare
from magray.training.any_film.sampler import Pictures, Sampler
from magray.training.optimizer import BETA2, EPS, AdamW, FlatParameters, Rule, adamw, hyperparameter_table

HIDDEN_DMI, HIDDEN_HISTORY = 0.3, 0.5  # shares of the pictures that are not told of them
CONSISTENCY = 0.3  # weight of the loss that asks the features for Q1 and τ
LARGEST_GRADIENT = 5.0
WARM_UP_STEPS = 3
TIMED_STEPS, CHUNK = 200, 64
STANDING = hyperparameter_table("constant", 0.0, 0.0, 1)[0]  # a step of no length


@dataclass(frozen=True)
class AnyFilmTraining:
    """The settings of a training. pictures: at most; seconds: at most, on this device."""

    pictures: int = 60_000_000
    seconds: float = 360.0
    batch: int = 1024
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    seed: int = 0
    instruments: tuple[InstrumentShare, ...] = HALVES


class AnyFilmTrainer:
    """A network and the sampler that it learns from, on one device."""

    def __init__(
        self, network: AnyFilmNetwork, sampler: Sampler, training: AnyFilmTraining, execution: ExecutionConfig
    ) -> None:
        self.network, self.sampler, self.training = network.train(), sampler, training
        self.features = features_of(network, sampler.device, execution)
        self.parameters = FlatParameters(network)
        rule: Rule = Update(compile_for(sampler.device), BETA2, EPS) if execution.kernels else adamw
        self.optimizer = AdamW(self.parameters, rule)
        self.hyperparameters = STANDING.to(sampler.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        if execution.graphed:
            self._record()

    def step(self, hyperparameters: torch.Tensor) -> torch.Tensor:
        """Train on a new batch; return its loss, which the next step may overwrite."""
        self.hyperparameters.copy_(hyperparameters)
        if self.graph is None:
            return self._run()
        self.graph.replay()
        return self.loss

    def backward(self) -> torch.Tensor:
        """Put the gradient of a new batch's loss beside the parameters; return the loss."""
        self.parameters.gradient.zero_()
        with torch.no_grad():
            pictures = self.sampler.train(self.training.batch)
            drawn = torch.rand(2, len(pictures), device=self.sampler.device)
        knowns = pictures.knowns(drawn[0] > HIDDEN_DMI, drawn[1] > HIDDEN_HISTORY)
        loss = loss_of(self.network, self.features(pictures.views), pictures, knowns)
        torch.autograd.backward(loss)
        gradient = self.parameters.gradient
        gradient.nan_to_num_(0.0, 0.0, 0.0)  # one picture that overflows must not end a fit; its loss still shows
        gradient.mul_((LARGEST_GRADIENT / (gradient.norm() + EPS)).clamp(max=1.0))
        return loss.detach()

    def train(self, say: Callable[[str], object]) -> dict[str, float]:
        """Train through all pictures, or as many as there is time for. Returns what was done."""
        start, training = time.perf_counter(), self.training
        steps = max(1, min(training.pictures // training.batch, self._steps_in(training.seconds)))
        say(f"training: {steps} steps of {training.batch} pictures")
        table = hyperparameter_table("cosine", training.learning_rate, training.weight_decay, steps)
        table, spoken, losses = table.to(self.sampler.device), start, []
        for number, row in enumerate(table):
            loss = self.step(row)
            if number % CHUNK == CHUNK - 1 or number == steps - 1:
                losses.append(float(loss))  # waits, so that not too many steps are queued
                now = time.perf_counter()
                if now - spoken > 15 or number == steps - 1:
                    mean = sum(losses[-20:]) / len(losses[-20:])
                    speed = (number + 1) * training.batch / (now - start)
                    say(f"{now - start:5.0f} s  step {number + 1}  loss {mean:.3f}  {speed:,.0f} pictures/s")
                    spoken = now
        seconds = time.perf_counter() - start
        if not math.isfinite(sum(losses[-20:])):
            raise ArithmeticError("the loss is no number: the fit diverged")
        return {"steps": steps, "pictures": steps * training.batch, "seconds": seconds, "loss": losses[-1]}

    def _steps_in(self, seconds: float) -> int:
        """Return how many steps take so long, by the time of a few that do not move the network."""
        count, begin = (TIMED_STEPS if self.graph is not None else 2), time.perf_counter()
        for _ in range(count):
            loss = self.step(STANDING)
        float(loss)
        each = (time.perf_counter() - begin) / count
        self.optimizer.exp_avg.zero_()
        self.optimizer.exp_avg_sq.zero_()
        return int(seconds / each)

    def _run(self) -> torch.Tensor:
        loss = self.backward()
        with torch.no_grad():
            self.optimizer.update(self.hyperparameters)
        return loss

    def _record(self) -> None:
        torch.backends.cudnn.benchmark = True
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                self._run()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.loss = self._run()
        self.graph = graph


def features_of(
    network: AnyFilmNetwork, device: torch.device, execution: ExecutionConfig
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the fastest way from views to features, in the network's mode."""
    if execution.kernels and len(network.layers):
        return kernel_features(network, compile_for(device), execution.bfloat16)

    def features(views: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=execution.bfloat16):
            return network.features(views)

    return features


def loss_of(network: AnyFilmNetwork, features: torch.Tensor, pictures: Pictures, knowns: Knowns) -> torch.Tensor:
    """Return the mean negative logarithm of all densities at the truth."""
    sought, numbers = pictures.sought(), knowns.numbers()
    logs = network.posterior(features, knowns).log_prob(sought) + network.prior(knowns).log_prob(sought)
    logs = logs + CONSISTENCY * network.consistency(features).log_prob(numbers)
    return -(logs + network.consistency_prior().log_prob(numbers)).mean()
