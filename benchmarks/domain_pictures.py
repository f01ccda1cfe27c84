"""Make the statistics of simulated domain pictures by which magray tells what is no domain picture.

    python benchmarks/domain_pictures.py STORE magray/estimator/domain_pictures.safetensors

STORE holds films of every perpendicular material (configs/any-film). Views are turned by any angle and magnified such
that a pixel is a quarter to two cells; half of them are seen through a microscope. Views without domains are left out.

    python benchmarks/domain_pictures.py STORE FOLDER/pictures.safetensors --estimator FOLDER

makes those of one estimator's own films: views at its scales, seen as it sees them.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from magray.estimator.estimator import Estimator
from magray.estimator.trust import DomainPictures
from magray.imaging import VIEW_SIZE, area_average, to_mz
from magray.imaging.microscope import BAND_LIMIT, MICROSCOPE
from magray.imaging.views import NM_PER_SCALE_UM
from magray.store import open_store

ZOOM = (0.25, 2.0)  # cells in a pixel
VIEWS = 12  # of each film
LEAST_SPREAD, MOST_UNBALANCED, FLATTEST = 0.6, 0.85, 1.9  # of mz where there are domains

View = NDArray[np.float64]


def view_of(film: NDArray[np.float64], random: np.random.Generator) -> View | None:
    """Return a view (128, 128) of a periodic film of mz, half of them through a microscope; None without domains."""
    view = turned_view(film, float(np.exp(random.uniform(*np.log(ZOOM)))), random)
    if not shows_domains(view):
        return None
    return through_microscope(view, random) if random.uniform() < 0.5 else view


def turned_view(film: NDArray[np.float64], zoom: float, random: np.random.Generator) -> View:
    """Return a view (128, 128) of a periodic film of mz, turned by any angle, with pixels of `zoom` cells."""
    angle = random.uniform(0, 2 * np.pi)
    place = (np.arange(VIEW_SIZE) - VIEW_SIZE / 2) * zoom
    y, x = np.meshgrid(place, place, indexing="ij")
    corner = random.uniform(0, len(film), 2)
    rows = corner[0] + np.cos(angle) * y - np.sin(angle) * x
    cols = corner[1] + np.sin(angle) * y + np.cos(angle) * x
    soft = gaussian_filter(film, max(BAND_LIMIT, BAND_LIMIT * zoom), mode="wrap")
    return np.asarray(map_coordinates(soft, [rows % len(film), cols % len(film)], order=1, mode="grid-wrap"))


def through_microscope(view: View, random: np.random.Generator) -> View:
    """Return a view with the blur and the noise of a microscope."""
    soft = gaussian_filter(view, random.uniform(*MICROSCOPE.blur))
    return np.asarray(soft + random.uniform(*MICROSCOPE.noise) * random.normal(size=view.shape))


def shows_domains(view: View) -> bool:
    """Return whether mz has two levels, each in a fair part of the view."""
    flatness = (view**4).mean() / (view**2).mean() ** 2
    return bool(
        view.std() > LEAST_SPREAD and abs((view > 0).mean() - 0.5) < MOST_UNBALANCED - 0.5 and flatness < FLATTEST
    )


def pictures_of(films: NDArray[np.uint8], seed: int = 0) -> DomainPictures:
    """Return the statistics of views of films (n, side, side), grey values 0…255."""
    random, views, numbers = np.random.default_rng(seed), [], []
    for number, film in enumerate(films):
        mz = film.astype(np.float64) / 127.5 - 1
        shown = [view for _ in range(VIEWS) if (view := view_of(mz, random)) is not None]
        views += shown
        numbers += [number] * len(shown)
    return DomainPictures.of(np.stack(views), np.array(numbers))


def pictures_for(estimator: Estimator, films: NDArray[np.uint8], pixel_nm: float, seed: int = 0) -> DomainPictures:
    """Return the statistics of views of an estimator's own films (n, side, side), grey values 0…255, at its scales."""
    random, side = np.random.default_rng(seed), films.shape[1]
    trained = estimator.metadata.train_scales_um
    ends = [min(side, max(VIEW_SIZE // 4, scale * NM_PER_SCALE_UM / pixel_nm)) for scale in (trained[0], trained[-1])]
    views, numbers, scales = [], [], []
    for number, film in enumerate(films):
        for _ in range(2 * VIEWS):
            cells = round(float(np.exp(random.uniform(*np.log(ends)))))
            turned = np.rot90(
                np.roll(film, random.integers(0, side, 2), (0, 1))[:cells, :cells], int(random.integers(4))
            )
            views.append(area_average(turned[None] if random.uniform() < 0.5 else turned.T[None])[0])
            numbers.append(number)
            scales.append(cells * pixel_nm / NM_PER_SCALE_UM)
    mz, scales_um = to_mz(torch.from_numpy(np.stack(views))), torch.tensor(scales)
    if estimator.microscope is not None:
        mz = estimator.microscope.pictures(mz, scales_um, torch.Generator().manual_seed(seed))
    return DomainPictures.of(mz.numpy(), np.array(numbers), scales_um.numpy())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("out", type=Path)
    parser.add_argument("--estimator", type=Path)
    parser.add_argument("--films", type=int, default=400)
    arguments = parser.parse_args()
    store = open_store(arguments.store)
    ids = store.films("train", ["film_id"])["film_id"].to_pylist()[: arguments.films]
    films = store.images(ids)
    if arguments.estimator is None:
        made = pictures_of(films)
    else:
        pixel_nm = store.table(["pixel_nm"])["pixel_nm"][0].as_py()
        made = pictures_for(Estimator.load(arguments.estimator), films, pixel_nm)
    made.save(arguments.out)
    print(f"{len(made.statistics)} pictures of {len(ids)} films; limit {made.limit:.2f}")
