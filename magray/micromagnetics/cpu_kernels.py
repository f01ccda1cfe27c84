"""The loops of the CPU backend over a film's arrays, compiled by Numba: one core, single precision.

Sums are kept in double precision. Additions of a sum over cells may be reordered for vector units, but not-a-number
keeps its meaning. In a cell's own arithmetic nothing is reordered: a loop in vector units and the one that the compiler
keeps beside it, for the last cells of a row and for arrays that lie too close in memory, must give the same bits.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

import math
from functools import partial

import numpy as np

from magray.micromagnetics import philox
from magray.micromagnetics.compiled import compiled

LOW, HALF_WORD = np.uint64(0xFFFFFFFF), np.uint64(32)
MULTIPLIER0, MULTIPLIER1 = philox.MULTIPLIERS
WEYL0, WEYL1 = (np.uint64(word) for word in philox.WEYL)
BLOCK = 2048  # numbers that are worked on at a time, to stay in a core's nearest cache

in_order = partial(compiled, nogil=True, error_model="numpy")
reordered = partial(in_order, fastmath={"reassoc", "contract", "arcp", "nsz"})


@in_order()
def demag_in_place(spectrum, tensor):
    """Replace m in Fourier space by −N m. spectrum: (3, ny, nx/2+1) complex64; tensor: (4, ny, nx/2+1) float32."""
    _, ny, nk = spectrum.shape
    for y in range(ny):
        xx, yy, zz, xy = tensor[0, y], tensor[1, y], tensor[2, y], tensor[3, y]
        sx, sy, sz = spectrum[0, y], spectrum[1, y], spectrum[2, y]
        for k in range(nk):
            mx, my = sx[k], sy[k]
            sx[k] = -(xx[k] * mx + xy[k] * my)
            sy[k] = -(xy[k] * mx + yy[k] * my)
            sz[k] = -zz[k] * sz[k]


@in_order()
def scale_in_place(spectrum, factor):
    """Multiply spectrum, (3, ny, nk) complex64, by factor, (ny, nk) float32."""
    for c in range(3):
        for y in range(factor.shape[0]):
            row, f = spectrum[c, y], factor[y]
            for k in range(factor.shape[1]):
                row[k] *= f[k]


@in_order()
def _cell(m, h, ku, c, y, ym, yp, x, xm, xp):
    """Return the linear part of the field on one cell, in Ms, without the applied field."""
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


@in_order()
def add_local_terms(m, h, ku, c):
    """Add all terms but demag and the applied field to h, in place."""
    _, ny, nx = m.shape
    for y in range(ny):
        ym, yp = (y - 1 if y > 0 else ny - 1), (y + 1 if y < ny - 1 else 0)
        h[0, y, 0], h[1, y, 0], h[2, y, 0] = _cell(m, h, ku, c, y, ym, yp, 0, nx - 1, 1)
        for x in range(1, nx - 1):
            h[0, y, x], h[1, y, x], h[2, y, x] = _cell(m, h, ku, c, y, ym, yp, x, x - 1, x + 1)
        e = nx - 1
        h[0, y, e], h[1, y, e], h[2, y, e] = _cell(m, h, ku, c, y, ym, yp, e, e - 1, 0)


@in_order()
def _cut(m, h, c, y, x, j, i, sign_x, sign_y):
    """Subtract from the field of a cell (y, x) the part of its neighbour (j, i); sign: +1 for the next."""
    e = c[0] if sign_x else c[1]
    nx, ny, nz = m[0, j, i], m[1, j, i], m[2, j, i]
    h[0, y, x] -= e * (nx - m[0, y, x]) + sign_x * c[5] * nz - sign_y * c[4] * nz
    h[1, y, x] -= e * (ny - m[1, y, x]) + sign_y * c[6] * nz + sign_x * c[3] * nz
    h[2, y, x] -= e * (nz - m[2, y, x]) + sign_y * (c[4] * nx - c[6] * ny) - sign_x * (c[3] * ny + c[5] * nx)


@in_order()
def cut_edges(m, h, c, has):
    """Subtract from h the terms across the film's edges. has: (4, ny, nx), as from `mask.neighbours`."""
    _, ny, nx = m.shape
    zero, one = np.float32(0), np.float32(1)
    for y in range(ny):
        for x in range(nx):
            if not has[0, y, x]:
                _cut(m, h, c, y, x, y, (x - 1) % nx, -one, zero)
            if not has[1, y, x]:
                _cut(m, h, c, y, x, y, (x + 1) % nx, one, zero)
            if not has[2, y, x]:
                _cut(m, h, c, y, x, (y - 1) % ny, x, zero, -one)
            if not has[3, y, x]:
                _cut(m, h, c, y, x, (y + 1) % ny, x, zero, one)


