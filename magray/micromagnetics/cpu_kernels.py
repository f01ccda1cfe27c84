"""The passes over a film's arrays that the CPU backend makes, compiled by Numba: one core, single precision.

Sums are kept in double precision. Additions may be reordered for vector units, but not-a-number keeps its meaning.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

import math
from functools import partial

import numba
import numpy as np

compiled = partial(numba.njit, cache=True, nogil=True, fastmath={"reassoc", "contract", "arcp", "nsz"})


@compiled()
def demag_in_place(spectrum, tensor):
    """m in Fourier space becomes −N m. spectrum: (3, ny, nx/2+1) complex64; tensor: (4, ny, nx/2+1) float32."""
    _, ny, nk = spectrum.shape
    for y in range(ny):
        xx, yy, zz, xy = tensor[0, y], tensor[1, y], tensor[2, y], tensor[3, y]
        sx, sy, sz = spectrum[0, y], spectrum[1, y], spectrum[2, y]
        for k in range(nk):
            mx, my = sx[k], sy[k]
            sx[k] = -(xx[k] * mx + xy[k] * my)
            sy[k] = -(xy[k] * mx + yy[k] * my)
            sz[k] = -zz[k] * sz[k]


@compiled()
def scale_in_place(spectrum, factor):
    """spectrum: (3, ny, nk) complex64 times factor: (ny, nk) float32."""
    for c in range(3):
        for y in range(factor.shape[0]):
            row, f = spectrum[c, y], factor[y]
            for k in range(factor.shape[1]):
                row[k] *= f[k]


@compiled()
def _cell(m, h, ku, c, y, ym, yp, x, xm, xp):
    """The field on one cell, in Ms: (linear part without the applied field)."""
    mx, my, mz = m[0, y, x], m[1, y, x], m[2, y, x]
    xx = m[0, y, xp] - m[0, y, xm]
    yx = m[1, y, xp] - m[1, y, xm]
    zx = m[2, y, xp] - m[2, y, xm]
    xy = m[0, yp, x] - m[0, ym, x]
    yy = m[1, yp, x] - m[1, ym, x]
    zy = m[2, yp, x] - m[2, ym, x]
    ex, ey, bx, by, ix, iy = c[0], c[1], c[3], c[4], c[5], c[6]
    two = np.float32(2)
    hx = h[0, y, x] + ex * (m[0, y, xp] + m[0, y, xm] - two * mx) + ey * (m[0, yp, x] + m[0, ym, x] - two * mx)
    hy = h[1, y, x] + ex * (m[1, y, xp] + m[1, y, xm] - two * my) + ey * (m[1, yp, x] + m[1, ym, x] - two * my)
    hz = h[2, y, x] + ex * (m[2, y, xp] + m[2, y, xm] - two * mz) + ey * (m[2, yp, x] + m[2, ym, x] - two * mz)
    hx += ix * zx - by * zy
    hy += iy * zy + bx * zx
    hz += c[2] * ku[y, x] * mz - bx * yx + by * xy - ix * xx - iy * yy
    return hx, hy, hz


@compiled()
def add_local_terms(m, h, ku, c):
    """Adds all terms but demag and the applied field to h, in place."""
    _, ny, nx = m.shape
    for y in range(ny):
        ym, yp = (y - 1 if y > 0 else ny - 1), (y + 1 if y < ny - 1 else 0)
        h[0, y, 0], h[1, y, 0], h[2, y, 0] = _cell(m, h, ku, c, y, ym, yp, 0, nx - 1, 1)
        for x in range(1, nx - 1):
            h[0, y, x], h[1, y, x], h[2, y, x] = _cell(m, h, ku, c, y, ym, yp, x, x - 1, x + 1)
        e = nx - 1
        h[0, y, e], h[1, y, e], h[2, y, e] = _cell(m, h, ku, c, y, ym, yp, e, e - 1, 0)


@compiled()
def force_in_place(m, h, c):
    """The field h of the quadratic terms, plus the applied one, becomes the force h − (m·h) m.

    Returns the energy, summed over the cells in µ0 Ms², and the largest |force|.
    """
    energy, largest = 0.0, np.float32(0)
    ax, ay, az = c[7], c[8], c[9]
    half = np.float32(0.5)
    for y in range(m.shape[1]):
        row, top = 0.0, np.float32(0)
        mx_, my_, mz_, hx_, hy_, hz_ = m[0, y], m[1, y], m[2, y], h[0, y], h[1, y], h[2, y]
        for x in range(m.shape[2]):
            mx, my, mz = mx_[x], my_[x], mz_[x]
            quadratic = mx * hx_[x] + my * hy_[x] + mz * hz_[x]
            applied = mx * ax + my * ay + mz * az
            along = quadratic + applied
            row -= half * quadratic + applied
            fx, fy, fz = hx_[x] + ax - along * mx, hy_[x] + ay - along * my, hz_[x] + az - along * mz
            hx_[x], hy_[x], hz_[x] = fx, fy, fz
            top = max(top, fx * fx + fy * fy + fz * fz)
        energy += row
        largest = max(largest, top)
    return energy, math.sqrt(largest)


@compiled()
def dot(a, b):
    """a·b in double precision, of flat arrays."""
    total = 0.0
    for i in range(a.size):
        total += np.float64(a[i]) * np.float64(b[i])
    return total


@compiled()
def add(a, factor, b):
    """a += factor b, of flat arrays."""
    for i in range(a.size):
        a[i] += factor * b[i]


@compiled()
def limit(v, length):
    """Each vector of (3, n) that is longer than `length` is cut to it, in place."""
    for i in range(v.shape[1]):
        square = v[0, i] * v[0, i] + v[1, i] * v[1, i] + v[2, i] * v[2, i]
        factor = length / np.sqrt(max(square, length * length))
        v[0, i] *= factor
        v[1, i] *= factor
        v[2, i] *= factor


@compiled()
def largest_square(v):
    """max |v|² over the cells of (3, n)."""
    top = np.float32(0)
    for i in range(v.shape[1]):
        top = max(top, v[0, i] * v[0, i] + v[1, i] * v[1, i] + v[2, i] * v[2, i])
    return top


@compiled()
def tangent(m, v, out):
    """out = v − (m·v) m, of (3, n)."""
    for i in range(m.shape[1]):
        along = m[0, i] * v[0, i] + m[1, i] * v[1, i] + m[2, i] * v[2, i]
        out[0, i] = v[0, i] - along * m[0, i]
        out[1, i] = v[1, i] - along * m[1, i]
        out[2, i] = v[2, i] - along * m[2, i]


@compiled()
def rotate(m, step, out):
    """out = (m + step) / |m + step|, of (3, n)."""
    one = np.float32(1)
    for i in range(m.shape[1]):
        x, y, z = m[0, i] + step[0, i], m[1, i] + step[1, i], m[2, i] + step[2, i]
        scale = one / np.sqrt(x * x + y * y + z * z)
        out[0, i], out[1, i], out[2, i] = x * scale, y * scale, z * scale
