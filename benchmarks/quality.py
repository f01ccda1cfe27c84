"""Test the fast methods: energies of minimised films against quenched ones, and quenches against the reference.

    python -m benchmarks.quality --films 64

On one GPU, 512² cells. One JSON line a comparison.
"""

import argparse
import statistics
import time
from dataclasses import replace

import cupy as cp
import numpy as np
from numpy.typing import NDArray

from benchmarks.films import MINIMIZED, co_like, low_ms
from benchmarks.gpu import show
from magray import Film, Minimize, Protocol, Quench, relax
from magray.micromagnetics.gpu.batch import Batch, film_record
from magray.micromagnetics.initial_state import initial_state
from tests.support.dormand_prince import integrate
from tests.support.specimens import walls_per_um

N = 512
TOGETHER = 16  # films that the reference integrates with one step


def energies(count: int) -> None:
    """Minimised from the random start, and after an LLG run of 8 ns: the same films, the same final tolerance."""
    settled = Protocol(stages=(Quench(alpha=0.5, duration=8e-9), Minimize()))
    mean, seconds = {}, {}
    for name, protocol in (("minimized", MINIMIZED), ("quenched 8 ns, then minimized", settled)):
        start = time.perf_counter()
        done = relax([co_like(N, seed, protocol) for seed in range(count)], "cupy")
        seconds[name] = time.perf_counter() - start
        mean[name] = statistics.mean(film.energy["total"] for film in done)
    for name in mean:
        show(films=count, protocol=name, **{"mean energy, J/m3": mean[name], "seconds": seconds[name]})


class ForceOnGpu:
    """The field of several films at once, less its part along m, which turns nothing."""

    def __init__(self, films: list[Film]) -> None:
        self.batch = Batch(films[0], len(films))
        self.batch.begin({slot: film_record(replace(film, protocol=Protocol())) for slot, film in enumerate(films)})

    def __call__(self, m: cp.ndarray) -> cp.ndarray:
        self.batch.m[1][...] = m
        self.batch.field(1)
        return self.batch.h.copy()


def reference(films: list[Film], stage: Quench) -> tuple[NDArray[np.float32], int]:
    """Return m of the films after the quench, by the adaptive integrator: (films, 3, ny, nx)."""
    force = ForceOnGpu(films)
    starts = np.stack([initial_state(film) for film in films])
    with force.batch.stream:
        m, evaluations = integrate(force, cp.asarray(starts), films, stage)
        return np.asarray(m.get()), evaluations


def structure_factor(mz: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the power of mz by wave number, in shells of one wave a film: (n/2)."""
    n = mz.shape[-1]
    k = np.hypot(np.fft.fftfreq(n, 1 / n)[:, None], np.fft.fftfreq(n, 1 / n)[None, :])
    power = np.abs(np.fft.fft2(mz - mz.mean())) ** 2
    return np.asarray(np.bincount(np.rint(k).astype(int).ravel(), power.ravel())[: n // 2], np.float64)


def quenches(count: int, stage: Quench) -> None:
    """Wall density, structure factor and the cells themselves, of the quench against the reference."""
    films = sorted((low_ms(N, seed, Protocol(stages=(stage,))) for seed in range(count)), key=lambda film: film.Ms)
    start = time.perf_counter()
    fast = np.stack([done.m for done in relax(films, "cupy") if done.m is not None])
    seconds, start = time.perf_counter() - start, time.perf_counter()
    parts = [reference(films[first : first + TOGETHER], stage) for first in range(0, count, TOGETHER)]
    exact = np.concatenate([m for m, _ in parts])
    walls = [np.mean([walls_per_um(f, m) for f, m in zip(films, ms, strict=True)]) for ms in (fast, exact)]
    spectra = [np.mean([structure_factor(m[2]) for m in ms], axis=0) for ms in (fast, exact)]
    waves = np.arange(len(spectra[0]))
    mean_waves = [float(waves @ s / s.sum()) for s in spectra]
    differ = [np.mean((a[2] > 0) != (b[2] > 0)) for a, b in zip(fast, exact, strict=True)]
    show(
        **{
            "films": count,
            "quench, ns": stage.duration * 1e9,
            "seconds": seconds,
            "reference, seconds": time.perf_counter() - start,
            "reference, evaluations": max(evaluations for _, evaluations in parts),
            "walls per µm": walls[0],
            "walls, ratio": walls[0] / walls[1],
            "mean wave number, ratio": mean_waves[0] / mean_waves[1],
            "structure factor, differing power": float(np.abs(spectra[0] - spectra[1]).sum() / spectra[1].sum()),
            "cells on the other side of a wall, median": float(np.median(differ)),
            "the same, most": max(differ),
        }
    )


def main() -> None:
    """Print one JSON line a comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=64)
    parser.add_argument("--nanoseconds", type=float, nargs="+", default=[0.1, 2.0], help="of the quenches compared")
    arguments = parser.parse_args()
    energies(arguments.films)
    for duration in arguments.nanoseconds:
        quenches(arguments.films, Quench(alpha=0.5, duration=duration * 1e-9))


if __name__ == "__main__":
    main()
