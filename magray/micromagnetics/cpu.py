"""The CPU backend: one film at a time on one core, single precision, SciPy's FFT and Numba's loops."""

from collections.abc import Sequence
from copy import copy

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from magray.films.film import Film
from magray.micromagnetics import cpu_kernels as kernels
from magray.micromagnetics.backend import HISTORY, Coefficients, InnerStep, Point, preconditioner
from magray.micromagnetics.demag_tensor import fourier_tensor
from magray.micromagnetics.initial_state import ku1_map
from magray.micromagnetics.llg import RUNGE_KUTTA
from magray.micromagnetics.mask import mask, neighbours
from magray.micromagnetics.terms.demag import padded

Vectors = NDArray[np.float32]


class CpuBackend:
    """A film's energy in single precision: a `backend.FieldBackend`."""

    def __init__(self, film: Film) -> None:
        self._apply(film)
        self.ku1 = ku1_map(film)
        self.tensor = fourier_tensor(film.cells, film.cell_size, film.open_axes).astype(np.float32)
        cells = mask(film)
        self.outside, self.size, self.neighbours = ~cells, np.count_nonzero(cells), neighbours(film)
        self.shape, self.padded = (film.cells[1], film.cells[0]), padded(film)

    def _apply(self, film: Film) -> None:
        """Set the constants and the applied field of `film`."""
        c = Coefficients.of(film)
        factors = (c.exchange_x, c.exchange_y, c.anisotropy, c.bulk_x, c.bulk_y, c.interfacial_x, c.interfacial_y)
        with np.errstate(over="ignore"):  # an infinite factor gives an energy that the solver reports as not finite
            self.coefficients = np.array([*factors, *c.field], np.float32)
        self.film = film
        self.inverse = preconditioner(film).astype(np.float32)

    def in_stage(self, film: Film) -> "CpuBackend":
        other = copy(self)  # the map of Ku1 and the tensor stay
        other._apply(film)
        return other

    def evaluate(self, m: Vectors) -> Point:
        h = self.demag(m)
        self._add_local_terms(m, h)
        energy, torque = kernels.force_in_place(m, h, self.coefficients)
        if self.size < self.ku1.size:
            self._clear(h)
            torque = float(np.sqrt(np.max(np.sum(h * h, axis=0))))
        return Point(m, h, energy / self.size, torque)

    def _clear(self, vectors: Vectors) -> Vectors:
        """Return `vectors`, set to 0 outside of the film."""
        if self.size < self.ku1.size:
            vectors[:, self.outside] = 0
        return vectors

    def _add_local_terms(self, m: Vectors, h: Vectors) -> None:
        kernels.add_local_terms(m, h, self.ku1, self.coefficients)
        if any(self.film.open_axes):
            kernels.cut_edges(m, h, self.coefficients, self.neighbours)

    def demag(self, m: Vectors) -> Vectors:
        """Return the demagnetising field, Ms."""
        if not self.film.demag:
            return np.zeros_like(m)
        spectrum = scipy.fft.rfft2(m, s=self.padded)
        kernels.demag_in_place(spectrum, self.tensor)
        h = scipy.fft.irfft2(spectrum, s=self.padded, overwrite_x=True)
        return np.ascontiguousarray(h[:, : self.shape[0], : self.shape[1]])

    def advance(self, m: Vectors, demag: Vectors, step: InnerStep) -> Vectors:
        outer = demag + self.coefficients[-3:, None, None]
        if step.thermal_std:
            seed_and_counter = map(np.uint64, (self.film.seed, *step.counter))
            kernels.add_thermal_field(outer.reshape(3, -1), step.thermal_std, *seed_and_counter)
        total, h, stage, flat = np.zeros_like(m), np.empty_like(m), m, (3, m[0].size)
        for ahead, weight in RUNGE_KUTTA:
            np.copyto(h, outer)
            self._add_local_terms(stage, h)
            following = np.empty_like(m)
            numbers = [np.float32(x) for x in (step.alpha, ahead * step.rotation, weight * step.rotation)]
            arrays = [array.reshape(flat) for array in (m, stage, h, total, following)]
            kernels.runge_kutta_stage(*arrays[:3], *numbers, *arrays[3:])
            stage = following
        kernels.add_and_normalize(m.reshape(flat), total.reshape(flat), stage.reshape(flat))
        return self._clear(stage)

    def precondition(self, force: Vectors) -> Vectors:
        spectrum = scipy.fft.rfft2(force)
        kernels.scale_in_place(spectrum, self.inverse)
        return np.asarray(scipy.fft.irfft2(spectrum, s=self.shape, overwrite_x=True))

    def products(self, vectors: Sequence[Vectors], force: Vectors) -> NDArray[np.float64]:
        out = np.zeros(len(vectors))
        kernels.products(_as_tuple(vectors), force.reshape(-1), out)
        return out

    def rotate(
        self, m: Vectors, weights: Sequence[float], vectors: Sequence[Vectors], limit: float
    ) -> tuple[Vectors, Vectors, float]:
        turned, step = np.empty_like(m), np.empty_like(m)
        kernels.combine(np.array(weights, np.float32), _as_tuple(vectors), step.reshape(-1))
        longest = kernels.rotate(m.reshape(3, -1), step.reshape(3, -1), np.float32(limit), turned.reshape(3, -1))
        return self._clear(turned), self._clear(step), float(longest)


def _as_tuple(vectors: Sequence[Vectors]) -> tuple[Vectors, ...]:
    """Return a fixed number of flat vectors, padded with the first, so that a kernel is compiled only once."""
    return tuple(v.reshape(-1) for v in [*vectors, *[vectors[0]] * (2 * HISTORY + 3 - len(vectors))])
