"""The CPU backend: one film at a time on one core, single precision, SciPy's FFT and Numba's loops."""

from collections.abc import Sequence

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from magray.films.film import Film
from magray.micromagnetics import cpu_kernels as kernels
from magray.micromagnetics.demag_tensor import fourier_tensor
from magray.micromagnetics.landscape import PAIRS, Coefficients, Point, preconditioner
from magray.micromagnetics.random import ku1_map

Vectors = NDArray[np.float32]


class CpuLandscape:
    """A film's energy in single precision. Meets `landscape.Landscape`."""

    def __init__(self, film: Film) -> None:
        c = Coefficients.of(film)
        factors = (c.exchange_x, c.exchange_y, c.anisotropy, c.bulk_x, c.bulk_y, c.interfacial_x, c.interfacial_y)
        with np.errstate(over="ignore"):  # an infinite factor gives an energy that the solver reports as not finite
            self.coefficients = np.array([*factors, *c.field], np.float32)
        self.ku1 = ku1_map(film)
        self.tensor = fourier_tensor(film.cells, film.cell_size).astype(np.float32)
        self.inverse = preconditioner(film).astype(np.float32)
        self.shape = (film.cells[1], film.cells[0])

    def evaluate(self, m: Vectors) -> Point:
        h = self.demag(m)
        kernels.add_local_terms(m, h, self.ku1, self.coefficients)
        energy, torque = kernels.force_in_place(m, h, self.coefficients)
        return Point(m, h, energy / self.ku1.size, torque)

    def demag(self, m: Vectors) -> Vectors:
        """The demagnetising field, Ms."""
        spectrum = scipy.fft.rfft2(m)
        kernels.demag_in_place(spectrum, self.tensor)
        return np.asarray(scipy.fft.irfft2(spectrum, s=self.shape, overwrite_x=True))

    def precondition(self, force: Vectors) -> Vectors:
        spectrum = scipy.fft.rfft2(force)
        kernels.scale_in_place(spectrum, self.inverse)
        return np.asarray(scipy.fft.irfft2(spectrum, s=self.shape, overwrite_x=True))

    def products(self, vectors: Sequence[Vectors], force: Vectors) -> NDArray[np.float64]:
        out = np.zeros(len(vectors))
        kernels.products(_as_tuple(vectors), force.reshape(-1), out)
        return out

    def turn(
        self, m: Vectors, descent: Vectors, weights: Sequence[float], vectors: Sequence[Vectors], limit: float
    ) -> tuple[Vectors, Vectors, float]:
        turned, step = np.empty_like(m), np.empty_like(m)
        factors = np.array([1.0, *weights], np.float32)
        kernels.combine(factors, _as_tuple([descent, *vectors]), step.reshape(-1))
        longest = kernels.turn(m.reshape(3, -1), step.reshape(3, -1), np.float32(limit), turned.reshape(3, -1))
        return turned, step, float(longest)


def _as_tuple(vectors: Sequence[Vectors]) -> tuple[Vectors, ...]:
    """Flat, and always as many, so that a kernel is compiled once: the first fills the empty places."""
    return tuple(v.reshape(-1) for v in [*vectors, *[vectors[0]] * (2 * PAIRS + 3 - len(vectors))])
