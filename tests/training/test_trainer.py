"""Training resumes exactly, and several workers do the same as one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from magray.errors import UserError
from magray.imaging.microscope import Microscope
from magray.network.execution import ExecutionConfig
from magray.training.config import TrainConfig
from magray.training.crops import FilmBatch
from magray.training.prefetch import FilmChunk, PrefetchBuffer
from magray.training.trainer import Trainer
from tests.support.stripes import stripes

CONFIG = TrainConfig(epochs=3, learning_rate=3e-3, views_per_epoch=8, batch=8, seed=1)


@pytest.fixture(scope="module")
def films() -> FilmBatch:
    mz = np.stack([stripes(periods, 0.4, seed=periods, side=128) for periods in (2, 3, 5, 7)])
    images = torch.from_numpy(np.rint((mz + 1) * 127.5).astype(np.uint8))
    return FilmBatch(images, torch.linspace(-1, 1, 4)[:, None], (64, 128), pixel_um=4 / 1024)


@pytest.mark.parametrize("microscope", [None, Microscope((0.0, 20.0), (0.0, 0.2))])
def test_a_resumed_training_ends_the_same_bit_for_bit(films: FilmBatch, microscope: Microscope | None) -> None:
    config = replace(CONFIG, microscope=microscope)
    whole = Trainer(films, config)
    losses = [whole.run_epoch() for _ in range(3)]
    first = Trainer(films, config)
    first.run_epoch()
    resumed = Trainer(films, config)
    resumed.load(first.state())
    assert [resumed.run_epoch() for _ in range(2)] == losses[1:]
    ends = [training.state()["network"] for training in (whole, resumed)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_finished_network_has_the_statistics_of_many_batches(films: FilmBatch) -> None:
    """With a running average over the last few, all estimates of a network would be shifted by chance."""
    config = replace(CONFIG, epochs=1, views_per_epoch=48, batch=8)
    training = Trainer(films, config)
    training.run_epoch()
    many = training.step.pictures(training.batches(epoch=5).flatten(0, 1))
    convolution, _, norm = training.network.get_submodule("0"), None, training.network.get_submodule("2")
    assert isinstance(norm, torch.nn.BatchNorm2d)
    with torch.no_grad():
        seen = convolution(many[:, None]).relu().mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, seen, rtol=0.03, atol=0.01)
    assert norm.momentum == 0.1


def test_the_gradients_of_workers_add_up_to_that_of_one(films: FilmBatch) -> None:
    """Shares of 2 and 1 of 3 pictures are weighted by size. Batch norm is off: its statistics are each worker's own."""
    config, gradients = replace(CONFIG, batch=3), []
    for workers in (1, 2):
        trainings = [
            Trainer(films, config, rank, workers, execution=ExecutionConfig(bfloat16=False)) for rank in range(workers)
        ]
        parts = []
        for training in trainings:
            training.network.eval()
            training.step.backward(training.batches(epoch=0)[0])
            parts.append(training.step.parameters.gradient)
        gradients.append(torch.stack(parts).sum(dim=0))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_more_workers_than_pictures_are_refused(films: FilmBatch) -> None:
    with pytest.raises(UserError, match="9 workers cannot share a batch of 8 pictures"):
        Trainer(films, CONFIG, workers=9)


ALL, AT_ONCE = 32, 8  # films, and those that the device holds when they are streamed


class Source:
    """A reader that yields films in the order of an epoch, three at a time. given: number of films so far."""

    def __init__(self) -> None:
        self.given = 0

    def read(self, epoch: int) -> Iterator[FilmChunk]:
        order = np.random.default_rng(epoch).permutation(ALL)
        for first in range(0, ALL, 3):
            some = order[first : first + 3]
            self.given += len(some)
            yield some, np.stack([np.full((128, 128), film, np.uint8) for film in some])


@contextmanager
def streamed(source: Source) -> Iterator[FilmBatch]:
    """Yield streamed films whose pictures and targets are their numbers."""
    images, targets = torch.zeros(AT_ONCE, 128, 128, dtype=torch.uint8), torch.zeros(AT_ONCE, 1)
    with PrefetchBuffer(images, targets, torch.arange(ALL).float()[:, None], source.read) as stream:
        yield FilmBatch(images, targets, (64, 128), pixel_um=4 / 1024, stream=stream)


STREAMED = replace(CONFIG, views_per_epoch=64)


def test_an_epoch_of_streamed_films_shows_every_film_in_equal_shares() -> None:
    """Each batch finds its films where its crops say, and no film is loaded twice in an epoch."""
    with streamed(Source()) as films:
        training = Trainer(films, STREAMED)
        assert training.steps == 16
        for epoch in range(3):
            seen: list[float] = []
            for crops in training.epoch_batches(epoch):
                targets = films.targets[crops[:, 1], 0]
                assert torch.equal(films.images[crops[:, 1], 0, 0].float(), targets)
                seen += targets.tolist()
            assert np.bincount(np.array(seen, int)).tolist() == [4] * ALL


def test_no_more_films_are_read_ahead_than_the_device_holds() -> None:
    source, ahead = Source(), []
    with streamed(source) as films:
        for chunk, _ in enumerate(films.load_chunks(0)):
            ahead.append(source.given - chunk * AT_ONCE // 2)
    assert len(films.images) == ALL // 4
    assert max(ahead) <= AT_ONCE + 2  # of the last three some may have to wait


def test_a_training_on_streamed_films_resumes_bit_for_bit() -> None:
    with streamed(Source()) as films:
        whole = Trainer(films, STREAMED)
        losses = [whole.run_epoch() for _ in range(3)]
    with streamed(Source()) as films:
        first = Trainer(films, STREAMED)
        first.run_epoch()
    with streamed(Source()) as films:
        resumed = Trainer(films, STREAMED)
        resumed.load(first.state())
        assert [resumed.run_epoch() for _ in range(2)] == losses[1:]
    ends = [training.state()["network"] for training in (whole, resumed)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_an_error_of_the_reader_is_raised_in_training() -> None:
    class Torn(Source):
        def read(self, epoch: int) -> Iterator[FilmChunk]:
            yield next(super().read(epoch))
            raise UserError("the store is damaged")

    with streamed(Torn()) as films, pytest.raises(UserError, match="damaged"):
        Trainer(films, STREAMED).run_epoch()


def test_chunks_without_a_whole_batch_are_refused() -> None:
    with streamed(Source()) as films, pytest.raises(UserError, match=r"set fit\.films_at_once or"):
        Trainer(films, replace(STREAMED, views_per_epoch=16))


def test_a_fit_that_diverges_stops_and_says_where(films: FilmBatch) -> None:
    training = Trainer(films, replace(CONFIG, learning_rate=1e30, schedule="constant"))
    with pytest.raises(UserError, match=r"from step 2 of epoch 1 on; set fit\.learning_rate below 1e\+30"):
        training.run_epoch()