@in_order()
def _uniforms(cell, stream, step, stage, key0, key1):
    """Return the four numbers in (0, 1) of a cell, as `philox.uniforms` does. All are np.uint64."""
    c0, c1, c2, c3 = cell, stream, step, stage
    for _ in range(philox.ROUNDS):
        p0, p1 = c0 * MULTIPLIER0, c2 * MULTIPLIER1
        c0, c1, c2, c3 = (p1 >> HALF_WORD) ^ c1 ^ key0, p1 & LOW, (p0 >> HALF_WORD) ^ c3 ^ key1, p0 & LOW
        key0, key1 = (key0 + WEYL0) & LOW, (key1 + WEYL1) & LOW
    scale = 1 / 2.0**32
    return (
        (np.float64(c0) + 0.5) * scale,
        (np.float64(c1) + 0.5) * scale,
        (np.float64(c2) + 0.5) * scale,
        (np.float64(c3) + 0.5) * scale,
    )


@in_order()
def add_thermal_field(h, std, seed, step, stage):
    """Add std times `initial_state.thermal_field` to h, (3, n) float32, in place. The numbers but std are np.uint64."""
    stream = np.uint64(philox.STREAM_THERMAL)
    for cell in range(h.shape[1]):
        u = _uniforms(np.uint64(cell), stream, step, stage, seed & LOW, seed >> HALF_WORD)
        r0, r1 = math.sqrt(-2 * math.log(u[0])), math.sqrt(-2 * math.log(u[2]))
        h[0, cell] += np.float32(std * (r0 * math.cos(2 * math.pi * u[1])))
        h[1, cell] += np.float32(std * (r0 * math.sin(2 * math.pi * u[1])))
        h[2, cell] += np.float32(std * (r1 * math.cos(2 * math.pi * u[3])))


@reordered()
def _bits(square):
    """Return a number ≥ 0 as an integer of the same order, NaN last, so that a maximum is found in vector units."""
    return np.float32(square).view(np.int32)


@reordered()
def _number(bits):
    """Return the number that `_bits` made into an integer."""
    return np.int32(bits).view(np.float32)


@reordered()
def force_in_place(m, h, c):
    """Replace the field h of the quadratic terms, plus the applied one, by the force h − (m·h) m.

    Returns the energy, summed over the cells in µ0 Ms², and the largest |force|.
    """
    energy, largest = 0.0, np.int32(0)
    ax, ay, az = c[7], c[8], c[9]
    half = np.float32(0.5)
    for y in range(m.shape[1]):
        row, top = 0.0, np.int32(0)
        mx_, my_, mz_, hx_, hy_, hz_ = m[0, y], m[1, y], m[2, y], h[0, y], h[1, y], h[2, y]
        for x in range(m.shape[2]):
            mx, my, mz = mx_[x], my_[x], mz_[x]
            quadratic = mx * hx_[x] + my * hy_[x] + mz * hz_[x]
            applied = mx * ax + my * ay + mz * az
            along = quadratic + applied
            row -= half * quadratic + applied
            fx, fy, fz = hx_[x] + ax - along * mx, hy_[x] + ay - along * my, hz_[x] + az - along * mz
            hx_[x], hy_[x], hz_[x] = fx, fy, fz
            top = max(top, _bits(fx * fx + fy * fy + fz * fz))
        energy += row
        largest = max(largest, top)
    return energy, math.sqrt(_number(largest))


