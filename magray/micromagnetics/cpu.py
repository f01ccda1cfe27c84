"""The CPU backend: one film at a time on one core, single precision, SciPy's FFT and Numba's loops."""

import math

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from magray.films.film import Film
from magray.micromagnetics import cpu_kernels as kernels
from magray.micromagnetics.demag_tensor import fourier_tensor
from magray.micromagnetics.landscape import Coefficients, Point, preconditioner
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

    def precondition(self, m: Vectors, v: Vectors) -> Vectors:
        spectrum = scipy.fft.rfft2(v)
        kernels.scale_in_place(spectrum, self.inverse)
        return self.tangent(m, scipy.fft.irfft2(spectrum, s=self.shape, overwrite_x=True))

    def tangent(self, m: Vectors, v: Vectors) -> Vectors:
        out = np.empty_like(m)
        kernels.tangent(m.reshape(3, -1), v.reshape(3, -1), out.reshape(3, -1))
        return out

    def rotate(self, m: Vectors, step: Vectors) -> Vectors:
        out = np.empty_like(m)
        kernels.rotate(m.reshape(3, -1), step.reshape(3, -1), out.reshape(3, -1))
        return out

    def dot(self, a: Vectors, b: Vectors) -> float:
        return float(kernels.dot(a.reshape(-1), b.reshape(-1)))

    def add(self, a: Vectors, factor: float, b: Vectors) -> None:
        kernels.add(a.reshape(-1), np.float32(factor), b.reshape(-1))

    def limit(self, v: Vectors, length: float) -> None:
        kernels.limit(v.reshape(3, -1), np.float32(length))

    def largest(self, v: Vectors) -> float:
        return math.sqrt(kernels.largest_square(v.reshape(3, -1)))
