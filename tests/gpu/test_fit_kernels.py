"""Training steps by CUDA kernels agree with PyTorch's layers on a GPU."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from magray.config import FitConfig, ScaleSet
from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Calibration, EstimatorMetadata, Target
from magray.imaging.microscope import Microscope
from magray.network.branches import NETWORKS, NetworkName
from magray.network.execution import ExecutionConfig
from magray.training.config import TrainConfig
from magray.training.crops import FilmBatch
from magray.training.optimizer import hyperparameter_table
from magray.training.starting_point import StartingPoint
from magray.training.step import Step
from magray.training.trainer import Trainer
from tests.support.stripes import stripes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available() or find_spec("cupy") is None, reason="no GPU, or no CuPy"),
]
CONFIG = TrainConfig(epochs=2, learning_rate=1e-3, views_per_epoch=64, batch=32, seed=1)
KERNELS = ExecutionConfig(bfloat16=False, kernels=True, graphed=True)


@pytest.fixture(scope="module")
def films() -> FilmBatch:
    mz = np.stack([stripes(periods, 0.4, seed=periods, side=256) for periods in range(2, 12)])
    images = torch.from_numpy(np.rint((mz + 1) * 127.5).astype(np.uint8)).cuda()
    return FilmBatch(images, torch.linspace(-1, 1, len(images))[:, None].cuda(), (128, 192, 256), pixel_um=4 / 1024)


@pytest.fixture
def exact_products() -> Iterator[None]:
    """Use full float32 instead of TF32, and deterministic algorithms of cuDNN."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32, cudnn.deterministic = False, True
    yield
    cudnn.allow_tf32, cudnn.deterministic = before


@pytest.mark.parametrize(("name", "width"), [("paper", 1.0), ("scale-aware", 1.0), ("paper", 0.5), ("paper", 2.0)])
def test_a_recorded_step_by_kernels_does_what_layers_do(
    films: FilmBatch, name: NetworkName, width: float, exact_products: None
) -> None:
    """Gradient and running averages agree on the second of two steps, which replays a CUDA graph.

    In float32 rounding changes which pixel is the largest in few pools only: hence 1e-2 of the gradient.
    """
    torch.manual_seed(0)
    network = NETWORKS[name](1, width).cuda().train()
    twin = copy.deepcopy(network)
    crops = Trainer(films, CONFIG).batches(0)
    numbers = hyperparameter_table("constant", 0.0, 0.0, 2).cuda()
    steps = [Step(network, films, KERNELS), Step(twin, films, ExecutionConfig(bfloat16=False))]
    losses = [[float(step(c, n)) for c, n in zip(crops[:2], numbers, strict=True)] for step in steps]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    gradient, expected = (step.parameters.gradient for step in steps)
    assert float((gradient - expected).norm() / expected.norm()) < 1e-2
    for (what, found), wanted in zip(network.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3, msg=f"{what}: {{}}".format)


def test_an_estimator_answers_on_a_gpu_as_on_a_cpu(films: FilmBatch, tmp_path: Path) -> None:
    """The GPU uses bfloat16: agreement to a tenth of the standard deviation. The views are more than one chunk."""
    training = Trainer(films, replace(CONFIG, network="scale-aware", views_per_epoch=640), execution=KERNELS)
    training.run_epoch()
    training.recalibrate_batch_norm()
    target = Target("Ms", "A/m", 1e6, 1e5, 5e5, 1.5e6)
    calibration = Calibration((0.5, 1.0), {"Ms": (1e4, 1e4)}, 4)
    description = EstimatorMetadata((target,), (0.5, 1.0), 10, calibration, {}, "scale-aware")
    Estimator(training.network, description).save(tmp_path)
    views = training.step.pictures(training.batches(0).flatten(0, 1)).float().cpu().add(1).mul(127.5)
    here, there = (Estimator.load(tmp_path, device).predict_views(views, 0.75) for device in ("cpu", "cuda"))
    assert np.sqrt(np.mean((here - there) ** 2)) < 0.1 * here.std()


def test_the_same_seed_gives_the_same_network(films: FilmBatch, exact_products: None) -> None:
    ends = []
    for _ in range(2):
        training = Trainer(films, CONFIG, execution=KERNELS)
        for _ in range(CONFIG.epochs):
            training.run_epoch()
        ends.append(training.state()["network"])
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_training_goes_on_with_the_weights_of_an_estimator(films: FilmBatch) -> None:
    """They reach the kernels: a step at a rate of 0 has the loss of the same network by layers on a CPU."""
    scales = ScaleSet.parse("0.5..1.0")
    fit = FitConfig(train_scales=[scales], epochs=1, views_per_epoch=1, learning_rate=1e-3, start_from="co-like")
    start, losses = StartingPoint.of(fit), []
    assert start is not None
    target = replace(start.metadata.targets[0], mean=0.4e-3)
    initialise = partial(start.initialise, targets=[target], scales_um=scales.scales_um)
    here = replace(films, images=films.images.cpu(), targets=films.targets.cpu())
    for batch, execution in ((films, KERNELS), (here, ExecutionConfig(bfloat16=False))):
        training = Trainer(batch, replace(CONFIG, network="scale-aware"), execution=execution, initialise=initialise)
        standing = hyperparameter_table("constant", 0.0, 0.0, 1)[0].to(batch.images.device)
        losses.append(float(training.step(training.batches(0)[0], standing)))
        weights = training.network.state_dict()
        assert torch.equal(weights["blocks.0.weight"].cpu(), start.weights["blocks.0.weight"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_what_a_microscope_adds_is_new_in_each_step_and_the_same_after_a_resumption(
    films: FilmBatch, exact_products: None
) -> None:
    """Replayed steps draw new noise, and recording a CUDA graph does not change the state of the generator."""
    config = replace(CONFIG, microscope=Microscope((0.0, 20.0), (0.1, 0.4)))
    whole = Trainer(films, config, execution=KERNELS)
    whole.run_epoch()
    resumed = Trainer(films, config, execution=KERNELS)
    resumed.load(whole.state())
    assert whole.run_epoch() == resumed.run_epoch()
    ends = [training.state()["network"] for training in (whole, resumed)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    crops, standing = whole.batches(0)[0], hyperparameter_table("constant", 0.0, 0.0, 1)[0].cuda()
    assert float(whole.step(crops, standing).clone()) != float(whole.step(crops, standing))
