"""The any-film estimator's training in miniature: views, numbers of pictures, a step, intervals, and a whole fit."""

import copy
import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magray.errors import UserError
from magray.evaluation import any_film
from magray.films.design import reduced_columns
from magray.films.reduced import ReducedNumbers
from magray.network.any_film import AnyFilmNetwork, AnyFilmSettings
from magray.network.execution import ExecutionConfig
from magray.network.mixture import Mixture
from magray.store import Store
from magray.training.any_film import fit
from magray.training.any_film.films import DEEPEST, FilmSet, below_one, read_films
from magray.training.any_film.fit import begin_with, fit_any_film, standardise
from magray.training.any_film.intervals import (
    Intervals,
    conformal_factors,
    d_and_delta,
    d_given_delta,
    stretched,
)
from magray.training.any_film.sampler import Pictures, Sampler, pixel_range
from magray.training.any_film.trainer import AnyFilmTrainer, AnyFilmTraining
from magray.training.any_film.views import random_geometry, reach_of, turned_views
from magray.workflows.any_film import run
from tests.support.any_films import designed_store

CPU, PLAIN = torch.device("cpu"), ExecutionConfig(bfloat16=False)
SMALL = AnyFilmSettings(width=0.25, components=3, hidden=16, embedding=8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return designed_store(tmp_path_factory.mktemp("films") / "store", 40)


@pytest.fixture(scope="module")
def films(store: Store) -> FilmSet:
    return read_films(store, CPU)


@pytest.fixture
def sampler(films: FilmSet) -> Sampler:
    torch.manual_seed(0)
    return Sampler([films], PLAIN)


def geometry(pixel: float, x: float, y: float, contrast: float = 1.0) -> torch.Tensor:
    return torch.tensor([[pixel, 0.0, 0.0, pixel, x, y, 0.5 * pixel, contrast]])


def test_a_view_of_stripes_shows_them_as_its_gaussian_sees_them() -> None:
    """A cosine of wave number k keeps exp(−k² σ² / 2) of itself; grey values round to 1/255."""
    period, pixel, cells = 16, 1.37, torch.arange(256)
    wave = torch.cos(2 * torch.pi * cells / period)
    images = ((wave + 1) * 127.5).round().to(torch.uint8).expand(1, 256, 256).contiguous()
    view = turned_views(images, torch.zeros(1, dtype=torch.long), geometry(pixel, 40.3, 9.0), reach_of(pixel))[0]
    x = 40.3 + pixel * (torch.arange(128) + 0.5 - 64)
    expected = torch.cos(2 * torch.pi * x / period) * math.exp(-0.5 * (math.pi / period * pixel) ** 2)
    torch.testing.assert_close(view, expected.expand(128, 128), atol=0.01, rtol=0)


def test_a_film_repeats_itself_and_contrast_turns_it_round() -> None:
    images = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8)
    index = torch.tensor([1])
    view = turned_views(images, index, geometry(1.2, 5.0, 7.0), 3)
    torch.testing.assert_close(
        turned_views(images, index, geometry(1.2, 5.0 + 64, 7.0 - 128), 3), view, atol=1e-3, rtol=0
    )
    torch.testing.assert_close(turned_views(images, index, geometry(1.2, 5.0, 7.0, -1.0), 3), -view)


def test_pixels_are_turned_but_not_stretched() -> None:
    """The two steps from pixel to pixel are at right angles and as long as the pixel, mirrored or not."""
    rows = random_geometry(torch.full((50,), 1.7), 256)
    along, across = rows[:, [0, 2]], rows[:, [1, 3]]
    torch.testing.assert_close(along.norm(dim=1), torch.full((50,), 1.7))
    torch.testing.assert_close(across.norm(dim=1), torch.full((50,), 1.7))
    torch.testing.assert_close((along * across).sum(1), torch.zeros(50), atol=1e-5, rtol=0)
    assert 0 < int((along[:, 0] * across[:, 1] > along[:, 1] * across[:, 0]).sum()) < 50


def test_pictures_have_the_numbers_of_their_films(store: Store, films: FilmSet, sampler: Sampler) -> None:
    """The sampler's numbers in pixels are the reduced numbers of the film's SI constants at that size of a pixel."""
    index = torch.arange(len(films.Q1))
    pictures = sampler.pictures(0, index, 1)
    table = store.films(columns=["film_id", "Ms", "Ku1", "Aex", "D", "dz", "protocol"])
    constants = {name: torch.from_numpy(table[name].to_numpy().copy()) for name in ("Ms", "Ku1", "Aex", "D", "dz")}
    pixel = 4e-9 * films.thickness / pictures.tau
    thickness = constants.pop("dz")
    numbers = ReducedNumbers.of(
        **{name: value.numpy() for name, value in constants.items()}, thickness=thickness.numpy(), pixel=pixel.numpy()
    )
    for name in ("Q1", "tau", "delta", "d", "s"):
        torch.testing.assert_close(
            getattr(pictures, name), torch.as_tensor(getattr(numbers, name)).float(), rtol=1e-4, atol=1e-6
        )
    histories = reduced_columns(table)["history"].to_pylist()
    assert len(set(histories)) == 4
    assert [
        ("minimised", "quenched", "thermal", "demagnetised")[place] for place in films.history.tolist()
    ] == histories