@reordered()
def _dot(a, b):
    total = 0.0
    for k in range(a.size):
        total += np.float64(a[k]) * np.float64(b[k])
    return total


@reordered()
def products(vectors, force, out):
    """Set out[i] = vectors[i] · force, of flat arrays in double precision, for each element of `out`."""
    for first in range(0, force.size, BLOCK):
        part = force[first : first + BLOCK]
        for i in range(out.size):
            out[i] += _dot(vectors[i][first : first + BLOCK], part)


@in_order()
def _add(a, factor, b):
    for k in range(a.size):
        a[k] += factor * b[k]


@in_order()
def combine(weights, vectors, out):
    """Set out = Σ weights[i] vectors[i], of flat arrays."""
    for first in range(0, out.size, BLOCK):
        part = out[first : first + BLOCK]
        part[:] = np.float32(0)
        for i in range(weights.size):
            _add(part, weights[i], vectors[i][first : first + BLOCK])


@in_order()
def rotate(m, step, limit, turned):
    """Make `step` tangent to m and at most `limit` long in each cell, in place; set turned = (m + step) / |m + step|.

    All (3, n). Returns the largest |step|.
    """
    longest, one = np.int32(0), np.float32(1)
    for k in range(m.shape[1]):
        mx, my, mz, x, y, z = m[0, k], m[1, k], m[2, k], step[0, k], step[1, k], step[2, k]
        along = mx * x + my * y + mz * z
        x, y, z = x - along * mx, y - along * my, z - along * mz
        square = x * x + y * y + z * z
        cut = limit / np.sqrt(max(square, limit * limit))
        longest = max(longest, min(_bits(square), _bits(limit * limit)))
        x, y, z = x * cut, y * cut, z * cut
        step[0, k], step[1, k], step[2, k] = x, y, z
        x, y, z = mx + x, my + y, mz + z
        scale = one / np.sqrt(x * x + y * y + z * z)
        turned[0, k], turned[1, k], turned[2, k] = x * scale, y * scale, z * scale
    return np.sqrt(_number(longest))


@in_order()
def runge_kutta_stage(start, m, h, alpha, ahead, weight, total, following):
    """Compute one Runge-Kutta stage: k = −m × h − alpha m × (m × h); total += weight k; following = start + ahead k.

    All but the numbers (3, n). h: the field at m.
    """
    for i in range(m.shape[1]):
        mx, my, mz, hx, hy, hz = m[0, i], m[1, i], m[2, i], h[0, i], h[1, i], h[2, i]
        tx, ty, tz = my * hz - mz * hy, mz * hx - mx * hz, mx * hy - my * hx
        kx = -tx - alpha * (my * tz - mz * ty)
        ky = -ty - alpha * (mz * tx - mx * tz)
        kz = -tz - alpha * (mx * ty - my * tx)
        total[0, i] += weight * kx
        total[1, i] += weight * ky
        total[2, i] += weight * kz
        following[0, i] = start[0, i] + ahead * kx
        following[1, i] = start[1, i] + ahead * ky
        following[2, i] = start[2, i] + ahead * kz


@in_order()
def add_and_normalize(start, total, out):
    """Set out = (start + total) / |start + total|; all (3, n)."""
    one = np.float32(1)
    for i in range(start.shape[1]):
        x, y, z = start[0, i] + total[0, i], start[1, i] + total[1, i], start[2, i] + total[2, i]
        scale = one / np.sqrt(x * x + y * y + z * z)
        out[0, i], out[1, i], out[2, i] = x * scale, y * scale, z * scale
