"""The choices of benchmarks.figure_2b are what they say: other pixels, other films, and other optimisers."""

import numpy as np
import pytest
import torch

from benchmarks.figure_2b import RATES, adam, adam_table, band_limited, bilinear, nearest, sgd, sgd_table
from magray.training.optimizer import AdamW, FlatParameters
from magray.training.rendering import render

STEPS = 5


def crops(side: int) -> torch.Tensor:
    """Return crops of two films in the four orientations, from places near the edge."""
    return torch.tensor([[side, turns % 2, 200 + turns, 30, turns] for turns in range(4)])


def films() -> torch.Tensor:
    return torch.randint(256, (2, 256, 256), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_pixels_of_one_cell_are_that_cell_however_they_are_made() -> None:
    expected = render(films(), crops(128))
    for make in (nearest, bilinear):
        torch.testing.assert_close(make(films(), crops(128)), expected)


def test_of_a_pixel_of_two_cells_the_nearest_is_one_of_them_and_bilinear_their_mean() -> None:
    torch.testing.assert_close(bilinear(films(), crops(256)), render(films(), crops(256)))
    every_second = films().roll((-200, -30), (1, 2))[:1, 1::2, 1::2] / 127.5 - 1
    torch.testing.assert_close(nearest(films(), crops(256)[:1]), every_second)


def test_a_band_limit_keeps_waves_of_ten_cells_and_removes_those_of_six() -> None:
    x = torch.arange(240)
    for period, left in ((10, 100.0), (6, 0.0)):
        film = (127.5 + 100 * torch.cos(2 * torch.pi * x / period)).expand(1, 240, 240)
        filtered = band_limited(film.round().to(torch.uint8)).float()
        assert (filtered.amax() - filtered.amin()) / 2 == pytest.approx(left, abs=2)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_the_optimisers_are_torchs(name: str) -> None:
    rule, table = {"adam": (adam, adam_table), "sgd": (sgd, sgd_table)}[name]
    layer, copy = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    copy.load_state_dict(layer.state_dict())
    settings = {"lr": RATES[name]} | ({"momentum": 0.9} if name == "sgd" else {})
    theirs = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[name](copy.parameters(), **settings)
    parameters = FlatParameters(layer)
    ours, rows = AdamW(parameters, rule), table(RATES[name], STEPS)
    for step in range(STEPS):
        for one in (layer, copy):
            one.zero_grad(set_to_none=False)
            one(torch.full((3, 8), float(step + 1))).square().mean().backward()
        ours.update(rows[step])
        theirs.step()
    for mine, other in zip(layer.parameters(), copy.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach(), other.detach(), rtol=1e-5, atol=1e-7)
