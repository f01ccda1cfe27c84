"""The any-film estimator's training on the GPU: views and a recorded step by kernels, against PyTorch."""

import copy
import math
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from magray.network.any_film import AnyFilmNetwork, AnyFilmSettings
from magray.network.execution import ExecutionConfig
from magray.network.kernels.kernels import compile_for
from magray.network.kernels.turned import TurnedViews
from magray.training.any_film.films import FilmSet, read_films
from magray.training.any_film.fit import standardise
from magray.training.any_film.instruments import read_instruments
from magray.training.any_film.sampler import Sampler
from magray.training.any_film.trainer import AnyFilmTrainer, AnyFilmTraining, features_of, loss_of
from magray.training.any_film.views import random_geometry, turned_views
from tests.support.any_films import designed_store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available() or find_spec("cupy") is None, reason="no GPU, or no CuPy"),
]
GPU = torch.device("cuda", 0)
KERNELS, PLAIN = ExecutionConfig(bfloat16=False, kernels=True, graphed=True), ExecutionConfig(bfloat16=False)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> FilmSet:
    return read_films(designed_store(tmp_path_factory.mktemp("films") / "store", 60, 256), GPU)


@pytest.mark.parametrize(("pixel", "reach"), [(1.0, 2), (4.0, 6)])
def test_turned_views_on_the_gpu_are_those_of_pytorch(films: FilmSet, pixel: float, reach: int) -> None:
    index = torch.arange(16, device=GPU)
    rows = random_geometry(torch.full((16,), pixel, device=GPU), films.side)
    found = TurnedViews(compile_for(GPU), reach)(films.images, index, rows)
    expected = turned_views(films.images, index, rows, reach)
    assert float((found - expected).abs().mean()) < 1e-5


def test_features_by_kernels_give_the_loss_and_the_gradient_of_layers(films: FilmSet) -> None:
    """In float32 few pixels change places with a rival in their pools: hence 1e-2 of the gradient."""
    torch.manual_seed(0)
    sampler = Sampler([films], KERNELS)
    network = AnyFilmNetwork(AnyFilmSettings()).to(GPU)
    standardise(network, sampler, 64)
    pictures, found = sampler.train(64), []
    for execution in (KERNELS, PLAIN):
        twin = copy.deepcopy(network).train()
        with torch.backends.cudnn.flags(allow_tf32=False):  # both convolve by cuDNN, perhaps by other algorithms
            loss = loss_of(twin, features_of(twin, GPU, execution)(pictures.views), pictures, pictures.knowns())
            loss.backward()  # type: ignore[no-untyped-call]
        found.append((loss.item(), torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-3)
    assert float((found[0][1] - found[1][1]).norm() / found[1][1].norm()) < 1e-2


def test_recorded_steps_learn(films: FilmSet, tmp_path: Path) -> None:
    """The graph draws new pictures of films of both sizes each time it is played, and the loss falls."""
    torch.manual_seed(0)
    large = read_films(designed_store(tmp_path / "store", 20, 512), GPU)
    sampler = Sampler([films, large], KERNELS)
    network = AnyFilmNetwork(AnyFilmSettings(width=1.0)).to(GPU)
    standardise(network, sampler, 128)
    trainer = AnyFilmTrainer(network, sampler, AnyFilmTraining(pictures=128 * 300, batch=128), KERNELS)
    standing = trainer.hyperparameters.clone()
    first, second = float(trainer.step(standing)), float(trainer.step(standing))
    assert first != second
    assert trainer.train(lambda _: None)["loss"] < first - 0.5


def test_recorded_steps_show_pictures_through_instruments(films: FilmSet) -> None:
    """The filters, the counts and the views of their signals are part of the graph, and drawn anew each time."""
    torch.manual_seed(0)
    instruments = read_instruments(Path(__file__).parents[2] / "configs" / "instruments" / "any-film.yaml")
    sampler = Sampler([films], KERNELS, instruments)
    network = AnyFilmNetwork(AnyFilmSettings(width=1.0, instruments=tuple(one.name for one in instruments))).to(GPU)
    standardise(network, sampler, 128)
    trainer = AnyFilmTrainer(network, sampler, AnyFilmTraining(batch=128, instruments=instruments), KERNELS)
    losses = {float(trainer.step(trainer.hyperparameters.clone())) for _ in range(3)}
    assert len(losses) == 3
    assert all(math.isfinite(loss) for loss in losses)


def test_recorded_steps_of_the_heads_alone_leave_the_body(films: FilmSet) -> None:
    torch.manual_seed(0)
    sampler = Sampler([films], KERNELS)
    network = AnyFilmNetwork(AnyFilmSettings(width=1.0)).to(GPU)
    standardise(network, sampler, 128)
    network.layers.requires_grad_(False)
    body = copy.deepcopy(network.layers.state_dict())
    training = AnyFilmTraining(pictures=32 * 200, batch=32, learning_rate=1e-3)
    trainer = AnyFilmTrainer(network, sampler, training, KERNELS, heads_alone=True)
    first = float(trainer.step(trainer.hyperparameters.clone()))
    assert trainer.train(lambda _: None)["loss"] < first
    assert all(torch.equal(body[name], after) for name, after in network.layers.state_dict().items())