def test_spirals_are_learnt_from_but_neither_calibrated_nor_tested_with(tmp_path: Path) -> None:
    """Their d grows with the true one and stays below 1: its place is beyond all that is asked for."""
    spirals = read_films(designed_store(tmp_path / "store", 80, spirals=0.3), CPU)
    beyond = spirals.d > DEEPEST
    assert int(beyond[spirals.train].sum()) > 5
    assert not beyond[spirals.calibration].any()
    assert not beyond[spirals.test].any()
    d = np.array([0.0, 0.5, 0.97, 0.98, 1.2, 3.0])
    seen = below_one(d)
    assert (seen[:3] == d[:3]).all()
    assert (np.diff(seen) > 0).all()
    assert seen.max() < 1


def test_a_training_can_begin_with_the_weights_of_an_estimator(store: Store, tmp_path: Path) -> None:
    training = AnyFilmTraining(pictures=16, seconds=1e9, batch=8)
    first, _, _ = fit_any_film([store.uri], tmp_path / "first", SMALL, training, lambda _: None)
    again, other = AnyFilmNetwork(SMALL), AnyFilmNetwork(replace(SMALL, hidden=8))
    begun = begin_with(again, tmp_path / "first")
    weights = (tmp_path / "first" / "network.safetensors").read_bytes()
    assert begun["sha256"] == hashlib.sha256(weights).hexdigest()
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor)
    with pytest.raises(UserError, match="an estimator of another width, or of other instruments"):
        begin_with(other, tmp_path / "first")


