"""Train the network of any film: each step draws new pictures on the device, so that nothing waits for a loader.

Two parts follow each other. First the whole network learns from single views; then its heads alone learn from what
the body, which is left as it is, says of pictures by all their symmetries, since that is what they are asked of later.
On a GPU the views, the body's blocks and the update are our own kernels, and one CUDA graph plays the whole step.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from magray.network.any_film import SYMMETRIES, AnyFilmNetwork, Features, Knowns, kernel_features, symmetric
from magray.network.execution import ExecutionConfig
from magray.network.kernels.kernels import compile_for
from magray.network.kernels.update import Update
from magray.training.any_film.instruments import HALVES, InstrumentShare
from magray.training.any_film.sampler import Pictures, Sampler
from magray.training.optimizer import BETA2, EPS, AdamW, FlatParameters, Rule, adamw, hyperparameter_table

HIDDEN_DMI, HIDDEN_HISTORY, HIDDEN_RESOLUTION = 0.3, 0.5, 0.5  # shares of the pictures that are not told of them
CONSISTENCY = 0.3  # weight of the loss that asks the features for Q1 and τ
LARGEST_GRADIENT = 5.0
HEADS_BATCH = 4  # what batch and learning rate are divided by when the heads learn alone: a picture has many views then
WARM_UP_STEPS = 3
TIMED_STEPS, CHUNK = 200, 64
STANDING = hyperparameter_table("constant", 0.0, 0.0, 1)[0]  # a step of no length


@dataclass(frozen=True)
class AnyFilmTraining:
    """The settings of a training. pictures: at most; seconds: at most, on this device.

    heads: the share of the pictures' views and of the seconds in which the heads alone learn.
    """

    pictures: int = 60_000_000
    seconds: float = 360.0
    batch: int = 1024
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    seed: int = 0
    heads: float = 0.15
    instruments: tuple[InstrumentShare, ...] = HALVES

    def parts(self) -> "tuple[AnyFilmTraining, AnyFilmTraining]":
        """Return the settings of the part for the whole network, and of that for its heads."""
        whole = replace(self, pictures=round((1 - self.heads) * self.pictures), seconds=(1 - self.heads) * self.seconds)
        heads = replace(
            self,
            pictures=round(self.heads * self.pictures / SYMMETRIES),
            seconds=self.heads * self.seconds,
            batch=max(1, self.batch // HEADS_BATCH),
            learning_rate=self.learning_rate / HEADS_BATCH,
        )
        return whole, heads


def train_any_film(
    network: AnyFilmNetwork,
    sampler: Sampler,
    training: AnyFilmTraining,
    execution: ExecutionConfig,
    say: Callable[[str], object],
) -> dict[str, float]:
    """Train both parts of a network. Returns what was done."""
    whole, heads = training.parts()
    done = AnyFilmTrainer(network, sampler, whole, execution).train(say)
    network.layers.requires_grad_(False)
    after = AnyFilmTrainer(network, sampler, heads, execution, heads_alone=True).train(say)
    network.layers.requires_grad_(True)
    return done | {f"{name}, heads": value for name, value in after.items()}


class AnyFilmTrainer:
    """A network and the sampler that it learns from, on one device.

    heads_alone: the body has no gradients, and pictures are seen by all their symmetries.
    """

    def __init__(
        self,
        network: AnyFilmNetwork,
        sampler: Sampler,
        training: AnyFilmTraining,
        execution: ExecutionConfig,
        heads_alone: bool = False,
    ) -> None:
        self.network, self.sampler, self.training = network.train(not heads_alone), sampler, training
        features = features_of(network, sampler.device, execution)
        self.features = torch.no_grad()(symmetric(features)) if heads_alone else features
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
            drawn = torch.rand(3, len(pictures), device=self.sampler.device)
        knowns = pictures.knowns(drawn[0] > HIDDEN_DMI, drawn[1] > HIDDEN_HISTORY, drawn[2] > HIDDEN_RESOLUTION)
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


def features_of(network: AnyFilmNetwork, device: torch.device, execution: ExecutionConfig) -> Features:
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
