"""Pictures of stripes that stand for films where a test is about learning and not about physics."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magray.films import Film, plan_table
from magray.micromagnetics import RelaxedFilm
from magray.store import Store, create_store, rows_of
from tests.support.specimens import co_like

SIDE = 64  # cells of 4 nm: 0.25 µm


def stripes(periods: int, share: float, seed: int, side: int = SIDE) -> NDArray[np.float32]:
    """mz (side, side) of `periods` upright or level stripes, of which `share` is bright, from a random place on."""
    random = np.random.default_rng(seed)
    x = np.arange(side) / side * periods + random.uniform()
    profile = np.tanh(8 * (np.cos(2 * np.pi * x) + np.cos(np.pi * (1 - share))))
    mz = np.broadcast_to(profile, (side, side))
    return np.asarray(mz.T if random.integers(2) else mz, np.float32)


def labyrinth(period: float = 48, seed: int = 0, side: int = 256) -> NDArray[np.float32]:
    """Return mz (side, side) of a labyrinth of domains whose period is so many pixels: it looks like a film's.

    Noise in a band of wave numbers, again and again, which two levels saturate.
    """
    k = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    band = np.exp(-(((k * period - 1) / 0.35) ** 2))
    mz = np.random.default_rng(seed).normal(size=(side, side))
    for _ in range(15):
        wave = np.fft.irfft2(np.fft.rfft2(mz) * band, s=(side, side))
        mz = np.tanh(2.5 * wave / wave.std())
    return mz.astype(np.float32)


def striped_film(seed: int) -> tuple[Film, NDArray[np.float32]]:
    """A film and its mz: the more D, the narrower the stripes; the more Ms, the broader the bright ones."""
    random = np.random.default_rng(seed)
    periods, share = int(random.integers(2, 9)), random.uniform(0.25, 0.75)
    film = co_like((SIDE, SIDE), D=periods * 1e-4, Ms=2e6 * share, seed=seed)
    return film, stripes(periods, share, seed)


def striped_store(folder: Path, films: int) -> Store:
    """A committed store of `films` striped films."""
    made = [striped_film(seed) for seed in range(films)]
    relaxed = [_relaxed(film, mz) for film, mz in made]
    plan = plan_table([film for film, _ in made], "stripes")
    store = create_store(str(folder), "stripes", plan)
    store.commit(rows_of(relaxed, plan))
    return store


def _relaxed(film: Film, mz: NDArray[np.float32]) -> RelaxedFilm:
    m = np.stack([np.sqrt(1 - mz**2), np.zeros_like(mz), mz])
    return RelaxedFilm(film, m, {"total": 0.0}, 0.0, 1, "converged", "", 0.0, device="none", solver="drawn")