def test_parts_of_the_films_have_no_film_in_common(films: FilmSet) -> None:
    parts = [set(part.tolist()) for part in (films.train, films.calibration, films.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(films.Q1)


def test_films_of_two_sizes_share_each_batch_by_their_area(films: FilmSet, tmp_path: Path) -> None:
    """8 films of 128² cells have as much area as 32 of 64²; their views have larger pixels, and so narrower walls."""
    large = read_films(designed_store(tmp_path / "store", 16, 128), CPU)
    sampler = Sampler([films, large], PLAIN)
    share = len(films.train) / (len(films.train) + 4 * len(large.train))
    pictures = sampler.train(40)
    of_small = round(share * 40)
    assert pictures.views.shape == (40, 128, 128)
    for part, one in ((slice(0, of_small), films), (slice(of_small, 40), large)):
        low, high = pixel_range(one.side)
        assert one.wall_width.min() / high <= pictures.delta[part].min()
        assert pictures.delta[part].max() <= one.wall_width.max() / low


def test_held_out_pictures_depend_on_their_seed_alone(sampler: Sampler) -> None:
    first, again, other = (sampler.held_out("test", 1, 1, seed).views for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_fit_learns_what_stripes_say_of_a_film(sampler: Sampler) -> None:
    """Two dozen steps take more than half a nat off the loss of an untrained network."""
    torch.manual_seed(0)
    network = AnyFilmNetwork(SMALL)
    standardise(network, sampler, 8)
    training = AnyFilmTraining(pictures=24 * 8, seconds=1e9, batch=8, learning_rate=1e-2)
    trainer = AnyFilmTrainer(network, sampler, training, PLAIN)
    before = sum(float(trainer.backward()) for _ in range(4)) / 4
    trainer.train(lambda _: None)
    after = sum(float(trainer.backward()) for _ in range(4)) / 4
    assert after < before - 0.5


def test_heads_that_learn_alone_leave_the_body_as_it_is(sampler: Sampler) -> None:
    network = AnyFilmNetwork(SMALL)
    standardise(network, sampler, 8)
    whole = AnyFilmTraining(pictures=16 * 8, seconds=1e9, batch=16, learning_rate=1e-2, heads=0.5)
    _, heads = whole.parts()
    network.layers.requires_grad_(False)
    body = copy.deepcopy(network.layers.state_dict())
    first = copy.deepcopy(network.first.weight)
    AnyFilmTrainer(network, sampler, heads, PLAIN, heads_alone=True).train(lambda _: None)
    assert all(torch.equal(body[name], after) for name, after in network.layers.state_dict().items())
    assert not torch.equal(first, network.first.weight)


def _gaussian(error: float, count: int, correlated: float = 0.0) -> tuple[Mixture, Pictures]:
    """Return normal posteriors of pictures whose log s is off by that error, and the pictures."""
    generator = torch.Generator().manual_seed(5)
    Q1, tau, delta = (torch.rand(count, generator=generator) + 0.5 for _ in range(3))
    d = 0.2 + 0.5 * torch.rand(count, generator=generator)
    integers = torch.zeros(count, dtype=torch.long)
    pictures = Pictures(
        torch.zeros(count, 1, 1),
        *(Q1, tau, delta, d, integers, integers, integers, torch.full((count,), torch.nan)),
        torch.ones(count, dtype=torch.bool),
    )
    sought = pictures.sought()
    mean = sought + error * torch.randn(sought.shape, generator=generator)
    log_precision = torch.full((count,), -math.log(error))
    parameters = torch.stack(
        [torch.zeros(count), mean[:, 0], log_precision, mean[:, 1], log_precision, torch.full((count,), correlated)], 1
    )
    return Mixture(parameters[:, None], torch.zeros(2), torch.ones(2)), pictures


def test_intervals_of_right_densities_cover_what_they_say() -> None:
    """Ends of d far from 0 and DEEPEST; four standard errors of 4,000 pictures are 0.03 and 0.014."""
    density, pictures = _gaussian(0.02, 4000)
    known = d_given_delta(density, pictures)
    unknown, delta = d_and_delta(density, pictures, torch.Generator().manual_seed(0))
    for found, truth in ((known, pictures.d), (unknown, pictures.d), (delta, pictures.delta)):
        inside68 = ((truth >= found.low68) & (truth <= found.high68)).float().mean()
        inside95 = ((truth >= found.low95) & (truth <= found.high95)).float().mean()
        assert float(inside68) == pytest.approx(0.68, abs=0.03)
        assert float(inside95) == pytest.approx(0.95, abs=0.014)
        assert float(found.rank.mean()) == pytest.approx(0.5, abs=0.02)


def test_an_interval_of_d_is_that_of_s() -> None:
    """A median of log s at the truth is a median of d at the truth, to a step of the grid."""
    density, pictures = _gaussian(1e-3, 100)
    found = d_given_delta(density, pictures)
    assert float((found.median - pictures.d).abs().max()) < 5e-3
    assert bool((found.high95 <= DEEPEST).all())


def test_conformal_factors_mend_bars_that_are_too_narrow() -> None:
    """Bars of a third of the right width get factors of about 3, and then cover new pictures as they should."""
    generator = torch.Generator().manual_seed(0)

    def drawn(count: int) -> tuple[Intervals, torch.Tensor]:
        truth = 10 + torch.rand(count, generator=generator)
        median = truth + 0.3 * torch.randn(count, generator=generator)
        low95, low68, same, high68, high95 = (median + z * 0.1 for z in (-1.96, -0.994, 0.0, 0.994, 1.96))
        return Intervals(low95, low68, same, high68, high95, torch.zeros(count)), truth

    factors = conformal_factors(*drawn(20_000), bins=1)
    assert factors["factors68"][0] == pytest.approx(3, rel=0.05)
    intervals, truth = drawn(20_000)
    found = stretched(intervals, factors)
    assert float(((truth >= found.low95) & (truth <= found.high95)).float().mean()) == pytest.approx(0.95, abs=0.01)


def test_a_whole_fit_leaves_an_estimator_and_its_scores(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In miniature, through the same calls as on a GPU: the description is complete, and the weights load."""
    monkeypatch.setattr(fit, "CALIBRATION_PICTURES", 10)
    monkeypatch.setattr(any_film, "TIMES", 1)
    training = AnyFilmTraining(pictures=32, seconds=1e9, batch=8)
    lines: list[str] = []
    run([store.uri], tmp_path, SMALL, training, 0.1, lines.append)
    description = json.loads((tmp_path / "estimator.json").read_text())
    assert description["kind"] == "any-film"
    assert set(description["trained"]) == {"Q1", "tau", "delta", "d", "t_over_wall_width"}
    for instrument in ("none", "microscope"):
        assert {"D, Aex known", "D, Aex unknown", "wall width"} <= set(description["calibration"][instrument])
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores) == {"network", "two numbers"}
    assert (tmp_path / "network.safetensors").stat().st_size < 8e6


def test_a_twin_of_the_network_gives_the_same_loss_of_the_same_pictures(sampler: Sampler) -> None:
    torch.manual_seed(0)
    network = AnyFilmNetwork(SMALL)
    training = AnyFilmTraining(pictures=8, seconds=1.0, batch=8)
    losses = []
    for one in (network, copy.deepcopy(network)):
        trainer = AnyFilmTrainer(one, sampler, training, PLAIN)
        torch.manual_seed(3)
        losses.append(float(trainer.backward()))
    assert losses[0] == losses[1]
