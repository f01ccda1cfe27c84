"""Training is exact where it resumes, and whole where workers share it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from magray.errors import UserError
from magray.learning.batches import TrainingFilms
from magray.learning.recipe import Recipe
from magray.learning.step import Means
from magray.learning.training import Training
from tests.stripes import stripes

RECIPE = Recipe(epochs=3, learning_rate=3e-3, views_per_epoch=8, batch=8, seed=1)


@pytest.fixture(scope="module")
def films() -> TrainingFilms:
    mz = np.stack([stripes(periods, 0.4, seed=periods, side=128) for periods in (2, 3, 5, 7)])
    images = torch.from_numpy(np.rint((mz + 1) * 127.5).astype(np.uint8))
    return TrainingFilms(images, torch.linspace(-1, 1, 4)[:, None], (64, 128), pixel_um=4 / 1024)


def test_a_resumed_training_ends_the_same_bit_for_bit(films: TrainingFilms) -> None:
    whole = Training(films, RECIPE)
    losses = [whole.run_epoch() for _ in range(3)]
    first = Training(films, RECIPE)
    first.run_epoch()
    resumed = Training(films, RECIPE)
    resumed.load(first.state())
    assert [resumed.run_epoch() for _ in range(2)] == losses[1:]
    ends = [training.state()["network"] for training in (whole, resumed)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_finished_network_has_the_statistics_of_many_batches(films: TrainingFilms) -> None:
    """With a mean of the last few, all answers of a network are off by what these happened to show."""
    recipe = replace(RECIPE, epochs=1, views_per_epoch=48, batch=8)
    training = Training(films, recipe)
    training.run_epoch()
    many = training.step.render(films.images, training.batches(epoch=5).flatten(0, 1))
    convolution, _, norm = training.network.get_submodule("0"), None, training.network.get_submodule("2")
    assert isinstance(norm, torch.nn.BatchNorm2d)
    with torch.no_grad():
        seen = convolution(many[:, None]).relu().mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, seen, rtol=0.03, atol=0.01)
    assert norm.momentum == 0.1


def test_workers_add_up_to_one_that_does_it_alone(films: TrainingFilms) -> None:
    """Their shares, 2 and 1 of 3 pictures, are weighed by size. Batch norm sees a share alone: hence it is off here."""
    recipe, gradients = replace(RECIPE, batch=3), []
    for workers in (1, 2):
        trainings = [Training(films, recipe, rank, workers, means=Means(bfloat16=False)) for rank in range(workers)]
        parts = []
        for training in trainings:
            training.network.eval()
            training.step.learn(training.batches(epoch=0)[0])
            parts.append(training.step.parameters.gradient)
        gradients.append(torch.stack(parts).sum(dim=0))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_more_workers_than_pictures_are_refused(films: TrainingFilms) -> None:
    with pytest.raises(UserError, match="9 workers cannot share a batch of 8 pictures"):
        Training(films, RECIPE, workers=9)
