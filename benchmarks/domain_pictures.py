"""Make the statistics of simulated domain pictures by which magray tells what is no domain picture.

    python -m benchmarks.domain_pictures STORE... --output magray/estimator/domain_pictures/mz.safetensors

The stores hold films of every perpendicular material (configs/any-film). Views are turned by any angle and magnified
such that a pixel is a quarter of a cell or more, up to the whole film in a view; half of them are seen through a
microscope, and a quarter of them are squares of whole cells. Views without domains are left out.

    python -m benchmarks.domain_pictures STORE... --output magray/estimator/domain_pictures --instruments CONFIG

makes those of the instruments in a list (configs/instruments) that do not show mz, in a file each. Views are those of
the any-film training; those that two pictures do not show alike, for noise, are left out.

    python -m benchmarks.domain_pictures STORE --output FOLDER/pictures.safetensors --estimator FOLDER

makes those of one estimator's own films: views at its scales, seen as it sees them.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from magray.estimator.estimator import Estimator
from magray.estimator.shown import seen_as_in_training
from magray.estimator.trust import SMOOTH, DomainPictures, picture_statistics
from magray.imaging import VIEW_SIZE, area_average, to_mz
from magray.imaging.instruments import Ranges
from magray.imaging.microscope import BAND_LIMIT, MICROSCOPE, blurred, detrend
from magray.imaging.views import NM_PER_SCALE_UM
from magray.network.branches import own_device
from magray.network.execution import ExecutionConfig
from magray.store import Store, open_store
from magray.training.any_film.films import read_films
from magray.training.any_film.instruments import read_instruments, recorded, signals
from magray.training.any_film.sampler import Sampler
from magray.training.any_film.views import random_geometry

FINEST = 0.25  # cells in a pixel
VIEWS = 12  # of each film
THROUGH_MICROSCOPE, WHOLE_CELLS = 0.5, 0.25  # shares of the views
LEAST_SPREAD, MOST_UNBALANCED, FLATTEST = 0.6, 0.85, 1.9  # of mz where there are domains

VIEWS_THROUGH = 3  # of each film, through each instrument
VISIBLE = 0.7  # correlation of two pictures of a view, under a blur, where their noise does not hide it
AT_ONCE = 256  # pictures
SEPARATE = 10**6  # by which the numbers of the films of two stores differ

View = NDArray[np.floating]
Film = NDArray[np.uint8]


def statistics_of(film: Film, seed: int) -> View:
    """Return the statistics (n, 10) of views with domains of a periodic film (side, side), grey values 0…255."""
    random = np.random.default_rng(seed)
    shown = [view for _ in range(VIEWS) if (view := view_of(film, random)) is not None]
    return picture_statistics(np.stack(shown)) if shown else np.empty((0, 0))


def view_of(film: Film, random: np.random.Generator) -> View | None:
    """Return a view (128, 128) of a periodic film, some through a microscope; None without domains."""
    side, instrument = len(film), random.uniform()
    if instrument > 1 - WHOLE_CELLS:
        part = min(side, round(VIEW_SIZE * np.exp(random.uniform(0, np.log(side / VIEW_SIZE)))))
        square = np.roll(film, random.integers(0, side, 2), (0, 1))[:part, :part]
        shown = shows_domains(square / 127.5 - 1)
        return seen_as_in_training(square[None].astype(np.float32), "none")[0].numpy() if shown else None
    zoom = float(np.exp(random.uniform(*np.log([FINEST, side / VIEW_SIZE]))))
    view = turned_view(film / 127.5 - 1, zoom, random)
    if not shows_domains(view):
        return None
    return through_microscope(view, random) if instrument < THROUGH_MICROSCOPE else view


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


def pictures_of(films: Sequence[Film], processes: int) -> DomainPictures:
    """Return the statistics of views of square films, grey values 0…255."""
    with ProcessPoolExecutor(processes) as pool:
        found = list(pool.map(statistics_of, films, range(len(films)), chunksize=8))
    kept = [number for number, rows in enumerate(found) if len(rows)]
    return DomainPictures.of(
        np.concatenate([found[number] for number in kept]), np.repeat(kept, [len(found[number]) for number in kept])
    )


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
    return DomainPictures.of(picture_statistics(mz.numpy()), np.array(numbers), scales_um.numpy())


def through_instruments(
    stores: Sequence[Store], config: Path, films: int, device: torch.device
) -> Iterator[tuple[str, View, NDArray[np.intp]]]:
    """Yield for each instrument that does not show mz its name, views with domains (n, 128, 128), and their films."""
    sampler = Sampler([read_films(store, device) for store in stores], ExecutionConfig.of(device))
    torch.manual_seed(0)
    for seen in read_instruments(config):
        if not isinstance(seen.ranges, Ranges):
            continue
        views, numbers = [], []
        for place, one in enumerate(sampler.films):
            chosen = one.train[sampler.in_window[place][one.train]][:films]
            for index in torch.split(chosen.repeat_interleave(VIEWS_THROUGH), AT_ONCE):
                low, high = np.log(sampler.pixels[place])
                pixel = torch.exp(low + (high - low) * torch.rand(len(index), device=device))
                geometry = random_geometry(pixel, one.side)
                instrument, signal, _ = signals(seen, seen.ranges, sampler.views[place], one, index, geometry)
                first, second = (recorded(instrument, signal) for _ in range(2))
                visible = alike(first, second) > VISIBLE
                views.append(first[visible].cpu().numpy())
                numbers.append((index[visible] + place * SEPARATE).cpu().numpy())
        yield seen.name, np.concatenate(views), np.concatenate(numbers)


def alike(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the correlation (n,) of pictures (n, h, w) under a blur."""
    soft = [detrend(blurred(one, torch.full((len(one),), SMOOTH, device=one.device))) for one in (first, second)]
    return (soft[0] * soft[1]).mean((1, 2))


def statistics_in_parts(views: View, processes: int) -> NDArray[np.float64]:
    """Return the statistics (n, 10) of views, by several processes."""
    with ProcessPoolExecutor(processes) as pool:
        return np.concatenate(list(pool.map(picture_statistics, np.array_split(views, max(1, len(views) // AT_ONCE)))))


def main() -> None:
    """Write the statistics of some films of each store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stores", nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--estimator", type=Path)
    parser.add_argument("--instruments", type=Path)
    parser.add_argument("--films", type=int, default=400, help="of each store")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    stores = [open_store(uri) for uri in options.stores]
    if options.instruments is not None:
        for name, views, numbers in through_instruments(stores, options.instruments, options.films, own_device()):
            made = DomainPictures.of(statistics_in_parts(views, options.processes), numbers)
            made.save(options.output / f"{name}.safetensors")
            print(f"{name}: {len(views)} pictures of {len(np.unique(numbers))} films; limit {made.limit:.2f}")
        return
    films = [
        film
        for store in stores
        for film in store.images(store.films("train", ["film_id"])["film_id"].to_pylist()[: options.films])
    ]
    if options.estimator is None:
        made = pictures_of(films, options.processes)
    else:
        pixel_nm = stores[0].table(["pixel_nm"])["pixel_nm"][0].as_py()
        made = pictures_for(Estimator.load(options.estimator), np.stack(films), pixel_nm)
    made.save(options.output)
    print(f"{len(made.statistics)} pictures of {len(films)} films; limit {made.limit:.2f}")


if __name__ == "__main__":
    main()
